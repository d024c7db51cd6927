/*
 * keeper.c
 *	  The worker's side of continuous views: the consumer of capture.
 *
 * NOTES
 *	  A view whose expressions raise an error must not stop the others, so the
 *	  views of a table are brought to S in a subtransaction, all in one: each
 *	  costs a transaction id, and cycles are many.  Only if that fails is it
 *	  done again with a subtransaction for each view, to find the one at fault.
 *	  It keeps its last state and becomes broken.  Errors that are nobody's
 *	  fault, such as a full disk, end the worker, which tries again.
 *
 *	  Users' expressions run as the view's owner, restricted as in REFRESH
 *	  MATERIALIZED VIEW, and under the settings stored with the view.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "common/compat.h"
#include "common/failpoint.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "view/keeper.h"
#include "view/merge.h"
#include "view/query.h"
#include "view/refusal.h"
#include "view/verify.h"

static const char *const state_names[] = {"populating", "live", "rebuilding", "broken"};

static MemoryContext views_context = NULL;
static List *views = NIL; /* KeptView */

/* ---------------------------------------------------------------- trying */

static void
use_settings(KeptView *v)
{
	for (int i = 0; i + 1 < v->nsettings; i += 2)
	{
		const char *now = GetConfigOption(v->settings[i], true, false);

		if (now == NULL || strcmp(now, v->settings[i + 1]) != 0)
			(void) set_config_option(v->settings[i], v->settings[i + 1], PGC_USERSET, PGC_S_SESSION,
									 GUC_ACTION_SAVE, true, 0, false);
	}
}

/* Within a subtransaction, which restores user and settings if this throws. */
static void
act_as_owner(KeptView *v, KeeperAction action, void *arg)
{
	Oid user;
	int context;
	int level = NewGUCNestLevel();

	use_settings(v);
	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(v->owner, context | SECURITY_RESTRICTED_OPERATION);
	SPI_connect();
	action(v, arg);
	SPI_finish();
	SetUserIdAndSecContext(user, context);
	AtEOXact_GUC(false, level);
}

/* Whether a view is to blame, rather than the system or a shutdown. */
static bool
is_views_fault(int sqlerrcode)
{
	switch (ERRCODE_TO_CATEGORY(sqlerrcode))
	{
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_SYSTEM_ERROR:
			return false;
		default:
			return sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE;
	}
}

/* The pending error as text in the given context; throws it if nobody's fault. */
static char *
catch_message(MemoryContext context)
{
	ErrorData *error;
	MemoryContext old = MemoryContextSwitchTo(context);

	error = CopyErrorData();
	if (!is_views_fault(error->sqlerrcode))
		ReThrowError(error);
	FlushErrorState();
	MemoryContextSwitchTo(old);
	if (error->detail)
		return psprintf("%s (%s)", error->message, error->detail);
	return error->message;
}

typedef void (*Attempt)(void *arg);

