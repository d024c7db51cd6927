/*
 * statistics.c
 *	  What has been done for each continuous view, in shared memory.
 *
 * NOTES
 *	  Only the worker of the view's database adds to an entry, when a cycle has
 *	  committed: what was rolled back is not counted.  A command that resets an
 *	  entry at the same time may lose what is added then.
 *
 *	  An entry belongs to a view as long as the view exists, whatever its name or
 *	  query becomes; the worker frees those of views that have gone when it loads
 *	  the definitions.  All are lost with shared memory.  When there is no room,
 *	  the views that come later have no statistics, which is logged.
 *
 *	  The response time of a transaction is that from its commit record to the
 *	  end of the commit that made the view show it, for each transaction that has
 *	  changed a table of the view while the view was live.  What was in a table
 *	  when the view was populated has none, nor has what a view with a schedule
 *	  shows.
 */
#include "postgres.h"

#include "common/histogram.h"
#include "common/rate.h"
#include "common/shmem.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "view/statistics.h"

PG_FUNCTION_INFO_V1(braid_sql_view_statistics);
PG_FUNCTION_INFO_V1(braid_sql_view_statistics_reset);
PG_FUNCTION_INFO_V1(braid_sql_view_statistics_room);

#define US_PER_MS 1000.0

typedef enum ViewCounter
{
	VIEW_CYCLES,
	VIEW_ROWS,
	VIEW_REBUILDS,
	VIEW_MERGE_US,
	VIEW_NCOUNTERS
} ViewCounter;

typedef struct ViewStat
{
	pg_atomic_uint64 key; /* dbid << 32 | id of the view; 0: free.  Changed under the lock */
	Oid view;			  /* the lock: ids begin anew with the extension, oids do not */
	pg_atomic_uint64 since;
	pg_atomic_uint64 last_change;
	pg_atomic_uint64 counters[VIEW_NCOUNTERS];
	pg_atomic_uint64 max_merge_us;
	BraidRate transactions;
	BraidHistogram latencies;
} ViewStat;

typedef struct ViewStats
{
	LWLock lock;
	int nstats;
	ViewStat stats[FLEXIBLE_ARRAY_MEMBER];
} ViewStats;

static int max_stats = 1000;
static int lag_alarm = 60000; /* read by braid.doctor() in SQL */
static ViewStats *shared = NULL;

/* ---------------------------------------------------------------- memory */

static Size
shared_size(void)
{
	return offsetof(ViewStats, stats) + max_stats * sizeof(ViewStat);
}

static void
reset(ViewStat *s)
{
	for (int i = 0; i < VIEW_NCOUNTERS; i++)
		pg_atomic_write_u64(&s->counters[i], 0);
	pg_atomic_write_u64(&s->max_merge_us, 0);
	pg_atomic_write_u64(&s->last_change, 0);
	braid_rate_reset(&s->transactions);
	braid_histogram_reset(&s->latencies);
	pg_atomic_write_u64(&s->since, GetCurrentTimestamp());
}

static void
init_stat(ViewStat *s)
{
	pg_atomic_init_u64(&s->key, 0);
	pg_atomic_init_u64(&s->since, 0);
	pg_atomic_init_u64(&s->last_change, 0);
	for (int i = 0; i < VIEW_NCOUNTERS; i++)
		pg_atomic_init_u64(&s->counters[i], 0);
	pg_atomic_init_u64(&s->max_merge_us, 0);
	braid_rate_init(&s->transactions);
	braid_histogram_init(&s->latencies);
}

static void
shared_init(void *area)
{
	ViewStats *s = area;

	braid_shmem_init_lock(&s->lock);
	s->nstats = max_stats;
	for (int i = 0; i < s->nstats; i++)
		init_stat(&s->stats[i]);
}

static const BraidShmemArea shared_area = {"braid view statistics", shared_size, shared_init,
										   (void **) &shared};

/* ---------------------------------------------------------------- entries */

static uint64
key_of(int id)
{
	return (uint64) MyDatabaseId << 32 | (uint32) id;
}

/* NULL if there is none.  The caller holds the lock. */
static ViewStat *
find_stat(uint64 key)
{
	for (int i = 0; i < shared->nstats; i++)
		if (pg_atomic_read_u64(&shared->stats[i].key) == key)
			return &shared->stats[i];
	return NULL;
}

/* The caller holds the lock. */
static ViewStat *
take_stat(KeptView *v)
{
	ViewStat *s = find_stat(key_of(v->def.id));

	if (s && s->view == v->def.view)
		return s;
	if (!s)
		s = find_stat(0);
	if (s)
	{
		reset(s);
		s->view = v->def.view;
		pg_write_barrier();
		pg_atomic_write_u64(&s->key, key_of(v->def.id));
	}
	return s;
}

static ViewStat *
enter(KeptView *v)
{
	ViewStat *s;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	s = take_stat(v);
	LWLockRelease(&shared->lock);
	return s;
}

/* The lock must not be held: the catalog is read. */
static void
free_dropped_databases(void)
{
	for (int i = 0; i < shared->nstats; i++)
	{
		ViewStat *s = &shared->stats[i];
		uint64 key = pg_atomic_read_u64(&s->key);

		if (key == 0 || SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum((Oid) (key >> 32))))
			continue;

		/* It may have been given to another view in between. */
		LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
		if (pg_atomic_read_u64(&s->key) == key)
			pg_atomic_write_u64(&s->key, 0);
		LWLockRelease(&shared->lock);
	}
}

