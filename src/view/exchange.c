/*
 * exchange.c
 *	  One continuous view takes the place of another.
 *
 * NOTES
 *	  A view that gets another query is, until that is populated, two views:
 *
 *		v            over  state_7_2				query_7		what users read
 *		next_9		 over  state_9_3, state_9_4		query_9		not yet
 *
 *	  Both follow, in the same cycles.  Once next_9 is live the worker exchanges
 *	  them: v becomes a view over the states of next_9, these are renamed to
 *	  state_7_3 and state_7_4, and what v had is dropped.  It is the oid of v that
 *	  stays, and so does all that hangs on it; and the id, which names the view in
 *	  braid's own tables.
 *
 *	  Rows of a new state are seen by those whose snapshot is not older than the
 *	  transaction that has made it.  Others, in a long REPEATABLE READ transaction,
 *	  would find the view empty: so the exchange waits until there is no such
 *	  snapshot any more, in which time the old state goes on.  It does not wait for
 *	  longer than an instant for somebody who just reads the view, since others
 *	  would wait behind it, but tries again.
 *
 *	  All of it is one transaction, in which the definitions are also loaded.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/reloptions.h"
#include "access/table.h"
#include "access/xact.h"
#include "capture/capture.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "commands/view.h"
#include "common/failpoint.h"
#include "common/name.h"
#include "common/superuser.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "parser/parser.h"
#include "storage/procarray.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "view/exchange.h"
#include "view/feed.h"
#include "view/index.h"

#define LOCK_TIMEOUT "50ms"

/* ---------------------------------------------------------------- what users see */

/* Names of the columns: those that the old view has, then those that are new. */
static char *
column_names(Oid old, Oid next)
{
	int nold = braid_definition_natts(old);
	int n = braid_definition_natts(next);
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 1; i <= n; i++)
		appendStringInfo(&s, "%s%s", i > 1 ? ", " : "",
						 quote_identifier(get_attname(i <= nold ? old : next, i, false)));
	return s.data;
}

/* " WITH (security_barrier=true)", or nothing. */
static char *
options_clause(Oid view)
{
	HeapTuple tup = SearchSysCache1(RELOID, ObjectIdGetDatum(view));
	StringInfoData s;
	bool isnull;
	Datum options = SysCacheGetAttr(RELOID, tup, Anum_pg_class_reloptions, &isnull);
	ListCell *lc;

	initStringInfo(&s);
	foreach (lc, isnull ? NIL : untransformRelOptions(options))
	{
		DefElem *d = lfirst(lc);

		appendStringInfo(&s, "%s%s=%s", s.len == 0 ? " WITH (" : ", ", quote_identifier(d->defname),
						 quote_literal_cstr(strVal(d->arg)));
	}
	if (s.len > 0)
		appendStringInfoChar(&s, ')');
	ReleaseSysCache(tup);
	return s.data;
}

static char *
view_text(Oid view)
{
	braid_superuser_execute(psprintf("SELECT pg_get_viewdef(%u)", view));
	return SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
}

/* Not as a statement: to users that is refused for continuous views. */
static void
show(Oid old, Oid next)
{
	char *text = psprintf("CREATE OR REPLACE VIEW %s (%s)%s AS %s", braid_relation_name(old),
						  column_names(old, next), options_clause(old), view_text(next));
	RawStmt *raw = linitial_node(RawStmt, raw_parser(text, RAW_PARSE_DEFAULT));
	Oid user;
	int security;

	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, security | SECURITY_LOCAL_USERID_CHANGE);
	(void) DefineView(castNode(ViewStmt, raw->stmt), text, raw->stmt_location, raw->stmt_len);
	SetUserIdAndSecContext(user, security);
	CommandCounterIncrement();
}

/* ---------------------------------------------------------------- parts */

static void
drop_parts(const ViewDefinition *def)
{
	List *states = braid_definition_states(def->id);
	ListCell *lc;

	if (OidIsValid(def->query))
		braid_definition_unbind_part(def->query, def->view);
	if (OidIsValid(def->time))
		braid_definition_unbind_part(def->time, def->view);
	foreach (lc, states)
		braid_definition_unbind_part(lfirst_oid(lc), def->view);
	CommandCounterIncrement();
	if (OidIsValid(def->query))
		braid_superuser_execute(psprintf("DROP VIEW %s", braid_relation_name(def->query)));
	if (OidIsValid(def->time))
		braid_superuser_execute(psprintf("DROP VIEW %s", braid_relation_name(def->time)));
	foreach (lc, states)
		braid_superuser_execute(psprintf("DROP TABLE %s", braid_relation_name(lfirst_oid(lc))));
}

