/*
 * coordinator.c
 *	  The coordinator's side of a commit.
 *
 * NOTES
 *	  The steps of a COMMIT that has written on several nodes, and what a crash
 *	  of this server after each of them leaves (README.md has the argument):
 *
 *		first tagged write	register as active			nothing is prepared
 *		FIRST  PRE_COMMIT	register as active; enlist the branches that are
 *							not yet; insert the decision nothing is prepared
 *		postgres_fdw		COMMIT to all: they prepare	presumed abort
 *		LAST   PRE_COMMIT	all are prepared; the gate	presumed abort
 *							(gate.c) is entered
 *		local commit record flushed						** decided **
 *		LAST   COMMIT		hand over to the resolver	recovery commits
 *		locks released		wait for the resolver		recovery commits
 *
 *	  If nothing else was written here, the flush comes after the hand-over (see
 *	  set_flush()); what was handed over and not flushed is presumed aborted, and
 *	  no branch of it is committed yet.
 *
 *	  An error before the commit record aborts the local transaction; whatever
 *	  was prepared by then, or is being prepared on a connection that
 *	  postgres_fdw has given up, is found and rolled back by a sweep.
 *
 *	  Nothing may throw from LAST COMMIT on.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "common/failpoint.h"
#include "common/wait.h"
#include "common/xact.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "replication/syncrep.h"
#include "utils/guc.h"
#include "xa/branch.h"
#include "xa/coordinator.h"
#include "xa/decision.h"
#include "xa/gate.h"
#include "xa/identity.h"
#include "xa/node.h"
#include "xa/settings.h"
#include "xa/statistics.h"
#include "xa/trace.h"
#include "xa/transaction.h"
#include "xa/unfinished.h"

typedef enum CommitPhase
{
	PHASE_NONE,		  /* no global transaction, or one phase will do */
	PHASE_REGISTERED, /* known in shared memory; branches may be tagged */
	PHASE_PREPARING,  /* branches may be prepared */
	PHASE_COMMITTED	  /* handed over to the resolver */
} CommitPhase;

static CommitPhase phase = PHASE_NONE;

/* Our transaction, unless PHASE_NONE: its name and place in shared memory. */
static BraidGid transaction;
static int slot = -1;

/*
 * A guess for the session's next transaction from its last one that wrote to a
 * server: will it need two phases?  Then its statements carry tags.  A wrong
 * guess costs time and nothing else: a round trip a branch if it was "no", two
 * phases instead of one if it was "yes".
 */
static bool expect_two_phases = false;

/* On the stack of error contexts while the only participant commits. */
static ErrorContextCallback one_phase_context;
static bool in_one_phase = false;

/* From the commit to the wait: is there to be one, and see unfinished.h. */
static bool waits;
static uint64 recycled;

/* Throws if there are too many, or if the identity is not known. */
static void
register_transaction(void)
{
	XaIdentity identity;

	/* A server was ready, so the resolver has published the identity. */
	if (!braid_xa_identity_get(&identity))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("the resolver of this database has not started yet")));
	transaction.coordinator = identity.coordinator;
	transaction.incarnation = identity.incarnation;
	transaction.fxid = U64FromFullTransactionId(GetTopFullTransactionId());
	transaction.branch = 0;
	braid_wait_prepare(BRAID_WAIT_COMMIT_FINISH);
	slot = braid_xa_transaction_begin(&transaction);
	phase = PHASE_REGISTERED;
	braid_xa_trace_begin(&transaction);
}

static char *
branch_gid(const XaBranch *branch, char *text)
{
	BraidGid gid = transaction;

	gid.branch = branch->number;
	return braid_gid_format(&gid, text);
}

bool
braid_xa_coordinator_tag(const XaBranch *branch, char *gid)
{
	if (!expect_two_phases || !braid_xa_branch_may_tag(branch))
		return false;
	if (phase == PHASE_NONE)
		register_transaction();
	branch_gid(branch, gid);
	return true;
}

