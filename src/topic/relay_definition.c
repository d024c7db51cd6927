/*
 * relay_definition.c
 *	  What relays are and how they stand, as the tables of relay.sql have it.
 *
 * NOTES
 *	  Whoever changes a relay locks it first: users for as long as their transaction
 *	  lasts, the worker for each batch.  The worker does not wait for the lock, as
 *	  it has other relays to do.
 *
 *	  Positions are in two tables, of which one is empty.  The worker alone writes them.
 *	  When the one has become long, the newest rows go to the other one and it is
 *	  emptied, in one transaction.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/lock.h"
#include "common/query.h"
#include "executor/spi.h"
#include "foreign/foreign.h"
#include "storage/lmgr.h"
#include "topic/catalog.h"
#include "topic/relay.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/pg_lsn.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#define ROTATE_AFTER 10000 /* rows */

static bool may_have_changed = true;
static Oid relays_relid = InvalidOid;

/* The table that positions are written to; -1: not known yet. */
static int current = -1;
static int nwritten = 0;

/* ---------------------------------------------------------------- columns of results */

static int64
column_int64(uint64 row, int column)
{
	bool isnull;
	Datum d = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, &isnull);

	return isnull ? 0 : DatumGetInt64(d);
}

static int
column_int32(uint64 row, int column)
{
	bool isnull;
	Datum d = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, &isnull);

	return isnull ? 0 : DatumGetInt32(d);
}

/* In the given context; NULL for null. */
static char *
column_text(uint64 row, int column, MemoryContext context)
{
	char *text = SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);

	return text ? MemoryContextStrdup(context, text) : NULL;
}

static List *
append(List *list, void *item, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);

	list = lappend(list, item);
	MemoryContextSwitchTo(old);
	return list;
}

/* ---------------------------------------------------------------- reading */

List *
braid_relay_list(void)
{
	MemoryContext context = CurrentMemoryContext;
	List *relays = NIL;

	SPI_connect();
	braid_query_execute("SELECT id, name, source, server, target, batch_rows, batch_bytes, "
						"target_limit, paused, dropped FROM braid_internal.relays ORDER BY id",
						SPI_OK_SELECT);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		BraidRelay *r = MemoryContextAllocZero(context, sizeof(BraidRelay));

		r->id = column_int32(i, 1);
		namestrcpy(&r->name, column_text(i, 2, CurrentMemoryContext));
		r->source = column_text(i, 3, context);
		namestrcpy(&r->server, column_text(i, 4, CurrentMemoryContext));
		r->target = column_int32(i, 5);
		r->batch_rows = column_int32(i, 6);
		r->batch_bytes = column_int32(i, 7);
		r->target_limit = column_int64(i, 8);
		r->paused = strcmp(column_text(i, 9, CurrentMemoryContext), "t") == 0;
		r->dropped = strcmp(column_text(i, 10, CurrentMemoryContext), "t") == 0;
		relays = append(relays, r, context);
	}
	SPI_finish();
	return relays;
}

void
braid_relay_read_state(int relay, BraidRelayState *state)
{
	MemoryContext context = CurrentMemoryContext;

	memset(state, 0, sizeof(*state));
	SPI_connect();
	braid_query_execute(psprintf("SELECT start, stopped, system, database::bigint, topic "
								 "FROM braid_internal.relay_states WHERE relay = %d",
								 relay),
						SPI_OK_SELECT);
	if (SPI_processed > 0)
	{
		state->start = column_text(0, 1, context);
		state->stopped = column_text(0, 2, context);
		state->system = column_int64(0, 3);
		state->database = (Oid) column_int64(0, 4);
		state->topic = column_int32(0, 5);
	}
	else
		state->stopped = MemoryContextStrdup(
			context, "it was restored from a dump, which does not say what it has missed since");
	SPI_finish();
}

List *
braid_relay_read_positions(int relay)
{
	MemoryContext context = CurrentMemoryContext;
	List *positions = NIL;

	SPI_connect();
	braid_query_execute(
		psprintf("SELECT DISTINCT ON (part) part::int, number, position, timeline, lsn, confirmed, "
				 "last_id, messages, bytes, looped FROM braid_internal.relay_positions "
				 "WHERE relay = %d ORDER BY part, number DESC",
				 relay),
		SPI_OK_SELECT);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		BraidRelayPosition *p = MemoryContextAllocZero(context, sizeof(BraidRelayPosition));

		p->part = column_int32(i, 1);
		p->number = column_int64(i, 2);
		p->position = column_text(i, 3, context);
		p->timeline = column_int32(i, 4);
		p->lsn = column_int64(i, 5);
		p->confirmed = column_int64(i, 6);
		p->last_id = column_int64(i, 7);
		p->messages = column_int64(i, 8);
		p->bytes = column_int64(i, 9);
		p->looped = column_int64(i, 10);
		positions = append(positions, p, context);
	}
	SPI_finish();
	return positions;
}

/* ---------------------------------------------------------------- the lock */

bool
braid_relay_try_lock(int relay)
{
	if (!braid_lock_acquire_object(braid_topic_relation("relays"), relay, false))
		return false;

	/* What its last holder has told comes with the lock. */
	AcceptInvalidationMessages();
	return true;
}

void
braid_relay_lock(int relay)
{
	(void) braid_lock_acquire_object(braid_topic_relation("relays"), relay, true);
	AcceptInvalidationMessages();
}

/* ---------------------------------------------------------------- writing */

static bool
is_empty(int table)
{
	bool empty;

	SPI_execute(psprintf("SELECT FROM braid_internal.relay_positions_%d", table), true, 1);
	empty = SPI_processed == 0;
	return empty;
}

