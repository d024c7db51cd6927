/*
 * statistics.c
 *	  What the capture worker of each database has done, in shared memory.
 *
 * NOTES
 *	  Each database with a worker has an entry, which outlives the worker, but not
 *	  the server.  There are as many as workers that can run; should another
 *	  database need one, that of a database without a worker is used again.
 *	  Numbers are added by atomic instructions and read without a lock.
 *
 *	  Memory is what is allocated at the end of a cycle's work, when deltas and
 *	  plans are there.  It is added up ten times a second at most, and so in every
 *	  cycle that takes long.
 */
#include "postgres.h"

#include "capture/latency.h"
#include "capture/piece.h"
#include "capture/settings.h"
#include "capture/source.h"
#include "capture/statistics.h"
#include "common/shmem.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"

#define MEMORY_INTERVAL_MS 100
#define US_PER_MS 1000.0

typedef enum CaptureCounter
{
	CAPTURE_STARTS,
	CAPTURE_CYCLES,
	CAPTURE_CHANGED, /* cycles that have brought something */
	CAPTURE_TRANSACTIONS,
	CAPTURE_ROWS,
	CAPTURE_WAL, /* bytes */
	CAPTURE_CYCLE_US,
	CAPTURE_DECODE_US,
	CAPTURE_APPLY_US,
	CAPTURE_NCOUNTERS
} CaptureCounter;

typedef struct CaptureStat
{
	Oid dbid; /* InvalidOid: free; guarded by the lock, as pid is */
	int pid;  /* of the worker; 0: none runs */
	pg_atomic_uint64 since;
	pg_atomic_uint64 counters[CAPTURE_NCOUNTERS];
	pg_atomic_uint64 max_cycle_us;
	pg_atomic_uint64 max_memory;

	/* As of the last cycle. */
	pg_atomic_uint64 memory;
	pg_atomic_uint64 position;
	pg_atomic_uint64 when;
	pg_atomic_uint64 held;
	pg_atomic_uint64 held_since; /* 0: none */
	pg_atomic_uint64 held_back;	 /* tables */
} CaptureStat;

typedef struct CaptureStats
{
	LWLock lock;
	int nstats;
	CaptureStat stats[FLEXIBLE_ARRAY_MEMBER];
} CaptureStats;

int braid_capture_log_min_duration = -1;

static CaptureStats *shared = NULL;

/* Worker: its entry, and the cycle under way. */
static CaptureStat *mine = NULL;
static struct
{
	TimestampTz begun;
	TimestampTz decoded;
	TimestampTz applied;
	uint64 wal;
	int64 rows;
} cycle;

/* ---------------------------------------------------------------- memory */

static Size
shared_size(void)
{
	return offsetof(CaptureStats, stats) + max_worker_processes * sizeof(CaptureStat);
}

static void
reset(CaptureStat *s)
{
	for (int i = 0; i < CAPTURE_NCOUNTERS; i++)
		pg_atomic_write_u64(&s->counters[i], 0);
	pg_atomic_write_u64(&s->max_cycle_us, 0);
	pg_atomic_write_u64(&s->max_memory, 0);
	pg_atomic_write_u64(&s->since, GetCurrentTimestamp());
}

/* The area is zeroed; where atomics are locks these have to be made. */
static void
init_stat(CaptureStat *s)
{
	pg_atomic_init_u64(&s->since, 0);
	for (int i = 0; i < CAPTURE_NCOUNTERS; i++)
		pg_atomic_init_u64(&s->counters[i], 0);
	pg_atomic_init_u64(&s->max_cycle_us, 0);
	pg_atomic_init_u64(&s->max_memory, 0);
	pg_atomic_init_u64(&s->memory, 0);
	pg_atomic_init_u64(&s->position, 0);
	pg_atomic_init_u64(&s->when, 0);
	pg_atomic_init_u64(&s->held, 0);
	pg_atomic_init_u64(&s->held_since, 0);
	pg_atomic_init_u64(&s->held_back, 0);
}

static void
shared_init(void *area)
{
	CaptureStats *s = area;

	braid_shmem_init_lock(&s->lock);
	s->nstats = max_worker_processes;
	for (int i = 0; i < s->nstats; i++)
		init_stat(&s->stats[i]);
}

static const BraidShmemArea shared_area = {"braid capture statistics", shared_size, shared_init,
										   (void **) &shared};

