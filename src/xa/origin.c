/*
 * origin.c
 *	  Which global transaction a backend works for, in shared memory.
 *
 * NOTES
 *	  A deadlock over several servers can only be seen by somebody who knows
 *	  which backends, on different servers, work for one transaction.  So a
 *	  transaction has a name from its first write on: its coordinator, the pid
 *	  of its session and the time at which it began.  The name travels in the
 *	  tags of its statements (tag.h); each backend of a participant keeps it here
 *	  until its transaction ends.  A session that writes on other servers keeps
 *	  its own here as well.
 *
 *	  The second purpose is to end a transaction that the detector (deadlock.c)
 *	  has chosen.  The detector writes the reason into the slot and sends SIGINT;
 *	  the error that follows, "canceling statement due to user request" wherever
 *	  the session waits just then, is turned into a deadlock's by an error
 *	  context callback.  That is the one place that all errors of a session pass,
 *	  whether it waits in the executor, in the parser for the lock on a relation,
 *	  or in postgres_fdw's transaction callback for a PREPARE.
 *
 *	  A signal must not hit a later transaction.  So it is sent under the slot's
 *	  lock, and only while the slot still names the transaction; the session
 *	  clears the slot under the same lock when its transaction has ended, and
 *	  then takes back a cancellation that it finds.
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "common/failpoint.h"
#include "common/shmem.h"
#include "common/xact.h"
#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "parser/analyze.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"
#include "xa/identity.h"
#include "xa/origin.h"

#define DETAIL_LEN 1024
#define CANCEL_AGAIN_MS 1000 /* if it had no effect, as in a race with the client */

/* One for each PGPROC of a backend. */
typedef struct ActorSlot
{
	LWLock lock; /* guards all that follows */
	Oid dbid;
	XaActor actor;
	TimestampTz canceled;	 /* own was told to end; 0: it was not */
	char detail[DETAIL_LEN]; /* why */
} ActorSlot;

static ActorSlot *slots = NULL;

/* Is there something of the current transaction in our slot? */
static bool published = false;

static post_parse_analyze_hook_type prev_post_parse_analyze = NULL;

static Size
slots_size(void)
{
	return MaxBackends * sizeof(ActorSlot);
}

static void
slots_init(void *area)
{
	for (int i = 0; i < MaxBackends; i++)
		braid_shmem_init_lock(&((ActorSlot *) area)[i].lock);
}

static const BraidShmemArea area = {"braid xa origins", slots_size, slots_init, (void **) &slots};

/* NULL for processes that run no transactions of users. */
static ActorSlot *
slot_of(PGPROC *proc)
{
	int i = proc - ProcGlobal->allProcs;

	return i < MaxBackends ? &slots[i] : NULL;
}

/* ---------------------------------------------------------------- names */

char *
braid_xa_origin_format(const XaOrigin *origin, char *buf)
{
	snprintf(buf, BRAID_ORIGIN_LEN, "%016llx:%d:%llx", (unsigned long long) origin->coordinator,
			 origin->pid, (unsigned long long) origin->started);
	return buf;
}

bool
braid_xa_origin_parse(const char *text, XaOrigin *origin)
{
	unsigned long long coordinator;
	unsigned long long started;
	char canonical[BRAID_ORIGIN_LEN];

	if (sscanf(text, "%16llx:%d:%16llx", &coordinator, &origin->pid, &started) != 3 ||
		origin->pid <= 0)
		return false;
	origin->coordinator = coordinator;
	origin->started = (TimestampTz) started;
	return strcmp(text, braid_xa_origin_format(origin, canonical)) == 0;
}

bool
braid_xa_origin_equal(const XaOrigin *a, const XaOrigin *b)
{
	return a->pid == b->pid && a->started == b->started && a->coordinator == b->coordinator;
}

/* ---------------------------------------------------------------- backend */

/*
 * Turns the cancellation of a victim's statement into the error of a deadlock.
 * The slot was written before the signal was sent, so no lock is needed.  A
 * statement that began after that is not the one that was meant: the signal
 * came when the session was idle, and was ignored.
 */
static void
tell_victim(void *arg)
{
	ActorSlot *mine;

	if (!published || geterrcode() != ERRCODE_QUERY_CANCELED)
		return;
	mine = slot_of(MyProc);
	if (mine->canceled == 0 || mine->canceled < GetCurrentStatementStartTimestamp())
		return;
	errcode(ERRCODE_T_R_DEADLOCK_DETECTED);
	errmsg("deadlock detected");
	errdetail_internal("%s", mine->detail);
	mine->canceled = 0;
}

static ErrorContextCallback telling = {NULL, tell_victim, NULL};

/*
 * Puts the callback at the bottom of the stack of error contexts, where it
 * survives what others push and pop.  What removes it is an error that reaches
 * the main loop, and the end of a PG_TRY() that began with an empty stack;
 * hence this is called again at each point from which waits can follow.
 */
static void
listen_for_cancel(void)
{
	ErrorContextCallback **tail = &error_context_stack;

	for (; *tail; tail = &(*tail)->previous)
		if (*tail == &telling)
			return;
	*tail = &telling;
}

static void
post_parse_analyze(ParseState *pstate, Query *query, JumbleState *jstate)
{
	if (prev_post_parse_analyze)
		prev_post_parse_analyze(pstate, query, jstate);

	/* At the top level, so that the next statement's parser is covered too. */
	if (error_context_stack == NULL)
		listen_for_cancel();
}