/*
 * A single branch, and nothing to commit here: then the participant's own
 * COMMIT is the commit.  Without an xid there is no row, no commit record, and
 * nothing of ours that anybody could see.  (Once a statement was tagged the
 * participant will prepare, and there is an xid.)
 *
 * Under SERIALIZABLE a server that was only read from can refuse its COMMIT,
 * when the other one may have committed already.
 */
static bool
one_phase_suffices(List *branches)
{
	return list_length(branches) == 1 && phase == PHASE_NONE &&
		   !TransactionIdIsValid(GetTopTransactionIdIfAny()) && !IsolationIsSerializable();
}

/*
 * An error while the only participant commits: if it is not the participant's
 * own that it could not, nobody here knows whether it has.  Whoever reads the
 * SQLSTATE must not take it for a rollback.
 */
static void
doubt_outcome(void *arg)
{
	switch (ERRCODE_TO_CATEGORY(geterrcode()))
	{
		case ERRCODE_CONNECTION_EXCEPTION:
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_SYSTEM_ERROR:
		case ERRCODE_INTERNAL_ERROR:
			errcode(ERRCODE_TRANSACTION_RESOLUTION_UNKNOWN);
			errcontext("COMMIT on one server, which may or may not have committed");
			break;
		default:
			break;
	}
}

static void
begin_one_phase(void)
{
	one_phase_context.callback = doubt_outcome;
	one_phase_context.arg = NULL;
	one_phase_context.previous = error_context_stack;
	error_context_stack = &one_phase_context;
	in_one_phase = true;
}

/* It has committed.  (After an error the stack was reset by whoever caught it.) */
static void
end_one_phase(void)
{
	Assert(error_context_stack == &one_phase_context);
	error_context_stack = one_phase_context.previous;
	in_one_phase = false;
}

void
braid_xa_coordinator_introduce(const XaBranch *branch, bool all_branches)
{
	char gid[BRAID_GID_LEN];
	ListCell *lc;

	if (!branch || (!expect_two_phases && one_phase_suffices(braid_xa_branches())))
		return;
	foreach (lc, braid_xa_branches())
	{
		XaBranch *b = lfirst(lc);

		if (b->named || (b == branch && !all_branches))
			continue;
		if (phase == PHASE_NONE)
			register_transaction();
		braid_xa_branch_enlist(b, branch_gid(b, gid));
	}
}

/*
 * The decision must be durable before a branch is committed, and before anybody
 * is told.  Usually that means: before the local commit is visible.  But when
 * nothing else was written here, nobody can see that commit, and the flush may
 * come after the transaction was handed over: it overlaps the resolver's waking
 * up, and many transactions share one.  Not on slow disks: the resolver has other
 * things to do meanwhile.  Standbys are waited for in the usual way.
 */
