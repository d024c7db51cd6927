/*
 * tag.c
 *	  The comment at the end of a statement that enlists a branch.
 *
 * At the end and not at the beginning, because postgres_fdw counts characters
 * from the beginning of an INSERT that it extends to a batch.  Every statement
 * of every session is looked at, so the look must cost nothing: two characters
 * behind a strlen().
 */
#include "postgres.h"

#include "xa/gid.h"
#include "xa/tag.h"

#define TAG_BEGIN "/*braid_branch "
#define TAG_END "*/"

char *
braid_xa_tag_append(const char *sql, const char *gid)
{
	return psprintf("%s " TAG_BEGIN "%s" TAG_END, sql, gid);
}

bool
braid_xa_tag_find(const char *sql, char *gid)
{
	size_t end = strlen(sql);
	size_t begin;
	size_t len;

	if (end < strlen(TAG_BEGIN) + strlen(TAG_END) || sql[end - 1] != '/' || sql[end - 2] != '*')
		return false;
	end -= strlen(TAG_END);

	/* A tag is short: do not search a long comment. */
	for (begin = end; begin > 0 && end - begin < BRAID_GID_LEN; begin--)
		if (sql[begin - 1] == ' ')
			break;
	len = end - begin;
	if (len == 0 || len >= BRAID_GID_LEN || begin < strlen(TAG_BEGIN) ||
		strncmp(sql + begin - strlen(TAG_BEGIN), TAG_BEGIN, strlen(TAG_BEGIN)) != 0)
		return false;
	memcpy(gid, sql + begin, len);
	gid[len] = '\0';
	return true;
}