void
braid_view_stat_enter(KeptView *v)
{
	static bool told = false;

	v->stat = enter(v);
	if (v->stat)
		return;
	free_dropped_databases();
	v->stat = enter(v);
	if (v->stat || told)
		return;
	told = true;
	ereport(LOG, (errmsg("continuous view \"%s\" and those made after it have no statistics",
						 get_rel_name(v->def.view)),
				  errhint("Raise \"braid.view_max_statistics\" in postgresql.conf and restart the "
						  "server.")));
}

static bool
is_among(List *views, ViewStat *stat)
{
	ListCell *lc;

	foreach (lc, views)
		if (((KeptView *) lfirst(lc))->stat == stat)
			return true;
	return false;
}

void
braid_view_stat_keep(List *views)
{
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < shared->nstats; i++)
	{
		ViewStat *s = &shared->stats[i];

		if (pg_atomic_read_u64(&s->key) >> 32 == MyDatabaseId && !is_among(views, s))
			pg_atomic_write_u64(&s->key, 0);
	}
	LWLockRelease(&shared->lock);
}

/* ---------------------------------------------------------------- counting */

static void
count(ViewStat *s, ViewCounter counter, uint64 n)
{
	pg_atomic_fetch_add_u64(&s->counters[counter], n);
}

void
braid_view_stat_committed(KeptView *v, TimestampTz visible)
{
	ViewStat *s = v->stat;
	ViewWork *work = &v->work;
	instr_time now;
	uint64 n;

	if (!s)
		return;
	count(s, VIEW_CYCLES, 1);
	count(s, VIEW_ROWS, work->rows);
	count(s, VIEW_REBUILDS, work->is_rebuild);
	count(s, VIEW_MERGE_US, work->us);
	if (pg_atomic_read_u64(&s->max_merge_us) < work->us)
		pg_atomic_write_u64(&s->max_merge_us, work->us);
	pg_atomic_write_u64(&s->last_change, visible);
	if (!work->is_live)
		return;
	n = braid_capture_add_latencies(v->tables, visible, &s->latencies);
	INSTR_TIME_SET_CURRENT(now);
	braid_rate_add(&s->transactions, now, (uint32) n);
}

/* ---------------------------------------------------------------- SQL */

#define COLUMNS (9 + BRAID_HISTOGRAM_COLUMNS)

static void
put_stat(ReturnSetInfo *result, ViewStat *s, int id)
{
	Datum v[COLUMNS];
	bool n[COLUMNS] = {false};
	TimestampTz last_change = (TimestampTz) pg_atomic_read_u64(&s->last_change);
	int i = 0;

	v[i++] = Int32GetDatum(id);
	v[i++] = Int64GetDatum((int64) pg_atomic_read_u64(&s->counters[VIEW_CYCLES]));
	v[i++] = Int64GetDatum((int64) pg_atomic_read_u64(&s->counters[VIEW_ROWS]));
	v[i++] = Int64GetDatum((int64) pg_atomic_read_u64(&s->counters[VIEW_REBUILDS]));
	v[i++] = Float8GetDatum(pg_atomic_read_u64(&s->counters[VIEW_MERGE_US]) / US_PER_MS);
	v[i++] = Float8GetDatum(pg_atomic_read_u64(&s->max_merge_us) / US_PER_MS);
	v[i++] = Int64GetDatum((int64) braid_rate_last_minute(&s->transactions));
	n[i] = last_change == 0;
	v[i++] = TimestampTzGetDatum(last_change);
	v[i++] = TimestampTzGetDatum((TimestampTz) pg_atomic_read_u64(&s->since));
	braid_histogram_put(&s->latencies, &v[i], &n[i]);
	tuplestore_putvalues(result->setResult, result->setDesc, v, n);
}

/* view_statistics(): one row for each view of this database that has an entry. */
Datum
braid_sql_view_statistics(PG_FUNCTION_ARGS)
{
	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < shared->nstats; i++)
	{
		uint64 key = pg_atomic_read_u64(&shared->stats[i].key);

		if (key >> 32 == MyDatabaseId)
			put_stat((ReturnSetInfo *) fcinfo->resultinfo, &shared->stats[i],
					 (int) (key & PG_UINT32_MAX));
	}
	return (Datum) 0;
}

/* view_statistics_reset(id): of a view of this database; 0: of all. */
Datum
braid_sql_view_statistics_reset(PG_FUNCTION_ARGS)
{
	uint64 wanted = PG_GETARG_INT32(0);

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < shared->nstats; i++)
	{
		uint64 key = pg_atomic_read_u64(&shared->stats[i].key);

		if (key >> 32 == MyDatabaseId && (wanted == 0 || wanted == (key & PG_UINT32_MAX)))
			reset(&shared->stats[i]);
	}
	LWLockRelease(&shared->lock);
	PG_RETURN_VOID();
}

/* view_statistics_room(): entries that are free. */
Datum
braid_sql_view_statistics_room(PG_FUNCTION_ARGS)
{
	int room = 0;

	for (int i = 0; i < shared->nstats; i++)
		room += pg_atomic_read_u64(&shared->stats[i].key) == 0;
	PG_RETURN_INT32(room);
}

void
braid_view_stat_init(void)
{
	DefineCustomIntVariable("braid.view_max_statistics",
							"Sets how many continuous views of all databases have statistics.",
							"Each takes 4.5 kB of shared memory; 0 keeps none.", &max_stats, 1000,
							0, 100000, PGC_POSTMASTER, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("braid.view_lag_alarm",
							"Sets how far continuous views may lag before braid.doctor() warns.",
							"It also warns of those that are populated for ten times as long.",
							&lag_alarm, 60000, 1, INT_MAX, PGC_USERSET, GUC_UNIT_MS, NULL, NULL,
							NULL);
	braid_shmem_register(&shared_area);
}
