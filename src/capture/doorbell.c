/*
 * doorbell.c
 *	  How writers and readers call the capture worker, and what it tells them.
 *
 * NOTES
 *	  One entry in shared memory per database with a worker.  A writer rings
 *	  after its commit has become visible.  While "rung" is set the others need
 *	  not: the worker clears it before it takes its next snapshot, so whoever
 *	  found it set is visible in that snapshot.
 *
 *		writer:  become visible; full barrier; read rung, set it
 *		worker:  clear rung; full barrier; take snapshot
 *
 *	  Either the writer reads rung after it was cleared, and then sets the
 *	  latch for one more cycle, or it read it before, and then it was visible
 *	  before the snapshot was taken.  During the worker's batching delay rung
 *	  stays set, so that writers pay one read then.
 *
 *	  How long the worker lags is the time since the first commit that it has not
 *	  merged: who rings writes down when.  When the worker clears the bell it
 *	  carries that over to the cycle that it begins, until that has ended; if it
 *	  dies before, to the next one.
 *
 *	  A request is a number.  The worker reads the counter before it takes its
 *	  snapshot and publishes the number after the commit of the cycle.
 *
 *	  A backend keeps a pointer to its database's entry, and looks it up again
 *	  when the generation tells that entries were given to databases since.
 */
#include "postgres.h"

#include "capture/doorbell.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "common/compat.h"
#include "common/hashfn.h"
#include "common/shmem.h"
#include "common/wait.h"
#include "common/xact.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/ipc.h"
#include "storage/spin.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"

#define MAX_HELD_BACK 32
#define CAPTURED_WORDS 64
#define ASK_AGAIN_MS 20 /* pause before a held-back table is asked for again */

typedef struct Bell
{
	Oid dbid;	  /* Doorbells.lock */
	Latch *latch; /* of the worker or NULL; see ring() */
	pg_atomic_uint32 rung;
	pg_atomic_uint64 rung_since;			   /* when, by the one who rang */
	pg_atomic_uint64 behind_since;			   /* the same of the running cycle; 0: none runs */
	pg_atomic_uint64 captured[CAPTURED_WORDS]; /* a bit for each relation, by its hash */
	pg_atomic_uint64 requested;
	pg_atomic_uint32 pressing; /* somebody waits for a table that rests */
	ConditionVariable answered_cv;

	slock_t mutex; /* guards all that follows */
	int pid;
	uint64 answered;
	XLogRecPtr position; /* decoded up to here */
	bool holds;			 /* something below it is not in the tables' frontiers */
	TimestampTz when;	 /* of the last snapshot */
	int nheld_back;		 /* more than MAX_HELD_BACK: all are */
	int nresting;		 /* the last so many of these */
	Oid held_back[MAX_HELD_BACK];
} Bell;

typedef struct Doorbells
{
	LWLock lock;				 /* guards nbells and the entries' dbid */
	pg_atomic_uint32 generation; /* grows when an entry gets a database */
	int nbells;
	Bell bells[FLEXIBLE_ARRAY_MEMBER];
} Doorbells;

static Doorbells *doorbells = NULL;

/* This backend's entry as of the generation seen. */
static Bell *my_bell = NULL;
static uint32 my_generation = 0;

static bool am_worker = false;
static bool ring_at_commit = false;

static int
max_bells(void)
{
	return max_worker_processes;
}

static Size
doorbells_size(void)
{
	return offsetof(Doorbells, bells) + max_bells() * sizeof(Bell);
}

static void
doorbells_init(void *area)
{
	Doorbells *d = area;

	braid_shmem_init_lock(&d->lock);
	pg_atomic_init_u32(&d->generation, 0);
}

static const BraidShmemArea doorbells_area = {"braid doorbells", doorbells_size, doorbells_init,
											  (void **) &doorbells};

/* An entry that is new, or that of a database without a worker.  NULL if none. */
static Bell *
free_bell(void)
{
	Bell *b;

	if (doorbells->nbells < max_bells())
	{
		b = &doorbells->bells[doorbells->nbells++];
		SpinLockInit(&b->mutex);
		pg_atomic_init_u32(&b->rung, 0);
		pg_atomic_init_u64(&b->rung_since, 0);
		pg_atomic_init_u64(&b->behind_since, 0);
		for (int i = 0; i < CAPTURED_WORDS; i++)
			pg_atomic_init_u64(&b->captured[i], 0);
		pg_atomic_init_u64(&b->requested, 0);
		pg_atomic_init_u32(&b->pressing, 0);
		ConditionVariableInit(&b->answered_cv);
		return b;
	}
	for (int i = 0; i < doorbells->nbells; i++)
		if (doorbells->bells[i].pid == 0)
			return &doorbells->bells[i];
	return NULL;
}