/* Calls in a subtransaction; returns NULL or the message of an error. */
static char *
attempt(Attempt f, void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	char *volatile message = NULL;

	BeginInternalSubTransaction(NULL);
	PG_TRY();
	{
		MemoryContextSwitchTo(context);
		f(arg);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		message = catch_message(context);
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return message;
}

typedef struct OwnerAttempt
{
	KeptView *view;
	KeeperAction action;
	void *arg;
} OwnerAttempt;

static void
attempt_as_owner(void *arg)
{
	OwnerAttempt *a = arg;

	act_as_owner(a->view, a->action, a->arg);
}

char *
braid_keeper_try(KeptView *view, KeeperAction action, void *arg)
{
	OwnerAttempt a = {view, action, arg};

	return attempt(attempt_as_owner, &a);
}

/* ---------------------------------------------------------------- states */

/* As superuser, within SPI. */
static void
store_state(KeptView *v, ViewState state, const char *error)
{
	static SPIPlanPtr plan = NULL;
	Oid types[4] = {INT4OID, TEXTOID, INT4OID, TEXTOID};
	Datum args[4];
	char nulls[4] = {' ', ' ', ' ', error ? ' ' : 'n'};

	args[0] = Int32GetDatum(v->def.id);
	args[1] = CStringGetTextDatum(state_names[state]);
	args[2] = Int32GetDatum(v->rebuilds);
	args[3] = error ? CStringGetTextDatum(error) : (Datum) 0;
	if (plan == NULL)
	{
		plan = SPI_prepare(
			"INSERT INTO braid_internal.view_states "
			"VALUES ($1, $2, clock_timestamp(), $3, $4) "
			"ON CONFLICT (id) DO UPDATE SET state = excluded.state, since = excluded.since, "
			"rebuilds = excluded.rebuilds, error = excluded.error",
			4, types);
		SPI_keepplan(plan);
	}
	SPI_execute_plan(plan, args, nulls, false, 0);
	v->state = state;
}

static void
mark_broken(KeptView *v, const char *error)
{
	ereport(LOG, (errmsg("continuous view \"%s\" is broken: %s", get_rel_name(v->def.view), error),
				  errhint("Mend the cause, then run REFRESH MATERIALIZED VIEW.")));
	store_state(v, VIEW_BROKEN, error);
}

KeptView *
braid_keeper_find(int id)
{
	ListCell *lc;

	foreach (lc, views)
		if (((KeptView *) lfirst(lc))->def.id == id)
			return lfirst(lc);
	return NULL;
}

/* ---------------------------------------------------------------- loading */

/*
 * Clears away what is left of a view that has gone.  Parts are there only if
 * they were not bound to it, as in a restored dump.
 */
static void
forget(int id)
{
	SPI_execute(psprintf("DROP VIEW IF EXISTS braid_internal.query_%d", id), false, 0);
	SPI_execute(psprintf("DROP TABLE IF EXISTS braid_internal.state_%d", id), false, 0);
	SPI_execute(psprintf("DELETE FROM braid_internal.view_states WHERE id = %d", id), false, 0);
	SPI_execute(psprintf("DELETE FROM braid_internal.views WHERE id = %d", id), false, 0);
}

/*
 * In the middle of a restore parts are missing.  The index of the state comes
 * last, after all data were loaded.
 */
static bool
is_complete(ViewDefinition *def)
{
	HeapTuple tup = SearchSysCache1(RELOID, ObjectIdGetDatum(def->state));
	bool indexed;

	if (!HeapTupleIsValid(tup))
		return false;
	indexed = ((Form_pg_class) GETSTRUCT(tup))->relhasindex;
	ReleaseSysCache(tup);
	return indexed && OidIsValid(def->query);
}

/* What has become of the table and the owner's rights since CREATE. */
static void
check_still_fit(KeptView *v, ViewQuery *vq)
{
	int attnum = -1;

	if (check_enable_rls(vq->relid, v->owner, true) == RLS_ENABLED)
		braid_refuse(NULL, -1, "tables with row security that applies to the view's owner");
	while ((attnum = bms_next_member(vq->attnums, attnum)) >= 0)
		if (!braid_compat_column_readable(vq->relid, attnum, v->owner))
			ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
							errmsg("permission denied for table %s", get_rel_name(vq->relid))));
}

static void
prepare_view(void *arg)
{
	KeptView *v = arg;
	MemoryContext old;
	ViewQuery *vq = braid_query_take_apart(braid_definition_query(v->def.query), NULL);
	const char *weight;

	check_still_fit(v, vq);
	weight = braid_capture_want(vq->relid, vq->attnums);

	/* Putting expressions into words takes a lock, which must not wait. */
	if (!ConditionalLockRelationOid(vq->relid, AccessShareLock))
	{
		braid_capture_postpone(vq->relid);
		return;
	}
	old = MemoryContextSwitchTo(views_context);
	v->sql = braid_statement_merge(vq, braid_definition_state_name(v->def.id), weight);
	MemoryContextSwitchTo(old);
	braid_definition_bind(&v->def);
}

static ViewState
parse_state(const char *name)
{
	for (int i = 0; i < lengthof(state_names); i++)
		if (name && strcmp(name, state_names[i]) == 0)
			return i;
	return VIEW_POPULATING;
}

static void
take_settings(KeptView *v, Datum array)
{
	Datum *elements;
	int n;

	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT, &elements, NULL,
					  &n);
	v->settings = palloc(sizeof(char *) * (n + 1));
	for (int i = 0; i < n; i++)
		v->settings[v->nsettings++] = TextDatumGetCString(elements[i]);
}

/* One row of the query in load(). */
static KeptView *
read_view(HeapTuple row, TupleDesc desc)
{
	KeptView *v = palloc0(sizeof(KeptView));
	bool isnull;
	int done;

	v->def.id = DatumGetInt32(SPI_getbinval(row, desc, 1, &isnull));
	v->def.view = DatumGetObjectId(SPI_getbinval(row, desc, 2, &isnull));
	take_settings(v, SPI_getbinval(row, desc, 3, &isnull));
	v->rebuilds = DatumGetInt32(SPI_getbinval(row, desc, 4, &isnull));
	v->state = parse_state(SPI_getvalue(row, desc, 5));
	done = DatumGetInt32(SPI_getbinval(row, desc, 6, &isnull));
	if (!isnull && done != v->rebuilds)
		v->state = VIEW_REBUILDING;
	v->owner = DatumGetObjectId(SPI_getbinval(row, desc, 7, &isnull));
	return v;
}

static void
load_view(KeptView *v)
{
	char *problem;

	braid_capture_watch(v->def.view);
	braid_definition_resolve(&v->def);
	if (OidIsValid(v->def.state))
		braid_capture_watch(v->def.state);
	if (!is_complete(&v->def))
		return;
	braid_capture_watch(v->def.query);
	views = lappend(views, v);
	if (v->state == VIEW_BROKEN)
		return;
	problem = attempt(prepare_view, v);
	if (problem)
	{
		v->sql = NULL;
		mark_broken(v, problem);
	}
}

