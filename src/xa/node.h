/*
 * node.h
 *	  The participants as their coordinator sees them, in shared memory.
 */
#ifndef BRAID_XA_NODE_H
#define BRAID_XA_NODE_H

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "xa/gid.h"

#define BRAID_XA_MAX_CONNECTIONS 64

/* The restore point that is asked for on a server, and what became of it. */
typedef struct XaNodePoint
{
	uint64 requested; /* number of the request; they are never two at a time */
	uint64 done;	  /* request that was answered */
	char name[64];
	XLogRecPtr lsn; /* invalid: see error */
	char error[256];
} XaNodePoint;

typedef struct XaNode
{
	Oid dbid; /* InvalidOid: free entry */
	Oid serverid;
	uint32 address; /* where the resolver has found it, or looks for it */
	bool ready;
	bool clean;				  /* the last sweep since it is ready settled all */
	TimestampTz clean_before; /* what was decided before is finished there */
	char reason[256];		  /* why it is not ready */
	char hint[256];			  /* what to do about it */
	char version[32];		  /* of braid there */
	TimestampTz since;		  /* ready or not ready since */
	int64 round_trip_us;	  /* of the last sweep */
	uint64 sweeps_requested;
	uint64 sweeps_done; /* requests that a finished sweep has covered */
	TimestampTz last_sweep;
	XaNodePoint point;
} XaNode;

/* What a sweep did with a prepared transaction. */
typedef enum XaFindingState
{
	XA_FINDING_ACTIVE, /* not decided yet, or being finished */
	XA_FINDING_COMMITTED,
	XA_FINDING_ROLLED_BACK,
	XA_FINDING_FAILED /* should be one of these, but see error */
} XaFindingState;

typedef struct XaFinding
{
	Oid dbid; /* InvalidOid: free entry */
	Oid serverid;
	BraidGid gid;
	TimestampTz prepared;
	int64 locks;	  /* that it holds there; -1: not looked at, it was young */
	int32 xid_age;	  /* transactions begun there since: what VACUUM must keep */
	TimestampTz seen; /* when all this was so */
	XaFindingState state;
	char error[128];
} XaFinding;

/* ---- for the resolver of a database */

/* Enters the server, or its new address (see server.h); false if there is no room. */
extern bool braid_xa_node_add(Oid serverid, uint32 address);
extern void braid_xa_node_remove(Oid serverid);
extern void braid_xa_node_set_ready(Oid serverid, const char *version);
extern void braid_xa_node_set_unready(Oid serverid, const char *reason, const char *hint);

/* Removes all servers of a database when its resolver ends; the next one enters them anew. */
extern void braid_xa_node_remove_all(Oid dbid);

/* Requests counted so far, for the sweep that begins now. */
extern uint64 braid_xa_node_sweeps_requested(Oid serverid);

/* Ends a sweep.  clean_before: see XaNode; 0 if something could not be settled. */
extern void braid_xa_node_sweep_done(Oid serverid, uint64 requests, TimestampTz clean_before,
									 int64 round_trip_us);

/* Replaces the findings of earlier sweeps of the server. */
extern void braid_xa_node_forget_findings(Oid serverid);
extern void braid_xa_node_add_finding(const XaFinding *finding);
extern void braid_xa_node_settle_finding(Oid serverid, const BraidGid *gid, XaFindingState state,
										 const char *error);

/* Is a restore point asked for that has a higher number than this?  Fills the copy. */
extern bool braid_xa_node_point_requested(Oid serverid, uint64 than, XaNodePoint *copy);

/* Answers that request; error NULL: it is there. */
extern void
braid_xa_node_point_done(Oid serverid, uint64 request, XLogRecPtr lsn, const char *error);

/* ---- for backends */

/*
 * Waits until the server may be written to at that address, at most braid.xa_ready_timeout.
 * Throws 55000 with the reason and the mend otherwise.
 */
extern void braid_xa_node_wait_ready(Oid serverid, uint32 address);

/*
 * These servers, and those that lead to the same address as one of them: what is
 * written through one is read through another.
 */
extern List *braid_xa_node_aliases(List *serverids);

/*
 * Waits until nothing that was decided before that time (0: before this server
 * has started), and that nobody here knows of, is unfinished on the server.  Throws
 * 55000 if that takes longer.
 */
extern void braid_xa_node_await_settled(Oid serverid, TimestampTz before, int timeout_ms);

/* Asks for a sweep of the server soon; returns the request's number. */
extern uint64 braid_xa_node_request_sweep(Oid dbid, Oid serverid);

/* Waits for that sweep; false on time-out or if the server is not ready. */
extern bool braid_xa_node_wait_sweep(Oid serverid, uint64 request, int timeout_ms);

/*
 * Asks for a restore point on the server soon; returns the request's number.  One
 * at a time in each database.
 */
extern uint64 braid_xa_node_request_point(Oid serverid, const char *name);

/* Waits for it and fills the copy; false if it is not there, with the error if known. */
extern bool
braid_xa_node_wait_point(Oid serverid, uint64 request, int timeout_ms, XaNodePoint *copy);

/* A copy of the server's entry; false, and zeroes, if it has none. */
extern bool braid_xa_node_find(Oid serverid, XaNode *copy);

/* Copies of entry number i; false if there are no more. */
extern bool braid_xa_node_read(int i, XaNode *copy);
extern bool braid_xa_node_read_finding(int i, XaFinding *copy);

extern void braid_xa_node_init(void);

#endif /* BRAID_XA_NODE_H */