/* The caller holds the lock exclusively. */
static Bell *
make_bell(Oid dbid)
{
	Bell *b = free_bell();

	if (b == NULL)
	{
		LWLockRelease(&doorbells->lock);
		ereport(
			ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("too many databases with continuous views"),
			 errhint("Raise \"max_worker_processes\" in postgresql.conf and restart the server.")));
	}
	pg_atomic_write_u64(&b->rung_since, 0);
	pg_atomic_write_u64(&b->behind_since, 0);
	SpinLockAcquire(&b->mutex);
	b->position = InvalidXLogRecPtr; /* what it was in another database says nothing here */
	b->when = 0;
	SpinLockRelease(&b->mutex);
	b->dbid = dbid;
	pg_atomic_fetch_add_u32(&doorbells->generation, 1);
	return b;
}

/* NULL if the database has no entry and none is to be made. */
static Bell *
find_bell(Oid dbid, bool make)
{
	Bell *found = NULL;

	LWLockAcquire(&doorbells->lock, make ? LW_EXCLUSIVE : LW_SHARED);
	for (int i = 0; i < doorbells->nbells && !found; i++)
		if (doorbells->bells[i].dbid == dbid)
			found = &doorbells->bells[i];
	if (!found && make)
		found = make_bell(dbid);
	LWLockRelease(&doorbells->lock);
	return found;
}

/* This database's entry, NULL if it has none; seldom takes a lock. */
static Bell *
own_bell(void)
{
	uint32 generation = pg_atomic_read_u32(&doorbells->generation);

	if (generation != my_generation)
	{
		my_generation = generation;
		my_bell = find_bell(MyDatabaseId, false);
	}
	return my_bell;
}

/* ---------------------------------------------------------------- writers */

/*
 * The latch belongs to a process entry in shared memory: to set that of a
 * worker that has just gone is harmless.  Must not throw.
 */
static void
ring(Bell *b)
{
	Latch *latch;

	pg_memory_barrier();
	if (pg_atomic_read_u32(&b->rung) != 0)
		return;
	if (pg_atomic_exchange_u32(&b->rung, 1) != 0)
		return;
	pg_atomic_write_u64(&b->rung_since, (uint64) GetCurrentTransactionStopTimestamp());
	latch = *(Latch *volatile *) &b->latch;
	if (latch)
		SetLatch(latch);
}

/*
 * Runs after the transaction has become visible.  Costs a comparison where no
 * database has views, a scan of the entries once when one gets its first.
 */
