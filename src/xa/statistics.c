/*
 * statistics.c
 *	  Cumulative statistics of global transactions, in shared memory.
 *
 * NOTES
 *	  Numbers are added by atomic instructions and read without a lock: each is
 *	  exact, and two of them may be an instant apart.  They are lost when the
 *	  server restarts, as shared memory is; stats_reset says since when they
 *	  count.
 *
 *	  Databases have an entry each, which a process looks for once and keeps.
 *	  When all are taken, an entry of a database that has been dropped is used
 *	  again; if there is none, the database shares the entry of database 0 with
 *	  all others that came too late.  Nothing is refused, and nothing is lost but
 *	  the distinction.
 *
 *	  Servers have an entry each as long as they exist, made by the resolver.
 *	  There are as many as servers that can be written to
 *	  (braid.xa_max_servers).
 *
 *	  An entry becomes another's only after its database or its server was
 *	  dropped.  What a process adds that has not noticed yet is counted for the
 *	  wrong one, and does no other harm.
 *
 *	  The times of a commit are kept in this process until it ends, so that
 *	  commits that fail do not count.  The clock is read five times: when COMMIT
 *	  begins, and at the end of each phase up to the wait.
 */
#include "postgres.h"

#include "common/histogram.h"
#include "common/rate.h"
#include "common/shmem.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "portability/instr_time.h"
#include "storage/lwlock.h"
#include "utils/builtins.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "xa/branch.h"
#include "xa/node.h"
#include "xa/settings.h"
#include "xa/statistics.h"
#include "xa/trace.h"
#include "xa/transaction.h"

PG_FUNCTION_INFO_V1(braid_sql_xa_statistics);
PG_FUNCTION_INFO_V1(braid_sql_xa_phase_statistics);
PG_FUNCTION_INFO_V1(braid_sql_xa_snapshot_statistics);
PG_FUNCTION_INFO_V1(braid_sql_xa_branch_statistics);
PG_FUNCTION_INFO_V1(braid_sql_xa_statistics_reset);
PG_FUNCTION_INFO_V1(braid_sql_xa_count_in_doubt);
PG_FUNCTION_INFO_V1(braid_sql_xa_count_heuristic);

/* With an entry of their own; 36 kB each.  A test shall run out of them. */
#ifdef BRAID_FAILPOINTS
#define MAX_DATABASES 4
#else
#define MAX_DATABASES 128
#endif
#define US_PER_MS 1000.0

const char *const braid_xa_stat_phase_names[XA_STAT_NTIMES] = {
	[XA_PHASE_ENLIST] = "enlist",
	[XA_PHASE_PREPARE] = "prepare",
	[XA_PHASE_LOCAL_COMMIT] = "local commit",
	[XA_PHASE_WAIT] = "wait",
	[XA_PHASE_TOTAL] = "total",
	[XA_PHASE_FINISH] = "finish",
	[XA_TIME_SNAPSHOT] = "snapshot",
	[XA_TIME_GATE_CLOSED] = "gate closed",
	[XA_TIME_GATE_WAIT] = "gate wait",
};

typedef struct DatabaseStat
{
	Oid dbid;				/* InvalidOid: free, or shared; guarded by the lock */
	pg_atomic_uint64 since; /* TimestampTz */
	pg_atomic_uint64 counters[XA_STAT_NCOUNTERS];
	BraidRate commits;
	BraidHistogram phases[XA_STAT_NTIMES]; /* by XaStatPhase and XaStatTime */
} DatabaseStat;

typedef struct ServerStat
{
	pg_atomic_uint64 key; /* dbid << 32 | serverid; 0: free.  Changed under the lock */
	pg_atomic_uint64 prepared;
	pg_atomic_uint64 committed;
	pg_atomic_uint64 recovery_commits;
	pg_atomic_uint64 recovery_rollbacks;
	pg_atomic_uint64 failures;
	pg_atomic_uint64 retries;
	BraidHistogram round_trips;
	char last_error[256];		 /* guarded by the lock */
	TimestampTz last_error_time; /* the same; 0: none */
} ServerStat;

