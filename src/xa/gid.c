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

bool
braid_gid_parse(const char *text, BraidGid *gid)
{
	unsigned long long coordinator;
	unsigned long long fxid;
	char canonical[BRAID_GID_LEN];

	if (sscanf(text, "braid:%16llx:%u:%llu:%u", &coordinator, &gid->incarnation, &fxid,
			   &gid->branch) != 4)
		return false;
	gid->coordinator = coordinator;
	gid->fxid = fxid;

	/* What is not written as we write it is somebody else's. */
	return strcmp(text, braid_gid_format(gid, canonical)) == 0;
}

bool
braid_gid_same_transaction(const BraidGid *a, const BraidGid *b)
{
	return a->coordinator == b->coordinator && a->incarnation == b->incarnation &&
		   a->fxid == b->fxid;
}