static void
end_of_transaction(XactEvent event)
{
	bool wanted = ring_at_commit;

	if (event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		ring_at_commit = false;
	if (event != XACT_EVENT_COMMIT)
		return;
	ring_at_commit = false;
	if (!wanted && !TransactionIdIsValid(GetTopTransactionIdIfAny()))
		return;
	if (!am_worker && own_bell())
		ring(my_bell);
}

void
braid_doorbell_ring_at_commit(void)
{
	ring_at_commit = true;
}

double
braid_doorbell_lag_ms(void)
{
	Bell *b = am_worker ? NULL : own_bell();
	uint64 since = b ? pg_atomic_read_u64(&b->behind_since) : 0;

	if (b && since == 0 && pg_atomic_read_u32(&b->rung) != 0)
		since = pg_atomic_read_u64(&b->rung_since);
	return since == 0 ? 0 : Max(GetCurrentTimestamp() - (TimestampTz) since, 0) / 1000.0;
}

uint64
braid_doorbell_lag_bytes(void)
{
	Bell *b = am_worker ? NULL : own_bell();
	XLogRecPtr position = InvalidXLogRecPtr;
	XLogRecPtr end;

	if (b)
	{
		SpinLockAcquire(&b->mutex);
		position = b->position;
		SpinLockRelease(&b->mutex);
	}
	if (XLogRecPtrIsInvalid(position))
		return 0;
	end = GetXLogInsertRecPtr();
	return end > position ? end - position : 0;
}

static uint64
captured_bit(Oid relid, int *word)
{
	uint32 hash = murmurhash32(relid);

	*word = hash / 64 % CAPTURED_WORDS;
	return UINT64CONST(1) << hash % 64;
}

bool
braid_doorbell_may_capture(Oid relid)
{
	Bell *b = own_bell();
	int word;
	uint64 bit = captured_bit(relid, &word);

	return b && (pg_atomic_read_u64(&b->captured[word]) & bit) != 0;
}

int
braid_doorbell_worker_of(Oid dbid, TimestampTz *when)
{
	Bell *b = find_bell(dbid, false);
	int pid = 0;

	*when = 0;
	if (b)
	{
		SpinLockAcquire(&b->mutex);
		pid = b->pid;
		*when = b->when;
		SpinLockRelease(&b->mutex);
	}
	return pid;
}

/* ---------------------------------------------------------------- worker */

static void
detach_at_exit(int code, Datum arg)
{
	braid_doorbell_detach();
}

void
braid_doorbell_attach(void)
{
	am_worker = true;
	my_bell = find_bell(MyDatabaseId, true);
	SpinLockAcquire(&my_bell->mutex);
	my_bell->pid = MyProcPid;
	SpinLockRelease(&my_bell->mutex);
	my_bell->latch = MyLatch;
	before_shmem_exit(detach_at_exit, 0);
}

void
braid_doorbell_detach(void)
{
	if (!my_bell || my_bell->pid != MyProcPid)
		return;
	my_bell->latch = NULL;
	SpinLockAcquire(&my_bell->mutex);
	my_bell->pid = 0;
	SpinLockRelease(&my_bell->mutex);
}

void
braid_doorbell_listen(void)
{
	uint64 since = pg_atomic_exchange_u64(&my_bell->rung_since, 0);

	if (pg_atomic_exchange_u32(&my_bell->rung, 0) != 0 &&
		pg_atomic_read_u64(&my_bell->behind_since) == 0)
		pg_atomic_write_u64(&my_bell->behind_since,
							since != 0 ? since : (uint64) GetCurrentTimestamp());
}

void
braid_doorbell_all_done(void)
{
	pg_atomic_write_u64(&my_bell->behind_since, 0);
}

void
braid_doorbell_set_captured(List *relids)
{
	uint64 words[CAPTURED_WORDS] = {0};
	ListCell *lc;

	foreach (lc, relids)
	{
		int word;
		uint64 bit = captured_bit(lfirst_oid(lc), &word);

		words[word] |= bit;
	}
	for (int i = 0; i < CAPTURED_WORDS; i++)
		pg_atomic_write_u64(&my_bell->captured[i], words[i]);
}

bool
braid_doorbell_is_rung(void)
{
	return pg_atomic_read_u32(&my_bell->rung) != 0;
}

uint64
braid_doorbell_requested(void)
{
	uint64 request = pg_atomic_read_u64(&my_bell->requested);

	pg_memory_barrier();
	return request;
}

bool
braid_doorbell_presses(void)
{
	return pg_atomic_exchange_u32(&my_bell->pressing, 0) != 0;
}

bool
braid_doorbell_urgent(void)
{
	/* Only the worker writes answered. */
	return pg_atomic_read_u64(&my_bell->requested) != my_bell->answered;
}

void
braid_doorbell_answer(uint64 request, XLogRecPtr position, bool holds, TimestampTz when,
					  List *held_back, int nresting)
{
	bool news = my_bell->answered != request;
	ListCell *lc;

	SpinLockAcquire(&my_bell->mutex);
	my_bell->answered = request;
	my_bell->position = position;
	my_bell->holds = holds;
	my_bell->when = when;
	my_bell->nheld_back = 0;
	my_bell->nresting = nresting;
	foreach (lc, held_back)
	{
		if (my_bell->nheld_back < MAX_HELD_BACK)
			my_bell->held_back[my_bell->nheld_back] = lfirst_oid(lc);
		my_bell->nheld_back++;
	}
	SpinLockRelease(&my_bell->mutex);
	braid_doorbell_all_done();
	if (news)
		ConditionVariableBroadcast(&my_bell->answered_cv);
}

/* ---------------------------------------------------------------- readers */

/* This database's entry, which is made if there is none. */
static Bell *
readers_bell(void)
{
	uint32 generation = pg_atomic_read_u32(&doorbells->generation);

	if (my_bell == NULL || generation != my_generation)
	{
		my_bell = find_bell(MyDatabaseId, true);
		my_generation = generation;
	}
	return my_bell;
}

static bool
is_answered(Bell *b, uint64 request)
{
	bool answered;

	SpinLockAcquire(&b->mutex);
	answered = b->answered >= request && b->dbid == MyDatabaseId;
	SpinLockRelease(&b->mutex);
	return answered;
}

bool
braid_doorbell_holds_back(List *relids)
{
	Bell *b = readers_bell();
	bool found;
	bool rests = false;

	SpinLockAcquire(&b->mutex);
	found = b->nheld_back > MAX_HELD_BACK;
	rests = found && b->nresting > 0;
	for (int i = 0; i < Min(b->nheld_back, MAX_HELD_BACK); i++)
		if (list_member_oid(relids, b->held_back[i]))
		{
			found = true;
			rests |= i >= b->nheld_back - b->nresting;
		}
	SpinLockRelease(&b->mutex);

	/* The caller is going to ask again. */
	if (rests)
		pg_atomic_write_u32(&b->pressing, 1);
	return found;
}

void
braid_doorbell_look(BraidCaptureStatus *status)
{
	Bell *b = readers_bell();

	SpinLockAcquire(&b->mutex);
	status->pid = b->pid;
	status->position = b->position;
	status->when = b->when;
	status->is_complete = !b->holds && b->nheld_back == 0 && b->dbid == MyDatabaseId;
	SpinLockRelease(&b->mutex);
}

uint64
braid_doorbell_request(void)
{
	Bell *b = readers_bell();
	uint64 request = pg_atomic_add_fetch_u64(&b->requested, 1);
	Latch *latch = *(Latch *volatile *) &b->latch;

	if (latch)
		SetLatch(latch);
	return request;
}

/* Milliseconds left, 0 if none. */
static long
time_left(TimestampTz deadline)
{
	return TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);
}