typedef struct Statistics
{
	LWLock lock;
	DatabaseStat databases[MAX_DATABASES + 1]; /* 0 is shared */
	int nservers;
	ServerStat servers[FLEXIBLE_ARRAY_MEMBER];
} Statistics;

static Statistics *statistics = NULL;

/* This process's database; NULL until it was looked for. */
static DatabaseStat *mine = NULL;

/* The commit under way in this process. */
static struct
{
	instr_time began;
	instr_time last; /* end of the last phase */
	int64 us[XA_STAT_NPHASES];
} commit;

/* ---------------------------------------------------------------- memory */

static void
reset_database(DatabaseStat *d)
{
	for (int i = 0; i < XA_STAT_NCOUNTERS; i++)
		pg_atomic_write_u64(&d->counters[i], 0);
	braid_rate_reset(&d->commits);
	for (int i = 0; i < XA_STAT_NTIMES; i++)
		braid_histogram_reset(&d->phases[i]);
	pg_atomic_write_u64(&d->since, GetCurrentTimestamp());
}

/* The caller holds the lock exclusively. */
static void
reset_server(ServerStat *s)
{
	pg_atomic_write_u64(&s->prepared, 0);
	pg_atomic_write_u64(&s->committed, 0);
	pg_atomic_write_u64(&s->recovery_commits, 0);
	pg_atomic_write_u64(&s->recovery_rollbacks, 0);
	pg_atomic_write_u64(&s->failures, 0);
	pg_atomic_write_u64(&s->retries, 0);
	braid_histogram_reset(&s->round_trips);
	s->last_error[0] = '\0';
	s->last_error_time = 0;
}

static void
init_database(DatabaseStat *d)
{
	pg_atomic_init_u64(&d->since, 0);
	for (int i = 0; i < XA_STAT_NCOUNTERS; i++)
		pg_atomic_init_u64(&d->counters[i], 0);
	braid_rate_init(&d->commits);
	for (int i = 0; i < XA_STAT_NTIMES; i++)
		braid_histogram_init(&d->phases[i]);
	reset_database(d);
}

static void
init_server(ServerStat *s)
{
	pg_atomic_init_u64(&s->key, 0);
	pg_atomic_init_u64(&s->prepared, 0);
	pg_atomic_init_u64(&s->committed, 0);
	pg_atomic_init_u64(&s->recovery_commits, 0);
	pg_atomic_init_u64(&s->recovery_rollbacks, 0);
	pg_atomic_init_u64(&s->failures, 0);
	pg_atomic_init_u64(&s->retries, 0);
	braid_histogram_init(&s->round_trips);
}

static Size
statistics_size(void)
{
	return offsetof(Statistics, servers) + braid_xa_max_servers * sizeof(ServerStat);
}

static void
statistics_init(void *area)
{
	Statistics *s = area;

	braid_shmem_init_lock(&s->lock);
	for (int i = 0; i <= MAX_DATABASES; i++)
		init_database(&s->databases[i]);
	s->nservers = braid_xa_max_servers;
	for (int i = 0; i < s->nservers; i++)
		init_server(&s->servers[i]);
}

static const BraidShmemArea area = {"braid xa statistics", statistics_size, statistics_init,
									(void **) &statistics};

/* ---------------------------------------------------------------- entries */

/* The caller holds the lock, exclusively if it wants to enter a database. */
static DatabaseStat *
find_database(Oid dbid, bool enter)
{
	DatabaseStat *unused = NULL;

	for (int i = 1; i <= MAX_DATABASES; i++)
	{
		DatabaseStat *d = &statistics->databases[i];

		if (d->dbid == dbid)
			return d;
		if (!unused && !OidIsValid(d->dbid))
			unused = d;
	}
	if (!enter || !unused)
		return NULL;
	reset_database(unused);
	unused->dbid = dbid;
	return unused;
}

