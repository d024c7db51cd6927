/*
 * decision.c
 *	  The decisions to commit, durable in tables of the coordinator.
 *
 * NOTES
 *	  A row (gid, servers) inserted by the transaction itself is the decision:
 *	  it is there if and only if the transaction has committed.  The local xid
 *	  alone would lie, because an xid that no record of the log mentions is
 *	  handed out again after a crash.
 *
 *	  A row is needed until no participant can have a prepared branch of its
 *	  transaction.  Deleting each one would cost as much as inserting it and
 *	  leave dead rows, so there are two tables without an index: one takes new
 *	  rows while the other one is settled and truncated.
 *
 *	  The argument for the truncation of table T:
 *	  1. Rows go into the other table from now on.  A backend that chose T
 *		 before may still insert into it.
 *	  2. begin: T is locked against writers (conditionally: rotation never waits,
 *		 it tries again soon), so every row's transaction has
 *		 ended.  The servers of the rows are noted, the lock is released.
 *	  3. Each of these servers is swept after that.  A branch of a row was
 *		 prepared before the row's transaction committed, so a sweep that finds
 *		 no branch decided before 2 proves that all the rows' branches there
 *		 are finished.
 *	  4. end: T is locked again.  If the number of rows has changed, some came
 *		 after 2: the rotation ends without effect and the next one begins at
 *		 2.  Otherwise rows with a server that was not swept clean go to the
 *		 other table, and T is truncated; both in one transaction.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "common/query.h"
#include "common/shmem.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "xa/decision.h"
#include "xa/settings.h"

#define ROTATE_SWEEPS 6 /* recovery intervals between two rotations */
#define RETRY_MS 500	/* when a table is in use */

#define NHINTS 256

#define QUICK_FLUSH_US 1000
#define FLUSH_WEIGHT 8 /* of the past, in the mean */

/*
 * Which table takes new rows: a hint that need not be durable, as both tables
 * are always read, and that two databases may share.
 */
typedef struct DecisionShared
{
	pg_atomic_uint32 current[NHINTS]; /* 0 or 1 */
	pg_atomic_uint32 flush_us;		  /* moving mean */
} DecisionShared;

static DecisionShared *shared = NULL;

/* Resolver: the rotation under way. */
static bool rotating = false;
static uint32 rotating_table;
static int64 rotating_rows;
static TimestampTz next_rotation = 0;

static Size
shared_size(void)
{
	return sizeof(DecisionShared);
}

static void
shared_init(void *area)
{
	for (int i = 0; i < NHINTS; i++)
		pg_atomic_init_u32(&((DecisionShared *) area)->current[i], 0);
	pg_atomic_init_u32(&((DecisionShared *) area)->flush_us, 0);
}

static const BraidShmemArea area = {"braid xa decisions", shared_size, shared_init,
									(void **) &shared};

static pg_atomic_uint32 *
current_table(void)
{
	return &shared->current[MyDatabaseId % NHINTS];
}

static Oid
decision_table(uint32 number)
{
	Oid nspid = get_namespace_oid("braid_internal", false);
	Oid relid = get_relname_relid(number == 0 ? "decisions_0" : "decisions_1", nspid);

	if (!OidIsValid(relid))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("table \"braid_internal.decisions_%u\" does not exist", number),
						errhint("Run CREATE EXTENSION braid in this database.")));
	return relid;
}

void
braid_xa_decision_insert(const BraidGid *gid, int nservers, const Oid *serverids)
{
	Relation rel =
		table_open(decision_table(pg_atomic_read_u32(current_table())), RowExclusiveLock);
	char text[BRAID_GID_LEN];
	Datum *oids = palloc(sizeof(Datum) * nservers);
	Datum values[3];
	bool nulls[3] = {false, false, false};
	HeapTuple tuple;

	for (int i = 0; i < nservers; i++)
		oids[i] = ObjectIdGetDatum(serverids[i]);
	values[0] = CStringGetTextDatum(braid_gid_format_transaction(gid, text));
	values[1] =
		PointerGetDatum(construct_array(oids, nservers, OIDOID, sizeof(Oid), true, TYPALIGN_INT));
	values[2] = TimestampTzGetDatum(GetCurrentTimestamp());
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	heap_insert(rel, tuple, GetCurrentCommandId(true), 0, NULL);
	heap_freetuple(tuple);

	/* The lock stays: rotation must not look at a table with open writers. */
	table_close(rel, NoLock);
}

void
braid_xa_decision_block(void)
{
	/* It conflicts with itself too: one at a time. */
	for (uint32 i = 0; i < 2; i++)
		LockRelationOid(decision_table(i), ShareRowExclusiveLock);
}

void
braid_xa_decision_unblock(void)
{
	for (uint32 i = 0; i < 2; i++)
		UnlockRelationOid(decision_table(i), ShareRowExclusiveLock);
}

/* Two at the same time may lose one: it is a mean. */
void
braid_xa_decision_note_flush(int64 us)
{
	int64 mean = pg_atomic_read_u32(&shared->flush_us);

	mean += (Min(us, PG_INT32_MAX) - mean) / FLUSH_WEIGHT;
	pg_atomic_write_u32(&shared->flush_us, (uint32) mean);
}

bool
braid_xa_decision_flush_is_quick(void)
{
	return pg_atomic_read_u32(&shared->flush_us) < QUICK_FLUSH_US;
}