/* The caller holds the lock.  NULL if there is none. */
static CaptureStat *
find_stat(Oid dbid)
{
	for (int i = 0; i < shared->nstats; i++)
		if (shared->stats[i].dbid == dbid)
			return &shared->stats[i];
	return NULL;
}

/* One that was never used, else that of a database without a worker. */
static CaptureStat *
take_stat(void)
{
	CaptureStat *s = find_stat(InvalidOid);

	for (int i = 0; i < shared->nstats && !s; i++)
		if (shared->stats[i].pid == 0)
			s = &shared->stats[i];
	return s;
}

/* ---------------------------------------------------------------- worker */

static void
detach_at_exit(int code, Datum arg)
{
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	mine->pid = 0;
	LWLockRelease(&shared->lock);
	pg_atomic_write_u64(&mine->memory, 0);
}

void
braid_capture_stat_detach(void)
{
	if (!mine)
		return;
	ereport(LOG, (errmsg("capture worker ends: the database has no continuous views any more")));
	cancel_before_shmem_exit(detach_at_exit, 0);
	detach_at_exit(0, 0);
	mine = NULL;
}

static void
count(CaptureCounter counter, uint64 n)
{
	pg_atomic_fetch_add_u64(&mine->counters[counter], n);
}

void
braid_capture_stat_attach(void)
{
	if (mine)
		return;
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	mine = find_stat(MyDatabaseId);
	if (!mine)
	{
		/* Of as many entries as there can be workers, one has none. */
		mine = take_stat();
		reset(mine);
		mine->dbid = MyDatabaseId;
	}
	mine->pid = MyProcPid;
	LWLockRelease(&shared->lock);
	before_shmem_exit(detach_at_exit, 0);
	count(CAPTURE_STARTS, 1);
	ereport(LOG, (errmsg("capture worker begins to follow the tables of continuous views")));
}

void
braid_capture_stat_begin(void)
{
	cycle.begun = GetCurrentTimestamp();
}

void
braid_capture_stat_decoded(XLogRecPtr from, XLogRecPtr upto)
{
	cycle.decoded = GetCurrentTimestamp();
	cycle.wal = XLogRecPtrIsInvalid(from) || upto < from ? 0 : upto - from;
	pg_atomic_write_u64(&mine->position, upto);
}

static void
raise_to(pg_atomic_uint64 *max, uint64 value)
{
	/* A reset may come in between, and is then lost; nobody else writes. */
	if (pg_atomic_read_u64(max) < value)
		pg_atomic_write_u64(max, value);
}

static void
note_memory(void)
{
	static TimestampTz last = 0;
	uint64 bytes;

	if (!TimestampDifferenceExceeds(last, cycle.applied, MEMORY_INTERVAL_MS))
		return;
	last = cycle.applied;
	bytes = MemoryContextMemAllocated(TopMemoryContext, true);
	pg_atomic_write_u64(&mine->memory, bytes);
	raise_to(&mine->max_memory, bytes);
}

void
braid_capture_stat_applied(void)
{
	ListCell *lc;

	cycle.applied = GetCurrentTimestamp();
	cycle.rows = 0;
	foreach (lc, braid_source_list())
		cycle.rows += ((BraidSource *) lfirst(lc))->delta.nrows;
	note_memory();
}

static void
log_if_slow(TimestampTz end, int held_back)
{
	if (braid_capture_log_min_duration < 0 ||
		end - cycle.begun < braid_capture_log_min_duration * INT64CONST(1000))
		return;
	ereport(LOG, (errmsg("capture cycle took %.3f ms", (end - cycle.begun) / US_PER_MS),
				  errdetail("Decoding took %.3f ms, the views %.3f ms, the commit %.3f ms; "
							"%llu bytes of WAL, %llu transactions, %lld rows, "
							"%d tables held back.",
							(cycle.decoded - cycle.begun) / US_PER_MS,
							(cycle.applied - cycle.decoded) / US_PER_MS,
							(end - cycle.applied) / US_PER_MS, (unsigned long long) cycle.wal,
							(unsigned long long) braid_latency_transactions(),
							(long long) cycle.rows, held_back)));
}