/* Looks for our own entry, or makes one; leaves it NULL if there is no room. */
static void
find_mine(void)
{
	if (!OidIsValid(MyDatabaseId))
		return;
	LWLockAcquire(&statistics->lock, LW_EXCLUSIVE);
	mine = find_database(MyDatabaseId, true);
	LWLockRelease(&statistics->lock);
}

/* Never NULL. */
static DatabaseStat *
my_database(void)
{
	if (!mine)
		find_mine();
	return mine ? mine : &statistics->databases[0];
}

/* Frees the entries of a database that does not exist, and of its servers. */
static void
free_database(Oid dbid)
{
	LWLockAcquire(&statistics->lock, LW_EXCLUSIVE);
	for (int i = 1; i <= MAX_DATABASES; i++)
		if (statistics->databases[i].dbid == dbid)
			statistics->databases[i].dbid = InvalidOid;
	for (int i = 0; i < statistics->nservers; i++)
		if (pg_atomic_read_u64(&statistics->servers[i].key) >> 32 == dbid)
			pg_atomic_write_u64(&statistics->servers[i].key, 0);
	LWLockRelease(&statistics->lock);
}

/*
 * Makes room by freeing what belongs to databases that were dropped.  In a
 * transaction; may throw.  The lock must not be held: the catalog is read.
 */
static void
free_dropped_databases(void)
{
	for (int i = 1; i <= MAX_DATABASES; i++)
	{
		/* Only we would change it to another's, and the race is harmless. */
		Oid dbid = *(volatile Oid *) &statistics->databases[i].dbid;

		if (OidIsValid(dbid) && !SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(dbid)))
			free_database(dbid);
	}
}

/* The same with an attempt to make room.  In a transaction; may throw. */
static void
find_or_free_mine(void)
{
	find_mine();
	if (!mine)
	{
		free_dropped_databases();
		find_mine();
	}
	if (!mine)
		mine = &statistics->databases[0];
}

static uint64
server_key(Oid serverid)
{
	return (uint64) MyDatabaseId << 32 | serverid;
}

/* NULL if it is not entered.  Needs no lock. */
static ServerStat *
find_server(uint64 key)
{
	for (int i = 0; i < statistics->nservers; i++)
		if (pg_atomic_read_u64(&statistics->servers[i].key) == key)
			return &statistics->servers[i];
	return NULL;
}

static bool
enter_server(Oid serverid)
{
	ServerStat *s;

	LWLockAcquire(&statistics->lock, LW_EXCLUSIVE);
	s = find_server(server_key(serverid));
	if (!s)
	{
		s = find_server(0);
		if (s)
		{
			reset_server(s);
			pg_write_barrier();
			pg_atomic_write_u64(&s->key, server_key(serverid));
		}
	}
	LWLockRelease(&statistics->lock);
	return s != NULL;
}

void
braid_xa_stat_add_server(Oid serverid)
{
	if (!mine)
		find_or_free_mine();
	if (enter_server(serverid))
		return;
	free_dropped_databases();
	(void) enter_server(serverid);
}

void
braid_xa_stat_remove_server(Oid serverid)
{
	ServerStat *s;

	LWLockAcquire(&statistics->lock, LW_EXCLUSIVE);
	s = find_server(server_key(serverid));
	if (s)
		pg_atomic_write_u64(&s->key, 0);
	LWLockRelease(&statistics->lock);
}

/* ---------------------------------------------------------------- counting */

static void
add_one(pg_atomic_uint64 *number)
{
	pg_atomic_fetch_add_u64(number, 1);
}

void
braid_xa_stat_count(XaStatCounter counter)
{
	add_one(&my_database()->counters[counter]);
}

void
braid_xa_stat_duration(XaStatTime time, int64 us)
{
	braid_histogram_add(&my_database()->phases[time], us);
}

void
braid_xa_stat_transaction_begins(void)
{
	if (!mine)
		find_or_free_mine();
	braid_xa_stat_count(XA_STAT_BEGUN);
}