const XaOrigin *
braid_xa_origin_own(void)
{
	ActorSlot *mine = MyProc ? slot_of(MyProc) : NULL;

	return published && mine->actor.own.pid != 0 ? &mine->actor.own : NULL;
}

const XaOrigin *
braid_xa_origin_open(void)
{
	ActorSlot *mine = slot_of(MyProc);
	XaIdentity identity;

	if (braid_xa_origin_own())
		return &mine->actor.own;

	/* A server was ready, so the resolver has published the identity. */
	if (!braid_xa_identity_get(&identity))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("the resolver of this database has not started yet")));
	LWLockAcquire(&mine->lock, LW_EXCLUSIVE);
	mine->dbid = MyDatabaseId;
	mine->actor.own.coordinator = identity.coordinator;
	mine->actor.own.pid = MyProcPid;
	mine->actor.own.started = GetCurrentTransactionStartTimestamp();
	LWLockRelease(&mine->lock);
	published = true;
	listen_for_cancel();
	return &mine->actor.own;
}

void
braid_xa_origin_note(const XaOrigin *origin, const BraidGid *gid)
{
	ActorSlot *mine = slot_of(MyProc);
	XaActor *actor = &mine->actor;

	/* Only we write here, so that we may read without the lock. */
	if (published && braid_xa_origin_equal(&actor->origin, origin) &&
		(!gid || braid_gid_same_transaction(&actor->gid, gid)))
		return;
	LWLockAcquire(&mine->lock, LW_EXCLUSIVE);
	actor->origin = *origin;
	if (gid)
		actor->gid = *gid;
	LWLockRelease(&mine->lock);
	published = true;
}

/*
 * The transaction has ended: no signal comes after this.  One that was sent
 * before is pending at the latest; unblocking signals has it delivered.
 */
static void
withdraw(void)
{
	ActorSlot *mine = slot_of(MyProc);
	bool canceled;

	LWLockAcquire(&mine->lock, LW_EXCLUSIVE);
	canceled = mine->canceled != 0;
	mine->canceled = 0;
	memset(&mine->actor, 0, sizeof(mine->actor));
	LWLockRelease(&mine->lock);
	published = false;
	if (canceled)
	{
		sigprocmask(SIG_SETMASK, &UnBlockSig, NULL);
		QueryCancelPending = false;
	}
}

static void
first_stage(XactEvent event)
{
	if (event == XACT_EVENT_PRE_COMMIT && published)
		listen_for_cancel();
}

static void
last_stage(XactEvent event)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
			if (published)
				withdraw();
			break;
		case XACT_EVENT_ABORT:
			if (published)
				withdraw();
			listen_for_cancel();
			break;
		default:
			break;
	}
}

/* ---------------------------------------------------------------- others */

bool
braid_xa_origin_read(int pid, XaActor *actor)
{
	PGPROC *proc = BackendPidGetProc(pid);
	ActorSlot *slot = proc ? slot_of(proc) : NULL;

	if (!slot)
		return false;
	LWLockAcquire(&slot->lock, LW_SHARED);
	*actor = slot->actor;
	LWLockRelease(&slot->lock);
	return true;
}

/* Waits, and not for its client.  Another process's field, read without a lock. */
static bool
is_waiting(PGPROC *proc)
{
	uint32 wait = *(volatile uint32 *) &proc->wait_event_info;

	return wait != 0 && wait != WAIT_EVENT_CLIENT_READ;
}

bool
braid_xa_origin_someone_waits(int min_age_ms)
{
	TimestampTz now = GetCurrentTimestamp();

	for (int i = 0; i < MaxBackends; i++)
	{
		ActorSlot *slot = &slots[i];

		/* A look at most; what is read amiss costs nothing but a detection. */
		if (slot->actor.own.pid != 0 && slot->dbid == MyDatabaseId &&
			is_waiting(&ProcGlobal->allProcs[i]) &&
			TimestampDifferenceExceeds(slot->actor.own.started, now, min_age_ms))
			return true;
	}
	return false;
}

bool
braid_xa_origin_cancel(const XaOrigin *own, const char *detail)
{
	PGPROC *proc = BackendPidGetProc(own->pid);
	ActorSlot *slot = proc ? slot_of(proc) : NULL;
	TimestampTz now = GetCurrentTimestamp();
	bool sent = false;

	if (!slot)
		return false;
	LWLockAcquire(&slot->lock, LW_EXCLUSIVE);
	if (braid_xa_origin_equal(&slot->actor.own, own) && is_waiting(proc) &&
		TimestampDifferenceExceeds(slot->canceled, now, CANCEL_AGAIN_MS))
	{
		slot->canceled = now;
		strlcpy(slot->detail, detail, sizeof(slot->detail));
		sent = kill(own->pid, SIGINT) == 0;
	}
	LWLockRelease(&slot->lock);
	return sent;
}

void
braid_xa_origin_init(void)
{
	braid_shmem_register(&area);
	prev_post_parse_analyze = post_parse_analyze_hook;
	post_parse_analyze_hook = post_parse_analyze;
	braid_xact_register(BRAID_XACT_FIRST, first_stage);
	braid_xact_register(BRAID_XACT_LAST, last_stage);
}