void
braid_capture_stat_committed(bool advanced, int held_back)
{
	TimestampTz end = GetCurrentTimestamp();
	TimestampTz held_since;

	count(CAPTURE_CYCLES, 1);
	count(CAPTURE_CHANGED, advanced);
	count(CAPTURE_TRANSACTIONS, braid_latency_transactions());
	count(CAPTURE_ROWS, cycle.rows);
	count(CAPTURE_WAL, cycle.wal);
	count(CAPTURE_CYCLE_US, Max(end - cycle.begun, 0));
	count(CAPTURE_DECODE_US, Max(cycle.decoded - cycle.begun, 0));
	count(CAPTURE_APPLY_US, Max(cycle.applied - cycle.decoded, 0));
	raise_to(&mine->max_cycle_us, Max(end - cycle.begun, 0));
	pg_atomic_write_u64(&mine->held, braid_piece_count(&held_since));
	pg_atomic_write_u64(&mine->held_since, held_since);
	pg_atomic_write_u64(&mine->held_back, held_back);
	pg_atomic_write_u64(&mine->when, cycle.begun);
	log_if_slow(end, held_back);
}

void
braid_capture_stat_idle(void)
{
	pg_atomic_write_u64(&mine->when, GetCurrentTimestamp());
}

/* ---------------------------------------------------------------- SQL */

PG_FUNCTION_INFO_V1(braid_sql_capture_statistics);
PG_FUNCTION_INFO_V1(braid_sql_capture_statistics_reset);

static Datum
number(pg_atomic_uint64 *n)
{
	return Int64GetDatum((int64) pg_atomic_read_u64(n));
}

static void
put_time(pg_atomic_uint64 *t, Datum *value, bool *isnull)
{
	*value = TimestampTzGetDatum((TimestampTz) pg_atomic_read_u64(t));
	*isnull = DatumGetTimestampTz(*value) == 0;
}

static Datum
milliseconds(pg_atomic_uint64 *us)
{
	return Float8GetDatum(pg_atomic_read_u64(us) / US_PER_MS);
}

#define COLUMNS 20

static void
put_stat(ReturnSetInfo *result, CaptureStat *s, Oid dbid, int pid)
{
	Datum v[COLUMNS];
	bool n[COLUMNS] = {false};
	int i = 0;

	v[i++] = ObjectIdGetDatum(dbid);
	n[i] = pid == 0;
	v[i++] = Int32GetDatum(pid);
	v[i] = LSNGetDatum(pg_atomic_read_u64(&s->position));
	n[i++] = pg_atomic_read_u64(&s->position) == InvalidXLogRecPtr;
	put_time(&s->when, &v[i], &n[i]);
	i++;
	for (int c = 0; c < CAPTURE_CYCLE_US; c++)
		v[i++] = number(&s->counters[c]);
	for (int c = CAPTURE_CYCLE_US; c < CAPTURE_NCOUNTERS; c++)
		v[i++] = milliseconds(&s->counters[c]);
	v[i++] = milliseconds(&s->max_cycle_us);
	v[i++] = number(&s->held);
	put_time(&s->held_since, &v[i], &n[i]);
	i++;
	v[i++] = number(&s->held_back);
	v[i++] = number(&s->memory);
	v[i++] = number(&s->max_memory);
	put_time(&s->since, &v[i], &n[i]);
	Assert(i == COLUMNS - 1);
	tuplestore_putvalues(result->setResult, result->setDesc, v, n);
}

/* capture_statistics(): one row for each database that has, or had, a worker. */
Datum
braid_sql_capture_statistics(PG_FUNCTION_ARGS)
{
	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < shared->nstats; i++)
	{
		Oid dbid;
		int pid;

		LWLockAcquire(&shared->lock, LW_SHARED);
		dbid = shared->stats[i].dbid;
		pid = shared->stats[i].pid;
		LWLockRelease(&shared->lock);
		if (OidIsValid(dbid))
			put_stat((ReturnSetInfo *) fcinfo->resultinfo, &shared->stats[i], dbid, pid);
	}
	return (Datum) 0;
}

/* capture_statistics_reset(): of this database. */
Datum
braid_sql_capture_statistics_reset(PG_FUNCTION_ARGS)
{
	CaptureStat *s;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	s = find_stat(MyDatabaseId);
	if (s)
		reset(s);
	LWLockRelease(&shared->lock);
	PG_RETURN_VOID();
}

void
braid_capture_stat_init(void)
{
	DefineCustomIntVariable(
		"braid.capture_log_min_duration",
		"Sets how long a cycle of a capture worker has to take for it to be logged.",
		"0 logs all of them, -1 none.", &braid_capture_log_min_duration, -1, -1, INT_MAX,
		PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	braid_shmem_register(&shared_area);
}