void
braid_xa_decision_look_up(int nasked, const BraidGid *asked, bool *committed)
{
	Oid types[1] = {TEXTARRAYOID};
	Datum *texts = palloc(sizeof(Datum) * nasked);
	Datum args[1];
	char text[BRAID_GID_LEN];
	int rc;

	for (int i = 0; i < nasked; i++)
		texts[i] = CStringGetTextDatum(braid_gid_format_transaction(&asked[i], text));
	args[0] = PointerGetDatum(construct_array(texts, nasked, TEXTOID, -1, false, TYPALIGN_INT));

	PushActiveSnapshot(GetLatestSnapshot());
	SPI_connect();
	rc = SPI_execute_with_args("SELECT a.gid IN (SELECT d.gid FROM braid_internal.decisions d) "
							   "FROM pg_catalog.unnest($1) WITH ORDINALITY a(gid, n) ORDER BY n",
							   1, types, args, NULL, true, 0);
	if (rc != SPI_OK_SELECT || SPI_processed != nasked)
		elog(ERROR, "could not read the decisions: %s", SPI_result_code_string(rc));
	for (int i = 0; i < nasked; i++)
	{
		bool isnull;

		committed[i] =
			DatumGetBool(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
	}
	SPI_finish();
	PopActiveSnapshot();
}

void
braid_xa_decision_forget_all(void)
{
	braid_query_execute("TRUNCATE braid_internal.decisions_0, braid_internal.decisions_1, "
						"braid_internal.heuristics",
						SPI_OK_UTILITY);
}

/* ---------------------------------------------------------------- rotation */

static int64
fetch_int64(const char *sql)
{
	bool isnull;

	braid_query_execute(sql, SPI_OK_SELECT);
	return DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
}

static List *
fetch_servers(uint32 number)
{
	MemoryContext caller = CurrentMemoryContext;
	List *servers = NIL;

	braid_query_execute(
		psprintf("SELECT DISTINCT s FROM braid_internal.decisions_%u, pg_catalog.unnest(servers) s "
				 "WHERE s IN (SELECT oid FROM pg_catalog.pg_foreign_server)",
				 number),
		SPI_OK_SELECT);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool isnull;
		Oid serverid = DatumGetObjectId(
			SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		servers = lappend_oid(servers, serverid);
		MemoryContextSwitchTo(old);
	}
	MemoryContextSwitchTo(caller);
	return servers;
}

/*
 * Looks at the table that takes no new rows now.  The caller has locked it
 * against writers.
 */
static bool
examine_table(List **serverids, TimestampTz *decided_before)
{
	uint32 current = 1 - rotating_table;

	rotating_rows =
		fetch_int64(psprintf("SELECT count(*) FROM braid_internal.decisions_%u", rotating_table));
	if (rotating_rows > 0)
	{
		*serverids = fetch_servers(rotating_table);
		*decided_before = GetCurrentTimestamp();
		return true;
	}
	if (fetch_int64(psprintf("SELECT count(*) FROM (SELECT FROM braid_internal.decisions_%u "
							 "LIMIT 1) AS d",
							 current)) > 0)
	{
		/* This one is empty, the other one is not: let this one take over. */
		pg_atomic_write_u32(current_table(), rotating_table);
		next_rotation = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), RETRY_MS);
	}
	return false;
}

bool
braid_xa_decision_rotation_begin(List **serverids, TimestampTz *decided_before)
{
	TimestampTz now = GetCurrentTimestamp();
	MemoryContext caller;
	bool begun = false;

	if (rotating || now < next_rotation)
		return false;
	next_rotation = TimestampTzPlusMilliseconds(now, ROTATE_SWEEPS * braid_xa_recovery_interval);
	rotating_table = 1 - pg_atomic_read_u32(current_table());
	*serverids = NIL;

	caller = braid_query_begin();
	if (ConditionalLockRelationOid(decision_table(rotating_table), ShareLock))
	{
		PushActiveSnapshot(GetLatestSnapshot());
		begun = examine_table(serverids, decided_before);
		PopActiveSnapshot();
	}
	else
		next_rotation = TimestampTzPlusMilliseconds(now, RETRY_MS);
	braid_query_end(caller);
	rotating = begun;
	return begun;
}

/* The caller has locked the table. */
static void
clear_table(const char *clean)
{
	braid_query_execute(
		psprintf("INSERT INTO braid_internal.decisions_%u "
				 "SELECT * FROM braid_internal.decisions_%u d WHERE EXISTS ("
				 "SELECT FROM pg_catalog.pg_foreign_server s WHERE s.oid = ANY (d.servers) "
				 "AND s.oid <> ALL ('{%s}'::oid[]))",
				 1 - rotating_table, rotating_table, clean),
		SPI_OK_INSERT);
	braid_query_execute(psprintf("TRUNCATE braid_internal.decisions_%u", rotating_table),
						SPI_OK_UTILITY);
}

bool
braid_xa_decision_rotation_end(List *clean_serverids)
{
	StringInfoData clean;
	MemoryContext caller;
	ListCell *lc;
	bool locked;

	initStringInfo(&clean);
	foreach (lc, clean_serverids)
		appendStringInfo(&clean, "%s%u", clean.len ? "," : "", lfirst_oid(lc));

	caller = braid_query_begin();
	locked = ConditionalLockRelationOid(decision_table(rotating_table), AccessExclusiveLock);
	if (locked)
	{
		PushActiveSnapshot(GetLatestSnapshot());
		if (fetch_int64(psprintf("SELECT count(*) FROM braid_internal.decisions_%u",
								 rotating_table)) == rotating_rows)
			clear_table(clean.data);
		PopActiveSnapshot();
		rotating = false;
	}
	braid_query_end(caller);
	return locked;
}

void
braid_xa_decision_init(void)
{
	braid_shmem_register(&area);
}