bool
braid_doorbell_await(uint64 request, TimestampTz deadline)
{
	Bell *b = readers_bell();
	bool answered;

	ConditionVariablePrepareToSleep(&b->answered_cv);
	while (!(answered = is_answered(b, request)))
	{
		long left = time_left(deadline);

		if (left <= 0)
			break;

		/* A worker that starts in between looks at the counter by itself. */
		ConditionVariableTimedSleep(&b->answered_cv, Min(left, 1000),
									braid_wait_begin(BRAID_WAIT_CAPTURE_ANSWER));
		braid_wait_end();
	}
	ConditionVariableCancelSleep();
	return answered;
}

bool
braid_doorbell_ask(List *relids, TimestampTz deadline)
{
	while (braid_doorbell_await(braid_doorbell_request(), deadline))
	{
		if (!braid_doorbell_holds_back(relids))
			return true;
		if (time_left(deadline) <= 0)
			return false;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ASK_AGAIN_MS,
						 braid_wait_begin(BRAID_WAIT_CAPTURE_ANSWER));
		braid_wait_end();
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	return false;
}

PG_FUNCTION_INFO_V1(braid_sql_capture_lag);

/* braid_internal.capture_lag(): time and WAL, as braid.max_lag sees them. */
Datum
braid_sql_capture_lag(PG_FUNCTION_ARGS)
{
	Interval *lag = palloc0(sizeof(Interval));
	Datum values[2];
	bool nulls[2] = {false};
	TupleDesc desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	lag->time = (TimeOffset) (braid_doorbell_lag_ms() * 1000);
	values[0] = IntervalPGetDatum(lag);
	values[1] = Int64GetDatum((int64) braid_doorbell_lag_bytes());
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

PG_FUNCTION_INFO_V1(braid_sql_capture_status);

/* braid_internal.capture_status(): one row for this database. */
Datum
braid_sql_capture_status(PG_FUNCTION_ARGS)
{
	Bell *b = find_bell(MyDatabaseId, false);
	Bell copy = {0};
	Datum values[4];
	bool nulls[4] = {0};
	Datum held_back[MAX_HELD_BACK];
	int locked_out;
	TupleDesc desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (b)
	{
		SpinLockAcquire(&b->mutex);
		copy = *b;
		SpinLockRelease(&b->mutex);
	}
	locked_out = Min(copy.nheld_back - copy.nresting, MAX_HELD_BACK);
	for (int i = 0; i < locked_out; i++)
		held_back[i] = ObjectIdGetDatum(copy.held_back[i]);
	values[0] = Int32GetDatum(copy.pid);
	nulls[0] = copy.pid == 0;
	values[1] = LSNGetDatum(copy.position);
	nulls[1] = XLogRecPtrIsInvalid(copy.position);
	values[2] = TimestampTzGetDatum(copy.when);
	nulls[2] = copy.when == 0;
	values[3] = PointerGetDatum(braid_compat_oid_array(held_back, locked_out));
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

void
braid_doorbell_init(void)
{
	braid_shmem_register(&doorbells_area);
	braid_xact_register(BRAID_XACT_LAST, end_of_transaction);
}