static void
unload(void)
{
	ListCell *lc;

	foreach (lc, views)
		braid_merge_free_plans(lfirst(lc));
	views = NIL;
	if (views_context)
		MemoryContextReset(views_context);
	else
		views_context =
			AllocSetContextCreate(TopMemoryContext, "braid views", ALLOCSET_DEFAULT_SIZES);
}

static bool
load(void)
{
	SPITupleTable *rows;
	uint64 nrows;
	bool any = false;
	MemoryContext old = CurrentMemoryContext;

	unload();
	braid_capture_watch(braid_definition_catalog());
	SPI_execute("SELECT v.id, v.view::oid, v.settings, v.rebuilds, s.state, s.rebuilds, c.relowner "
				"FROM braid_internal.views v LEFT JOIN braid_internal.view_states s ON s.id = v.id "
				"LEFT JOIN pg_class c ON c.oid = v.view AND c.relkind = 'v' ORDER BY v.id",
				false, 0);
	rows = SPI_tuptable;
	nrows = SPI_processed;
	for (uint64 i = 0; i < nrows; i++)
	{
		KeptView *v;

		/* SPI leaves its own context behind. */
		MemoryContextSwitchTo(views_context);
		v = read_view(rows->vals[i], rows->tupdesc);
		if (!OidIsValid(v->owner))
		{
			forget(v->def.id);
			continue;
		}
		load_view(v);
		any = true;
	}
	MemoryContextSwitchTo(old);
	return any;
}

static void
lost(BraidSource *source)
{
	ListCell *lc;

	foreach (lc, views)
	{
		KeptView *v = lfirst(lc);

		if (v->def.source == source->relid && v->state == VIEW_LIVE)
			store_state(v, VIEW_REBUILDING, NULL);
	}
}

/* ---------------------------------------------------------------- the cycle */

static bool
lock(BraidSource *source)
{
	ListCell *lc;

	foreach (lc, views)
	{
		KeptView *v = lfirst(lc);

		if (v->def.source == source->relid && v->sql &&
			!ConditionalLockRelationOid(v->def.state, RowExclusiveLock))
			return false;
	}
	return true;
}

static bool
has_work(void)
{
	ListCell *lc;

	foreach (lc, views)
	{
		KeptView *v = lfirst(lc);

		if (v->state == VIEW_POPULATING || v->state == VIEW_REBUILDING)
			return true;
	}
	return braid_verify_wanted();
}

static bool
needs_populating(KeptView *v, BraidSource *source)
{
	return v->state != VIEW_LIVE || !source->has_frontier || source->delta.recompute;
}

/* As the view's owner. */
static void
bring_up(KeptView *v, void *arg)
{
	BraidSource *source = arg;

	BRAID_FAILPOINT("view-merge");
	if (needs_populating(v, source))
		braid_merge_populate(v);
	else if (source->delta.incomplete)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("replica identity of table \"%s\" is no longer FULL",
							   get_rel_name(source->relid)),
						errdetail("REFRESH MATERIALIZED VIEW sets it again")));
	else if (source->delta.rows)
		braid_merge_delta(v, source);
}

/* The views that have to follow the delta of the source, in the current context. */
static List *
views_to_bring_up(BraidSource *source)
{
	BraidDelta *d = &source->delta;
	List *list = NIL;
	ListCell *lc;

	foreach (lc, views)
	{
		KeptView *v = lfirst(lc);

		if (v->def.source == source->relid && v->sql && v->state != VIEW_BROKEN &&
			(needs_populating(v, source) || d->rows || d->incomplete))
			list = lappend(list, v);
	}
	return list;
}

typedef struct BringUpAll
{
	List *views;
	BraidSource *source;
} BringUpAll;

static void
bring_up_all(void *arg)
{
	BringUpAll *all = arg;
	ListCell *lc;

	foreach (lc, all->views)
		act_as_owner(lfirst(lc), bring_up, all->source);
}

static void
apply_source(BraidSource *source)
{
	List *todo = views_to_bring_up(source);
	BringUpAll all = {todo, source};
	bool together;
	ListCell *lc;

	if (todo == NIL)
		return;
	together = attempt(bring_up_all, &all) == NULL;
	foreach (lc, todo)
	{
		KeptView *v = lfirst(lc);
		char *error = together ? NULL : braid_keeper_try(v, bring_up, source);

		if (error)
			mark_broken(v, error);
		else if (v->state != VIEW_LIVE)
			store_state(v, VIEW_LIVE, NULL);
	}
}

static void
apply(void)
{
	ListCell *lc;

	foreach (lc, braid_capture_sources())
		if (((BraidSource *) lfirst(lc))->locked)
			apply_source(lfirst(lc));
	braid_verify_answer();
}

static const BraidConsumer consumer = {
	.load = load, .lost = lost, .lock = lock, .has_work = has_work, .apply = apply};

void
braid_keeper_init(void)
{
	braid_capture_set_consumer(&consumer);
}