static void
rename_index(const char *from, const char *to)
{
	if (OidIsValid(braid_definition_part(psprintf("braid_internal.%s", from))))
		braid_superuser_execute(psprintf("ALTER INDEX braid_internal.%s RENAME TO %s", from, to));
}

void
braid_exchange_rename_state(int from_id, int from, int to_id, int to)
{
	braid_superuser_execute(psprintf("ALTER TABLE braid_internal.state_%d_%d RENAME TO state_%d_%d",
									 from_id, from, to_id, to));
	rename_index(psprintf("state_%d_%d_key", from_id, from),
				 psprintf("state_%d_%d_key", to_id, to));
	rename_index(psprintf("state_%d_%d_closing", from_id, from),
				 psprintf("state_%d_%d_closing", to_id, to));
}

static void
take_parts(const ViewDefinition *old, const ViewDefinition *next)
{
	List *states = braid_definition_states(next->id);
	ListCell *lc;

	braid_definition_unbind_part(next->query, next->view);
	if (OidIsValid(next->time))
		braid_definition_unbind_part(next->time, next->view);
	foreach (lc, states)
		braid_definition_unbind_part(lfirst_oid(lc), next->view);
	braid_definition_unbind_part(next->view, old->view);
	CommandCounterIncrement();
	braid_superuser_execute(psprintf("DROP VIEW %s", braid_relation_name(next->view)));
	foreach (lc, states)
	{
		int number = atoi(strrchr(get_rel_name(lfirst_oid(lc)), '_') + 1);

		braid_exchange_rename_state(next->id, number, old->id, number);
	}
	braid_superuser_execute(
		psprintf("ALTER VIEW %s RENAME TO query_%d", braid_relation_name(next->query), old->id));
	if (OidIsValid(next->time))
		braid_superuser_execute(
			psprintf("ALTER VIEW %s RENAME TO time_%d", braid_relation_name(next->time), old->id));
}

void
braid_exchange(const ViewDefinition *old, const ViewDefinition *next)
{
	ViewDefinition now = *old;

	show(old->view, next->view);
	braid_index_take_names(next);
	drop_parts(old);
	take_parts(old, next);
	braid_definition_resolve(&now);
	(void) braid_definition_bind(&now);
}

/* ---------------------------------------------------------------- worker */

/* Whether all snapshots show what this transaction has done. */
static bool
is_seen_by_all(TransactionId xid)
{
	Relation rel = table_open(braid_definition_catalog(), AccessShareLock);
	bool seen = TransactionIdPrecedes(xid, GetOldestNonRemovableTransactionId(rel));

	table_close(rel, AccessShareLock);
	return seen;
}

/* What reads the view is made anew: it shows other rows now. */
static void
store_exchange(int old, int next)
{
	SPI_execute(
		psprintf("INSERT INTO braid_internal.view_states AS s "
				 "SELECT o.id, n.state, clock_timestamp(), o.rebuilds, NULL, n.fingerprint, "
				 "n.strategy FROM braid_internal.views o, braid_internal.view_states n "
				 "WHERE o.id = %d AND n.id = %d "
				 "ON CONFLICT (id) DO UPDATE SET state = excluded.state, "
				 "since = excluded.since, rebuilds = excluded.rebuilds, error = NULL, "
				 "fingerprint = excluded.fingerprint, strategy = excluded.strategy",
				 old, next),
		false, 0);
	SPI_execute(psprintf("DELETE FROM braid_internal.view_states WHERE id = %d", next), false, 0);
	SPI_execute(psprintf("UPDATE braid_internal.views o SET settings = n.settings, "
						 "options = n.options, made_for = n.made_for, made_from = NULL, "
						 "valid_since = n.valid_since "
						 "FROM braid_internal.views n WHERE o.id = %d AND n.id = %d",
						 old, next),
				false, 0);
	SPI_execute(psprintf("DELETE FROM braid_internal.views WHERE id = %d", next), false, 0);
	SPI_execute(psprintf("UPDATE braid_internal.view_states s SET state = 'rebuilding', "
						 "since = clock_timestamp() FROM braid_internal.views v, "
						 "braid_internal.view_inputs(v.view) i "
						 "WHERE v.id = s.id AND s.state = 'live' AND %d = ANY (i.views)",
						 old),
				false, 0);
}

/* The new query cannot take its place: it is broken, the old one goes on. */
static void
store_failure(int next, const char *error)
{
	ereport(LOG, (errmsg("continuous view with id %d could not be exchanged: %s", next, error)));
	SPI_execute(psprintf("UPDATE braid_internal.view_states SET state = 'broken', error = %s "
						 "WHERE id = %d",
						 quote_literal_cstr(error), next),
				false, 0);
}

