/*
 * gid.c
 *	  Names of global transactions and of their branches.
 *
 *		braid:00c0ffee00c0ffee:17:123456:2
 *		      coordinator      |  |      branch
 *		                       |  full xid
 *		                       incarnation
 */
#include "postgres.h"

#include "xa/gid.h"

char *
braid_gid_prefix(uint64 coordinator, char *buf)
{
	snprintf(buf, BRAID_GID_LEN, "braid:%016llx:", (unsigned long long) coordinator);
	return buf;
}

char *
braid_gid_format_transaction(const BraidGid *gid, char *buf)
{
	snprintf(buf, BRAID_GID_LEN, "braid:%016llx:%u:%llu", (unsigned long long) gid->coordinator,
			 gid->incarnation, (unsigned long long) gid->fxid);
	return buf;
}

char *
braid_gid_format(const BraidGid *gid, char *buf)
{
	snprintf(buf, BRAID_GID_LEN, "braid:%016llx:%u:%llu:%u", (unsigned long long) gid->coordinator,
			 gid->incarnation, (unsigned long long) gid->fxid, gid->branch);
	return buf;
}

/* A number as %llu prints it, at most max; moves on behind it. */
static bool
parse_number(const char **text, uint64 max, uint64 *value)
{
	const char *p = *text;

	*value = 0;
	if (*p < '0' || *p > '9' || (p[0] == '0' && p[1] >= '0' && p[1] <= '9'))
		return false;
	for (; *p >= '0' && *p <= '9'; p++)
	{
		uint64 digit = *p - '0';

		if (*value > (max - digit) / 10)
			return false;
		*value = *value * 10 + digit;
	}
	*text = p;
	return true;
}

static bool
parse_coordinator(const char **text, uint64 *value)
{
	*value = 0;
	for (int i = 0; i < 16; i++)
	{
		char c = *(*text)++;

		if (c >= '0' && c <= '9')
			*value = *value << 4 | (c - '0');
		else if (c >= 'a' && c <= 'f')
			*value = *value << 4 | (c - 'a' + 10);
		else
			return false;
	}
	return true;
}

/* What is not written as we write it is somebody else's. */
bool
braid_gid_parse(const char *text, BraidGid *gid)
{
	uint64 incarnation;
	uint64 branch;

	if (strncmp(text, "braid:", 6) != 0)
		return false;
	text += 6;
	if (!parse_coordinator(&text, &gid->coordinator) || *text++ != ':' ||
		!parse_number(&text, PG_UINT32_MAX, &incarnation) || *text++ != ':' ||
		!parse_number(&text, PG_UINT64_MAX, &gid->fxid) || *text++ != ':' ||
		!parse_number(&text, PG_UINT32_MAX, &branch) || *text != '\0')
		return false;
	gid->incarnation = incarnation;
	gid->branch = branch;
	return true;
}

bool
braid_gid_same_transaction(const BraidGid *a, const BraidGid *b)
{
	return a->coordinator == b->coordinator && a->incarnation == b->incarnation &&
		   a->fxid == b->fxid;
}