/* Reads the clock; microseconds since then. */
static int64
elapsed(const instr_time *since, instr_time *now)
{
	instr_time difference;

	INSTR_TIME_SET_CURRENT(*now);
	difference = *now;
	INSTR_TIME_SUBTRACT(difference, *since);
	return INSTR_TIME_GET_MICROSEC(difference);
}

void
braid_xa_stat_commit_begins(void)
{
	INSTR_TIME_SET_CURRENT(commit.began);
	commit.last = commit.began;
}

int64
braid_xa_stat_phase_ends(XaStatPhase phase)
{
	instr_time now;

	commit.us[phase] = elapsed(&commit.last, &now);
	commit.last = now;
	return commit.us[phase];
}

void
braid_xa_stat_prepared(List *branches)
{
	ListCell *lc;

	braid_xa_stat_phase_ends(XA_PHASE_PREPARE);
	foreach (lc, branches)
	{
		ServerStat *s = find_server(server_key(((XaBranch *) lfirst(lc))->serverid));

		if (s)
			add_one(&s->prepared);
	}
}

void
braid_xa_stat_commit_ends(const BraidGid *gid)
{
	DatabaseStat *d = my_database();
	instr_time now;

	if (gid)
	{
		braid_xa_stat_phase_ends(XA_PHASE_WAIT);
		now = commit.last;
		commit.us[XA_PHASE_TOTAL] = 0;
		for (int i = XA_PHASE_ENLIST; i < XA_PHASE_TOTAL; i++)
		{
			commit.us[XA_PHASE_TOTAL] += commit.us[i];
			braid_histogram_add(&d->phases[i], commit.us[i]);
		}
		add_one(&d->counters[XA_STAT_TWO_PHASES]);
	}
	else
	{
		commit.us[XA_PHASE_TOTAL] = elapsed(&commit.began, &now);
		add_one(&d->counters[XA_STAT_ONE_PHASE]);
	}
	braid_histogram_add(&d->phases[XA_PHASE_TOTAL], commit.us[XA_PHASE_TOTAL]);
	braid_rate_add(&d->commits, now, 1);
	braid_xa_trace_duration(gid, commit.us);
}

void
braid_xa_stat_finished(TimestampTz decided, bool left)
{
	if (left)
		braid_xa_stat_count(XA_STAT_LEFT);
	else
		braid_histogram_add(&my_database()->phases[XA_PHASE_FINISH],
							GetCurrentTimestamp() - decided);
}

void
braid_xa_stat_branch_finished(Oid serverid, XaStatBranch what, int64 round_trip_us)
{
	ServerStat *s = find_server(server_key(serverid));

	if (what == XA_STAT_BRANCH_RECOVERY_COMMITTED)
		braid_xa_stat_count(XA_STAT_RECOVERY_COMMITS);
	else if (what == XA_STAT_BRANCH_RECOVERY_ROLLED_BACK)
		braid_xa_stat_count(XA_STAT_RECOVERY_ROLLBACKS);
	if (!s)
		return;
	if (what == XA_STAT_BRANCH_RECOVERY_ROLLED_BACK)
	{
		add_one(&s->recovery_rollbacks);
		return;
	}
	if (what == XA_STAT_BRANCH_RECOVERY_COMMITTED)
		add_one(&s->recovery_commits);
	add_one(&s->committed);
	braid_histogram_add(&s->round_trips, round_trip_us);
}

void
braid_xa_stat_branch_failed(Oid serverid, const char *error)
{
	ServerStat *s;

	LWLockAcquire(&statistics->lock, LW_EXCLUSIVE);
	s = find_server(server_key(serverid));
	if (s)
	{
		add_one(&s->failures);
		strlcpy(s->last_error, error, sizeof(s->last_error));
		s->last_error_time = GetCurrentTimestamp();
	}
	LWLockRelease(&statistics->lock);
}

