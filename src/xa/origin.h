/*
 * origin.h
 *	  Which global transaction a backend works for, in shared memory.
 */
#ifndef BRAID_XA_ORIGIN_H
#define BRAID_XA_ORIGIN_H

#include "datatype/timestamp.h"
#include "xa/gid.h"

/*
 * A transaction of a session of a coordinator, as everybody can name it from
 * its first write on: before it has a gid, and if it never gets one.
 */
typedef struct XaOrigin
{
	uint64 coordinator;
	TimestampTz started; /* the transaction; orders them by age */
	int pid;			 /* of the session; 0: there is no origin */
} XaOrigin;

/* Long enough for its text, which has no spaces. */
#define BRAID_ORIGIN_LEN 64

extern char *braid_xa_origin_format(const XaOrigin *origin, char *buf);

/* false if that is no text of an origin. */
extern bool braid_xa_origin_parse(const char *text, XaOrigin *origin);

extern bool braid_xa_origin_equal(const XaOrigin *a, const XaOrigin *b);

/* What a backend does at the moment, for others. */
typedef struct XaActor
{
	XaOrigin own;	 /* the global transaction that it coordinates */
	XaOrigin origin; /* the one whose branch its transaction is */
	BraidGid gid;	 /* of that branch, once it is known (fxid 0: not yet) */
} XaActor;

/*
 * The current transaction begins to write on other servers: publishes and
 * returns its name.  Throws if this database is not a coordinator yet.
 */
extern const XaOrigin *braid_xa_origin_open(void);

/* The name of the current transaction, NULL if it writes here alone so far. */
extern const XaOrigin *braid_xa_origin_own(void);

/*
 * The current transaction is a branch of this one; gid is NULL as long as that
 * is not known.
 */
extern void braid_xa_origin_note(const XaOrigin *origin, const BraidGid *gid);

/* A copy of what the process with this pid does; false if there is no such backend. */
extern bool braid_xa_origin_read(int pid, XaActor *actor);

/*
 * Has a global transaction of this database been under way for so long, and
 * does its session wait for something at this moment?
 */
extern bool braid_xa_origin_someone_waits(int min_age_ms);

/* ---- breaking a deadlock */

/*
 * Cancels the transaction, if it is still under way and waits: its session gets
 * 40P01 with this detail.  false if it does not, or was canceled a moment ago.
 */
extern bool braid_xa_origin_cancel(const XaOrigin *own, const char *detail);

extern void braid_xa_origin_init(void);

#endif /* BRAID_XA_ORIGIN_H */
