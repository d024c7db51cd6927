/*
 * trace.h
 *	  Log lines from which one global transaction can be followed over all servers.
 *
 * All are LOG messages with the gid in double quotes, without a statement's
 * text.  Each asks by itself whether it is wanted (braid.xa_log_transactions,
 * braid.xa_log_min_duration).
 */
#ifndef BRAID_XA_TRACE_H
#define BRAID_XA_TRACE_H

#include "nodes/pg_list.h"
#include "xa/gid.h"
#include "xa/statistics.h"

/* ---- coordinator */

extern void braid_xa_trace_begin(const BraidGid *gid);

/*
 * COMMIT is about to be sent to the branches (XaBranch); gid: in two phases,
 * NULL: in one.  Before the commit, as it reads the servers' names, which
 * braid_xa_trace_duration() shows later.
 */
extern void braid_xa_trace_commit(const BraidGid *gid, List *branches);

/* The rest may be called after the commit record, and does not throw. */
extern void braid_xa_trace_decided(const BraidGid *gid);
extern void braid_xa_trace_aborted(const BraidGid *gid);

/* The client can be told; us: duration of each XaStatPhase up to the total. */
extern void braid_xa_trace_duration(const BraidGid *gid, const int64 *us);

/* ---- resolver */

extern void braid_xa_trace_branch_committed(const BraidGid *branch, const char *server);
extern void braid_xa_trace_finished(const BraidGid *gid, bool left);

/* ---- participant */

extern void braid_xa_trace_prepared(const char *branch);
extern void braid_xa_trace_prepared_finished(const char *branch, bool commit);

extern void braid_xa_trace_init(void);

#endif /* BRAID_XA_TRACE_H */
