/*
 * session.h
 *	  The resolver's dealings with one participant.
 */
#ifndef BRAID_XA_SESSION_H
#define BRAID_XA_SESSION_H

#include "lib/ilist.h"
#include "xa/connection.h"
#include "xa/identity.h"
#include "xa/node.h"

typedef struct XaSession
{
	MemoryContext context; /* that it and its options are in */
	Oid serverid;
	char *name;			 /* of the server */
	XaIdentity identity; /* ours */
	BraidConnectionOptions options;

	/* connections[0] verifies, holds the fence and sweeps; all finish branches */
	BraidConnection connections[BRAID_XA_MAX_CONNECTIONS];
	bool ready;
	bool tried;			  /* has failed at least once */
	TimestampTz more_at;  /* no further connection before */
	TimestampTz retry_at; /* no connection attempt before */
	int retry_ms;

	dlist_head jobs; /* that no connection has taken yet */
	int njobs;

	/* The sweep under way, see sweep.c. */
	bool sweeping;
	bool listing; /* its list has not arrived yet */
	bool sweep_failed;
	int recovering;		   /* its commands that have not ended */
	uint64 sweep_requests; /* that it answers */
	TimestampTz sweep_began;
	TimestampTz sweep_clean_before;
	int64 sweep_us;

	uint64 point_request; /* restore point that was sent last */
	uint32 waits_asked;	  /* round for which the lock waits are to be asked; 0: none */
	int waits_min_age_ms;
	bool waits_pending; /* were asked, and not answered yet */

	TimestampTz next_sweep;
	int sweep_delay_ms;
	uint64 requests_seen;
} XaSession;

/*
 * Allocates in the current context, which is the session's own from then on,
 * and which the options are in.
 */
extern XaSession *
braid_xa_session_create(Oid serverid, const char *name, const XaIdentity *identity,
						const BraidConnectionOptions *options);

/* Closes all connections; what was queued is left to recovery. */
extern void braid_xa_session_close(XaSession *s, const char *reason, const char *hint);

/* A connection's socket is ready. */
extern void braid_xa_session_advance(XaSession *s, BraidConnection *c);

/*
 * Does what is due: connects, sends queued commands, begins sweeps.  Returns
 * the milliseconds until it wants to be called again at the latest.
 */
extern long braid_xa_session_tend(XaSession *s);

#endif /* BRAID_XA_SESSION_H */