void
braid_xa_stat_branch_retried(Oid serverid)
{
	ServerStat *s = find_server(server_key(serverid));

	if (s)
		add_one(&s->retries);
}

/* ---------------------------------------------------------------- SQL */

static Datum
number(pg_atomic_uint64 *n)
{
	return Int64GetDatum((int64) pg_atomic_read_u64(n));
}

/* The database's entry; NULL if it has none.  0 stands for what is shared. */
static DatabaseStat *
entry_of(Oid dbid)
{
	DatabaseStat *d = &statistics->databases[0];

	if (OidIsValid(dbid))
	{
		LWLockAcquire(&statistics->lock, LW_SHARED);
		d = find_database(dbid, false);
		LWLockRelease(&statistics->lock);
	}
	return d;
}

/*
 * xa_statistics(datid oid): counters, requests, their time in milliseconds,
 * commits in the last minute, since when.  No row if there is nothing.
 */
Datum
braid_sql_xa_statistics(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsi = (ReturnSetInfo *) fcinfo->resultinfo;
	DatabaseStat *d = entry_of(PG_GETARG_OID(0));
	BraidDistribution *total = palloc(sizeof(BraidDistribution));
	Datum v[XA_STAT_NCOUNTERS + 4];
	bool n[XA_STAT_NCOUNTERS + 4] = {false};
	int i;

	InitMaterializedSRF(fcinfo, 0);
	if (!d)
		return (Datum) 0;
	braid_histogram_read(&d->phases[XA_PHASE_TOTAL], total);
	for (i = 0; i < XA_STAT_NCOUNTERS; i++)
		v[i] = number(&d->counters[i]);
	v[i++] = Int64GetDatum((int64) total->n);
	v[i++] = Float8GetDatum(total->total / US_PER_MS);
	v[i++] = Int64GetDatum((int64) braid_rate_last_minute(&d->commits));
	v[i++] = TimestampTzGetDatum((TimestampTz) pg_atomic_read_u64(&d->since));
	tuplestore_putvalues(rsi->setResult, rsi->setDesc, v, n);
	return (Datum) 0;
}

/* One row for each of these durations in a database; no rows if nothing was counted. */
static void
put_durations(FunctionCallInfo fcinfo, Oid dbid, int first, int end)
{
	ReturnSetInfo *rsi = (ReturnSetInfo *) fcinfo->resultinfo;
	DatabaseStat *d = entry_of(dbid);

	InitMaterializedSRF(fcinfo, 0);
	for (int i = first; d && i < end; i++)
	{
		Datum v[1 + BRAID_HISTOGRAM_COLUMNS];
		bool n[1 + BRAID_HISTOGRAM_COLUMNS] = {false};

		v[0] = CStringGetTextDatum(braid_xa_stat_phase_names[i]);
		braid_histogram_put(&d->phases[i], &v[1], &n[1]);
		tuplestore_putvalues(rsi->setResult, rsi->setDesc, v, n);
	}
}

/* xa_phase_statistics(datid oid): one row per phase, in their order in time. */
Datum
braid_sql_xa_phase_statistics(PG_FUNCTION_ARGS)
{
	put_durations(fcinfo, PG_GETARG_OID(0), 0, XA_STAT_NPHASES);
	return (Datum) 0;
}

/* xa_snapshot_statistics(datid oid): one row per XaStatTime. */
Datum
braid_sql_xa_snapshot_statistics(PG_FUNCTION_ARGS)
{
	put_durations(fcinfo, PG_GETARG_OID(0), XA_STAT_NPHASES, XA_STAT_NTIMES);
	return (Datum) 0;
}