static void
set_flush(bool local_writes)
{
	if (local_writes || SyncRepStandbyNames[0] != '\0' || !braid_xa_decision_flush_is_quick())
		ForceSyncCommit();
	else
		(void) set_config_option("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_LOCAL, true, ERROR, false);
}

/* Before postgres_fdw commits the remote transactions. */
static void
before_remote_commit(void)
{
	List *branches = braid_xa_branches();
	Oid serverids[BRAID_XA_MAX_BRANCHES];
	bool local_writes;
	ListCell *lc;

	if (branches == NIL)
		return;
	braid_xa_stat_commit_begins();
	if (one_phase_suffices(branches))
	{
		expect_two_phases = false;
		BRAID_FAILPOINT("xa-one-phase");
		braid_xa_gate_enter();
		BRAID_FAILPOINT("xa-one-phase-entered");
		begin_one_phase();
		braid_xa_trace_commit(NULL, branches);
		return;
	}

	/* An xid that tagging has forced is not a local write; WAL is. */
	local_writes = XactLastRecEnd != InvalidXLogRecPtr;
	expect_two_phases = list_length(branches) > 1 || local_writes;
	if (phase == PHASE_NONE)
		register_transaction();
	foreach (lc, branches)
	{
		XaBranch *branch = lfirst(lc);
		char gid[BRAID_GID_LEN];

		serverids[branch->number] = branch->serverid;
		if (!braid_xa_branch_is_enlisted(branch))
			braid_xa_branch_enlist(branch, branch_gid(branch, gid));
		BRAID_FAILPOINT("xa-enlisted");
	}
	braid_xa_transaction_set_branches(slot, list_length(branches), serverids);
	braid_xa_branches_check_addresses();
	braid_xa_decision_insert(&transaction, list_length(branches), serverids);
	set_flush(local_writes);
	BRAID_FAILPOINT("xa-before-prepare");
	phase = PHASE_PREPARING;
	braid_xa_trace_commit(&transaction, branches);
	braid_xa_stat_phase_ends(XA_PHASE_ENLIST);
}

/* The local transaction has committed. */
static void
after_commit(void)
{
	BRAID_FAILPOINT_NOTHROW("xa-decided");
#ifdef BRAID_FAILPOINTS

	/* Whoever stops at the next point counts on the decision. */
	if (braid_failpoint_any_armed())
		XLogFlush(XactLastCommitEnd);
#endif
	BRAID_FAILPOINT_NOTHROW("xa-committed");
	braid_xa_trace_decided(&transaction);
	waits = braid_xa_commit_wait || !braid_xa_unfinished_has_room();
	recycled = braid_xa_transaction_commit(slot, XactLastCommitEnd, waits);
	phase = PHASE_COMMITTED;
}

static void
after_abort(void)
{
	ListCell *lc;

	/*
	 * First let recovery have the branches, then ask for it: a sweep that
	 * still saw the transaction active would not be followed by another.
	 */
	braid_xa_transaction_abort(slot);
	braid_xa_trace_aborted(&transaction);
	if (phase != PHASE_PREPARING)
		return;
	foreach (lc, braid_xa_branches())
		(void) braid_xa_node_request_sweep(MyDatabaseId, ((XaBranch *) lfirst(lc))->serverid);
}

static void
first_stage(XactEvent event)
{
	if (event == XACT_EVENT_PRE_COMMIT)
		before_remote_commit();
}

static void
last_stage(XactEvent event)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			if (phase == PHASE_PREPARING)
			{
				BRAID_FAILPOINT("xa-prepared");
				braid_xa_gate_enter();
				braid_xa_stat_prepared(braid_xa_branches());
				BRAID_FAILPOINT("xa-gate-entered");
			}
			if (in_one_phase)
				end_one_phase();
			return;
		case XACT_EVENT_COMMIT:
			if (phase == PHASE_PREPARING)
				after_commit();
			else if (braid_xa_branches() != NIL)
				braid_xa_stat_commit_ends(NULL);
			break;
		case XACT_EVENT_ABORT:
			if (braid_xa_branches() != NIL)
				braid_xa_stat_count(XA_STAT_ABORTED);
			if (phase == PHASE_REGISTERED || phase == PHASE_PREPARING)
				after_abort();
			phase = PHASE_NONE;
			in_one_phase = false;
			break;
		case XACT_EVENT_PREPARE:
			break;
		default:
			return;
	}
	braid_xa_branches_forget();
}

static void
locks_released(bool is_commit)
{
	if (phase != PHASE_COMMITTED)
		return;
	phase = PHASE_NONE;
	BRAID_FAILPOINT_NOTHROW("xa-handed-over");
	XLogFlush(XactLastCommitEnd);
	braid_xa_decision_note_flush(braid_xa_stat_phase_ends(XA_PHASE_LOCAL_COMMIT));
	if (!waits || !braid_xa_transaction_wait(slot))
		braid_xa_unfinished_remember(slot, &transaction, recycled);
	braid_xa_stat_commit_ends(&transaction);
}

void
braid_xa_coordinator_init(void)
{
	braid_xa_decision_init();
	braid_xact_register(BRAID_XACT_FIRST, first_stage);
	braid_xact_register(BRAID_XACT_LAST, last_stage);
	braid_xact_on_locks_released(locks_released);
}
