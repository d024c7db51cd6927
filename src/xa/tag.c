/*
 * tag.c
 *	  The comment at the end of a statement that says which transaction it is of.
 *
 *		braid_branch <gid> <origin>
 *		braid_origin <origin>
 *
 * The origin names the transaction (origin.h); the gid enlists the branch.
 *
 * At the end and not at the beginning, because postgres_fdw counts characters
 * from the beginning of an INSERT that it extends to a batch.  Every statement
 * of every session is looked at, so the look must cost nothing: two characters
 * behind a strlen().
 */
#include "postgres.h"

#include "xa/tag.h"

#define TAG_BEGIN "/*braid_"
#define WITH_GID "branch "
#define WITHOUT_GID "origin " /* as long as the other */
#define TAG_END "*/"
#define WORD_LEN (sizeof(WITH_GID) - 1)
#define TAG_LEN (sizeof(TAG_BEGIN) + WORD_LEN + BRAID_GID_LEN + BRAID_ORIGIN_LEN)

char *
braid_xa_tag_format(const char *gid, const XaOrigin *origin)
{
	char buf[BRAID_ORIGIN_LEN];

	braid_xa_origin_format(origin, buf);
	return gid ? psprintf("%s %s", gid, buf) : pstrdup(buf);
}

bool
braid_xa_tag_parse(const char *text, XaTag *tag)
{
	const char *space = strchr(text, ' ');
	size_t len = space ? space - text : strlen(text);

	memset(tag, 0, sizeof(*tag));
	if (len >= sizeof(tag->gid))
		return false;
	memcpy(tag->gid, text, len);
	tag->has_gid = braid_gid_parse(tag->gid, &tag->parsed_gid);
	if (tag->has_gid && !space)
		return true;
	tag->has_origin = braid_xa_origin_parse(tag->has_gid ? space + 1 : text, &tag->origin);
	return tag->has_origin;
}

char *
braid_xa_tag_append(const char *sql, const char *text)
{
	return psprintf("%s " TAG_BEGIN "%s%s" TAG_END, sql, strchr(text, ' ') ? WITH_GID : WITHOUT_GID,
					text);
}

bool
braid_xa_tag_find(const char *sql, XaTag *tag)
{
	char text[TAG_LEN];
	size_t end = strlen(sql);
	size_t begin;

	if (end < strlen(TAG_BEGIN) + WORD_LEN + strlen(TAG_END) || sql[end - 1] != '/' ||
		sql[end - 2] != '*')
		return false;
	end -= strlen(TAG_END);

	/* A tag is short: do not search a long comment. */
	begin = end - WORD_LEN - strlen(TAG_BEGIN);
	while (strncmp(sql + begin, TAG_BEGIN, strlen(TAG_BEGIN)) != 0)
		if (begin-- == 0 || end - begin >= TAG_LEN)
			return false;
	begin += strlen(TAG_BEGIN);
	if (strncmp(sql + begin, WITH_GID, WORD_LEN) != 0 &&
		strncmp(sql + begin, WITHOUT_GID, WORD_LEN) != 0)
		return false;
	begin += WORD_LEN;
	memcpy(text, sql + begin, end - begin);
	text[end - begin] = '\0';
	return braid_xa_tag_parse(text, tag);
}
