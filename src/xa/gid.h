/*
 * gid.h
 *	  Names of global transactions and of their branches.
 */
#ifndef BRAID_XA_GID_H
#define BRAID_XA_GID_H

#include "access/xact.h"

/*
 * A global transaction is a local transaction of its coordinator; it is named
 * by the coordinator (a database with an identity of its own), the incarnation
 * (grows with each start, because an xid that was not yet durable is handed out
 * again after a crash) and the full xid.  A branch adds its number.
 */
typedef struct BraidGid
{
	uint64 coordinator;
	uint64 fxid;
	uint32 incarnation;
	uint32 branch;
} BraidGid;

/* Long enough for both texts; PostgreSQL's limit is GIDSIZE (200). */
#define BRAID_GID_LEN 64

/* "braid:<coordinator>:", with which all gids of a coordinator begin. */
extern char *braid_gid_prefix(uint64 coordinator, char *buf);

/* Name of the transaction, without a branch: what a decision is kept under. */
extern char *braid_gid_format_transaction(const BraidGid *gid, char *buf);

/* Name of the branch: what is prepared under it. */
extern char *braid_gid_format(const BraidGid *gid, char *buf);

/* Parses the name of a branch; false if it is not one of braid's. */
extern bool braid_gid_parse(const char *text, BraidGid *gid);

extern bool braid_gid_same_transaction(const BraidGid *a, const BraidGid *b);

#endif /* BRAID_XA_GID_H */