/* SPI is connected. */
static int
current_table(void)
{
	if (current < 0)
		current = is_empty(1) ? 0 : 1;
	return current;
}

void
braid_relay_write_position(int relay, const BraidRelayPosition *p)
{
	Oid types[] = {INT4OID, INT2OID, INT8OID, TEXTOID, INT4OID, LSNOID,
				   INT8OID, INT8OID, INT8OID, INT8OID, INT8OID};
	Datum values[] = {Int32GetDatum(relay),		   Int16GetDatum(p->part),
					  Int64GetDatum(p->number),	   CStringGetTextDatum(p->position),
					  Int32GetDatum(p->timeline),  LSNGetDatum(p->lsn),
					  Int64GetDatum(p->confirmed), Int64GetDatum(p->last_id),
					  Int64GetDatum(p->messages),  Int64GetDatum(p->bytes),
					  Int64GetDatum(p->looped)};
	static SPIPlanPtr plans[2];
	int table;

	SPI_connect();
	table = current_table();
	if (plans[table] == NULL)
	{
		plans[table] = SPI_prepare(
			psprintf("INSERT INTO braid_internal.relay_positions_%d VALUES "
					 "($1, $2, $3, $4, $5, $6, $7, nullif($8, 0), $9, $10, $11, clock_timestamp())",
					 table),
			lengthof(types), types);
		SPI_keepplan(plans[table]);
	}
	if (SPI_execute_plan(plans[table], values, NULL, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not store the position of relay %d", relay);
	nwritten++;
	SPI_finish();
}

/* SPI is connected. */
static void
rotate(void)
{
	int from = current_table();

	braid_query_execute(
		psprintf(
			"INSERT INTO braid_internal.relay_positions_%d SELECT DISTINCT ON (relay, part) p.* "
			"FROM braid_internal.relay_positions_%d p JOIN braid_internal.relays r "
			"ON r.id = p.relay ORDER BY relay, part, number DESC",
			1 - from, from),
		SPI_OK_INSERT);
	braid_query_execute(psprintf("TRUNCATE braid_internal.relay_positions_%d", from),
						SPI_OK_UTILITY);
}

void
braid_relay_rotate_positions(void)
{
	MemoryContext caller;
	Oid table;

	if (nwritten < ROTATE_AFTER)
		return;
	caller = braid_query_begin();
	table = braid_topic_relation(psprintf("relay_positions_%d", current_table()));
	if (ConditionalLockRelationOid(table, AccessExclusiveLock))
	{
		rotate();
		current = -1; /* should this transaction not commit, it is as it was */
		nwritten = 0;
	}
	braid_query_end(caller);
}

void
braid_relay_write_begin(int relay, const BraidRelayState *state, List *positions)
{
	ListCell *lc;

	SPI_connect();
	braid_query_execute(
		psprintf("INSERT INTO braid_internal.relay_states (relay, system, database, topic) "
				 "VALUES (%d, %lld, %u, %d) ON CONFLICT (relay) DO UPDATE SET start = NULL, "
				 "stopped = NULL, advice = NULL, since = now(), system = excluded.system, "
				 "database = excluded.database, topic = excluded.topic",
				 relay, (long long) state->system, state->database, state->topic),
		SPI_OK_INSERT);
	SPI_finish();
	foreach (lc, positions)
		braid_relay_write_position(relay, lfirst(lc));
}

static char *
literal(const char *text)
{
	return text ? quote_literal_cstr(text) : "NULL";
}

void
braid_relay_write_stop(int relay, const char *reason, const char *advice)
{
	SPI_connect();
	braid_query_execute(
		psprintf("INSERT INTO braid_internal.relay_states (relay, stopped, advice) "
				 "VALUES (%d, %s, %s) ON CONFLICT (relay) DO UPDATE SET "
				 "stopped = excluded.stopped, advice = excluded.advice, since = now()",
				 relay, literal(reason), literal(advice)),
		SPI_OK_INSERT);
	SPI_finish();
}

void
braid_relay_remove(int relay)
{
	SPI_connect();
	braid_query_execute(psprintf("DELETE FROM braid_internal.relay_states WHERE relay = %d", relay),
						SPI_OK_DELETE);
	braid_query_execute(psprintf("DELETE FROM braid_internal.relays WHERE id = %d", relay),
						SPI_OK_DELETE);
	SPI_finish();
	braid_relay_tell_change();
}

/* ---------------------------------------------------------------- changes */

void
braid_relay_tell_change(void)
{
	CacheInvalidateRelcacheByRelid(braid_topic_relation("relays"));
}

static void
note_relation(Datum arg, Oid relid)
{
	if (!OidIsValid(relid) || relid == relays_relid)
		may_have_changed = true;
}

static void
note_server(Datum arg, int cacheid, uint32 hashvalue)
{
	may_have_changed = true;
}

void
braid_relay_watch(void)
{
	CacheRegisterRelcacheCallback(note_relation, (Datum) 0);
	CacheRegisterSyscacheCallback(FOREIGNSERVEROID, note_server, 0);
	CacheRegisterSyscacheCallback(FOREIGNDATAWRAPPEROID, note_server, 0);
	CacheRegisterSyscacheCallback(USERMAPPINGOID, note_server, 0);
}

bool
braid_relay_has_changed(void)
{
	return may_have_changed;
}

void
braid_relay_expect_changes(void)
{
	may_have_changed = false;
	relays_relid = braid_topic_relation("relays");
}