/* The pending error; NULL if it is only that somebody uses the view just now. */
static char *
catch_error(void)
{
	ErrorData *error = CopyErrorData();

	if (ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_OPERATOR_INTERVENTION)
		ReThrowError(error);
	FlushErrorState();
	if (error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
		error->sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED)
		return NULL;
	return error->message;
}

bool
braid_exchange_try(const ViewDefinition *def, void (*f)(const ViewDefinition *def), char **error)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	char *volatile caught = NULL;
	volatile bool done = false;

	BeginInternalSubTransaction(NULL);
	PG_TRY();
	{
		(void) set_config_option("lock_timeout", LOCK_TIMEOUT, PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_LOCAL, true, 0, false);
		MemoryContextSwitchTo(context);
		f(def);
		ReleaseCurrentSubTransaction();
		done = true;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		caught = catch_error();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	*error = caught;
	return done;
}

/* Whether what takes the place of a view is live, and everybody would see its rows. */
static bool
is_ready(int next)
{
	bool isnull;

	SPI_execute(psprintf("SELECT s.xmin FROM braid_internal.views v "
						 "JOIN braid_internal.view_states s ON s.id = v.id "
						 "AND s.rebuilds = v.rebuilds WHERE v.id = %d AND s.state = 'live'",
						 next),
				false, 0);
	return SPI_processed == 1 && is_seen_by_all(DatumGetTransactionId(SPI_getbinval(
									 SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull)));
}

/*
 * What has been made takes the place of the view.  Until we have the lock others
 * have it who drop the view, or have something else made: what counts is what is
 * there now.
 */
static void
take_place(const ViewDefinition *def)
{
	ViewDefinition old;
	ViewDefinition next;

	if (!braid_definition_lock(def, AccessExclusiveLock) ||
		!braid_definition_find(def->view, &old) ||
		!braid_definition_find_replacement(old.id, &next) || !is_ready(next.id))
		return;
	braid_exchange(&old, &next);
	store_exchange(old.id, next.id);
	braid_feed_forget(old.view);
	BRAID_FAILPOINT("view-exchanged");
}

bool
braid_exchange_find_next(const ViewDefinition *def, char **error)
{
	ViewDefinition next;

	*error = NULL;
	if (!braid_definition_find_replacement(def->id, &next))
		return false;
	SPI_execute(psprintf("SELECT error FROM braid_internal.view_states "
						 "WHERE id = %d AND state = 'broken'",
						 next.id),
				false, 0);
	if (SPI_processed == 0)
		return true;
	*error = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	braid_exchange_drop_next(def);
	return false;
}

void
braid_exchange_drop_next(const ViewDefinition *def)
{
	ViewDefinition next;

	if (!braid_definition_find_replacement(def->id, &next))
		return;
	braid_definition_unbind_part(next.view, def->view);
	CommandCounterIncrement();
	braid_superuser_execute(psprintf("DROP VIEW braid_internal.next_%d", next.id));
	braid_superuser_execute(psprintf("DELETE FROM braid_internal.views WHERE id = %d", next.id));
}

static Oid
oid_column(HeapTuple row, TupleDesc desc, int column)
{
	bool isnull;

	return DatumGetObjectId(SPI_getbinval(row, desc, column, &isnull));
}

void
braid_exchange_all(void)
{
	SPITupleTable *rows;
	uint64 nrows;

	SPI_execute("SELECT o.id, o.view::oid, n.id "
				"FROM braid_internal.views n JOIN braid_internal.views o ON o.id = n.replaces "
				"JOIN braid_internal.view_states s ON s.id = n.id AND s.rebuilds = n.rebuilds "
				"JOIN pg_class oc ON oc.oid = o.view JOIN pg_class nc ON nc.oid = n.view "
				"WHERE s.state = 'live'",
				false, 0);
	rows = SPI_tuptable;
	nrows = SPI_processed;
	for (uint64 i = 0; i < nrows; i++)
	{
		HeapTuple row = rows->vals[i];
		ViewDefinition old = {.id = (int) oid_column(row, rows->tupdesc, 1),
							  .view = oid_column(row, rows->tupdesc, 2)};
		int next = (int) oid_column(row, rows->tupdesc, 3);
		char *error = NULL;

		if (!is_ready(next) || (!braid_exchange_try(&old, take_place, &error) && error == NULL))
			braid_capture_load_again();
		if (error)
			store_failure(next, error);
	}
}