/* xa_branch_statistics(): one row per server of this database. */
Datum
braid_sql_xa_branch_statistics(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsi = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < statistics->nservers; i++)
	{
		ServerStat *s = &statistics->servers[i];
		uint64 key = pg_atomic_read_u64(&s->key);
		char error[sizeof(s->last_error)];
		TimestampTz error_time;
		Datum v[16];
		bool n[16] = {false};

		if (key >> 32 != MyDatabaseId)
			continue;
		LWLockAcquire(&statistics->lock, LW_SHARED);
		strlcpy(error, s->last_error, sizeof(error));
		error_time = s->last_error_time;
		LWLockRelease(&statistics->lock);
		v[0] = ObjectIdGetDatum((Oid) (key & PG_UINT32_MAX));
		v[1] = number(&s->prepared);
		v[2] = number(&s->committed);
		v[3] = number(&s->recovery_rollbacks);
		v[4] = number(&s->recovery_commits);
		v[5] = number(&s->failures);
		v[6] = number(&s->retries);
		braid_histogram_put(&s->round_trips, &v[7], &n[7]);
		n[14] = n[15] = error_time == 0;
		v[14] = n[14] ? (Datum) 0 : CStringGetTextDatum(error);
		v[15] = TimestampTzGetDatum(error_time);
		tuplestore_putvalues(rsi->setResult, rsi->setDesc, v, n);
	}
	return (Datum) 0;
}

/* xa_statistics_reset(): for this database and its servers. */
Datum
braid_sql_xa_statistics_reset(PG_FUNCTION_ARGS)
{
	LWLockAcquire(&statistics->lock, LW_EXCLUSIVE);
	for (int i = 0; i < statistics->nservers; i++)
		if (pg_atomic_read_u64(&statistics->servers[i].key) >> 32 == MyDatabaseId)
			reset_server(&statistics->servers[i]);
	LWLockRelease(&statistics->lock);
	reset_database(my_database());
	PG_RETURN_VOID();
}

static bool
is_in_doubt(const XaTransaction *t)
{
	if (t->state == XA_LEFT)
		return true;
	for (int i = 0; i < t->nbranches; i++)
		if (t->branches[i].state == XA_BRANCH_LEFT)
			return true;
	return false;
}

/* The list with a copy of the gid, unless its transaction is in it. */
static List *
add_transaction(List *gids, const BraidGid *gid)
{
	BraidGid *copy;
	ListCell *lc;

	foreach (lc, gids)
		if (braid_gid_same_transaction(lfirst(lc), gid))
			return gids;
	copy = palloc(sizeof(BraidGid));
	*copy = *gid;
	return lappend(gids, copy);
}

/*
 * xa_count_in_doubt(datid oid) returns bigint: transactions with a branch that
 * is left to recovery, or that the last sweep of a server could not finish.
 */
Datum
braid_sql_xa_count_in_doubt(PG_FUNCTION_ARGS)
{
	Oid dbid = PG_GETARG_OID(0);
	XaTransaction *t = palloc(sizeof(XaTransaction));
	XaFinding f;
	List *gids = NIL;

	for (int i = 0; braid_xa_transaction_read(i, t); i++)
		if (t->state != XA_FREE && t->dbid == dbid && is_in_doubt(t))
			gids = add_transaction(gids, &t->gid);
	for (int i = 0; braid_xa_node_read_finding(i, &f); i++)
		if (f.dbid == dbid && OidIsValid(dbid) && f.state == XA_FINDING_FAILED)
			gids = add_transaction(gids, &f.gid);
	PG_RETURN_INT64(list_length(gids));
}

/* xa_count_heuristic(decision text, outcome text); see XaStatCounter. */
Datum
braid_sql_xa_count_heuristic(PG_FUNCTION_ARGS)
{
	char *decision = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char *outcome = text_to_cstring(PG_GETARG_TEXT_PP(1));

	if (strcmp(decision, outcome) != 0)
		braid_xa_stat_count(XA_STAT_HEURISTIC_MIXED);
	else if (strcmp(outcome, "commit") == 0)
		braid_xa_stat_count(XA_STAT_HEURISTIC_COMMITS);
	else
		braid_xa_stat_count(XA_STAT_HEURISTIC_ROLLBACKS);
	PG_RETURN_VOID();
}

void
braid_xa_stat_init(void)
{
	braid_shmem_register(&area);
}
