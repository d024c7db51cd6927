/*
 * keeper.c
 *	  The worker's side of continuous views: the consumer of capture.
 *
 * NOTES
 *	  Views may read other views.  They are brought to S in the order of their
 *	  dependencies, each from the deltas of tables and of views before it, so one
 *	  commit moves all of them.
 *
 *	  A view whose expressions raise an error must not stop the others, so views
 *	  are brought to S in a subtransaction, all in one: each costs a transaction
 *	  id, and cycles are many.  Only if that fails is it done again with a
 *	  subtransaction for each view, to find the one at fault.  It keeps its last
 *	  state and becomes broken; views that read it go on with what it shows.
 *	  Errors that are nobody's fault, such as a full disk, end the worker, which
 *	  tries again.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "common/compat.h"
#include "common/failpoint.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "view/keeper.h"
#include "view/alter.h"
#include "view/attempt.h"
#include "view/options.h"
#include "view/event_time.h"
#include "view/exchange.h"
#include "view/feed.h"
#include "view/follow.h"
#include "view/gap.h"
#include "view/populate.h"
#include "view/restore.h"
#include "view/rights.h"
#include "view/run.h"
#include "view/state.h"
#include "view/statistics.h"
#include "view/verify.h"
#include "view/watermark.h"

static const char *const state_names[] = {"populating", "live", "rebuilding", "broken", "paused"};

static MemoryContext views_context = NULL;
static List *views = NIL;  /* KeptView; those that are read before those that read them */
static List *groups = NIL; /* ViewGroup */

/* Views by their first table: there are many views, and many cycles. */
typedef struct ViewGroup
{
	Oid relid;
	List *views; /* KeptView */
} ViewGroup;

/* ---------------------------------------------------------------- states */

/* The dearest of the plan's operators. */
static const char *
strategy_name(ViewPlan *plan)
{
	Strategy dearest = STRATEGY_ALGEBRAIC;
	ListCell *lc;

	foreach (lc, plan->nodes)
		dearest = Max(dearest, ((ViewNode *) lfirst(lc))->strategy);
	return braid_strategy_name(dearest);
}

static SPIPlanPtr
store_state_plan(void)
{
	static SPIPlanPtr plan = NULL;
	Oid types[6] = {INT4OID, TEXTOID, INT4OID, TEXTOID, TEXTOID, TEXTOID};

	if (plan == NULL)
	{
		plan = SPI_prepare(
			"INSERT INTO braid_internal.view_states AS s "
			"VALUES ($1, $2, clock_timestamp(), $3, $4, $5, $6) "
			"ON CONFLICT (id) DO UPDATE SET state = excluded.state, since = excluded.since, "
			"rebuilds = excluded.rebuilds, error = excluded.error, "
			"fingerprint = coalesce(excluded.fingerprint, s.fingerprint), "
			"strategy = coalesce(excluded.strategy, s.strategy)",
			6, types);
		SPI_keepplan(plan);
	}
	return plan;
}

/* With the commit; see standing.c. */
static void
tell_readers(void)
{
	CacheInvalidateRelcacheByRelid(braid_definition_part("braid_internal.view_states"));
	CommandCounterIncrement(); /* a subtransaction may follow */
}

/*
 * As superuser, within SPI.  A view that is live has a state that was made for
 * its plan.
 */
static void
store_state(KeptView *v, ViewState state, const char *error)
{
	const char *texts[6] = {NULL, state_names[state], NULL, error};
	Datum args[6];
	char nulls[6];

	if (state == VIEW_LIVE)
	{
		texts[4] = v->plan->fingerprint;
		texts[5] = strategy_name(v->plan);
	}
	for (int i = 0; i < lengthof(texts); i++)
	{
		nulls[i] = texts[i] ? ' ' : 'n';
		args[i] = texts[i] ? CStringGetTextDatum(texts[i]) : (Datum) 0;
	}
	args[0] = Int32GetDatum(v->def.id);
	args[2] = Int32GetDatum(v->rebuilds);
	nulls[0] = nulls[2] = ' ';
	SPI_execute_plan(store_state_plan(), args, nulls, false, 0);
	if (v->state != state)
		tell_readers();
	if (state != v->state && state != VIEW_BROKEN)
		ereport(LOG, (errmsg("continuous view \"%s\" is %s", get_rel_name(v->def.view),
							 state_names[state])));
	v->state = state;
}

static void
mark_broken(KeptView *v, const char *error)
{
	ereport(LOG, (errmsg("continuous view \"%s\" is broken: %s", get_rel_name(v->def.view), error),
				  errhint("Mend the cause, then run REFRESH MATERIALIZED VIEW.")));
	store_state(v, VIEW_BROKEN, error);
}

/*
 * Its frontier is that of its tables: S of the last cycle in which one of them was
 * changed.  That of a view that was dumped while it was paused is not known.
 */
static void
halt(KeptView *v)
{
	bool was_live = v->state == VIEW_LIVE;

	store_state(v, VIEW_PAUSED, NULL);
	if (!was_live)
		return;
	SPI_execute(psprintf("UPDATE braid_internal.view_states SET frontier = "
						 "(SELECT f.frontier FROM braid_internal.frontiers f, "
						 "braid_internal.view_inputs(%u) i WHERE f.relation = ANY (i.tables) "
						 "ORDER BY f.advanced DESC LIMIT 1) WHERE id = %d",
						 v->def.view, v->def.id),
				false, 0);
}

/* It keeps its last state, and costs nothing. */
static bool
stands_still(KeptView *v)
{
	return v->state == VIEW_BROKEN || v->state == VIEW_PAUSED || v->is_outdated;
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
	ListCell *lc;

	SPI_execute(psprintf("DROP VIEW IF EXISTS braid_internal.query_%d", id), false, 0);
	SPI_execute(psprintf("DROP VIEW IF EXISTS braid_internal.time_%d", id), false, 0);
	foreach (lc, braid_definition_states(id))
		SPI_execute(psprintf("DROP TABLE braid_internal.%s", get_rel_name(lfirst_oid(lc))), false,
					0);
	SPI_execute(psprintf("DELETE FROM braid_internal.view_states WHERE id = %d", id), false, 0);
	SPI_execute(psprintf("DELETE FROM braid_internal.views WHERE id = %d", id), false, 0);
}

static void
watch_plan(ViewPlan *plan)
{
	ListCell *lc;

	foreach (lc, plan->watched)
		braid_capture_watch(lfirst_oid(lc));
	foreach (lc, plan->nodes)
		if (braid_node_is_stateful(lfirst(lc)))
			braid_capture_watch(braid_definition_part(((ViewNode *) lfirst(lc))->state));
}

static void
want_columns(ViewPlan *plan)
{
	ListCell *lc;

	foreach (lc, plan->tables)
	{
		Oid relid = lfirst_oid(lc);
		Bitmapset *columns = NULL;

		/* Of a table that streams meet nothing is needed but that it can be locked. */
		if (list_member_oid(plan->heeded_tables, relid))
			columns = braid_plan_columns(plan, relid);
		braid_plan_set_weight(plan, relid, braid_capture_want(relid, columns));
	}
	foreach (lc, plan->nodes)
	{
		ViewNode *node = lfirst(lc);

		if (node->kind == NODE_TABLE && node->tells_deletes)
			braid_capture_want_deletes(node->relid);
	}
}

/* Once all views have said what they want: what the weights mean that they get. */
static void
look_at_weights(ViewPlan *plan)
{
	ListCell *lc;

	foreach (lc, plan->nodes)
	{
		ViewNode *node = lfirst(lc);

		if (node->kind == NODE_TABLE)
			node->are_told = braid_capture_tells_deletes(node->relid);
	}
}

/*
 * Takes the view's query apart.  Constants are put into words under the view's
 * settings, since that is how the statements are run.
 */
static ViewPlan *
make_plan(KeptView *v)
{
	int level = NewGUCNestLevel();
	ViewPlan *plan;

	braid_attempt_use_settings(v);
	MemoryContextSwitchTo(views_context);
	plan = braid_event_time_plan(&v->def, braid_definition_query(v->def.query), v->def.id, NULL);
	AtEOXact_GUC(false, level);
	return plan;
}

/*
 * Compares the plan with the one that the view was made for.  It can differ since
 * something below the query was changed, such as an ordinary view, or by a newer
 * version of braid.  False if the view cannot follow it: what it shows, or the
 * form of its states, is another.
 */
static bool
take_plan(KeptView *v)
{
	const char *now = v->plan->fingerprint;
	const char *made = v->fingerprint;

	if (!braid_state_fits(v->plan))
		return false;
	if (made && v->made_from && strcmp(made, v->made_from) == 0 && strcmp(now, v->made_for) == 0)
	{
		if (v->state == VIEW_LIVE)
			store_state(v, VIEW_LIVE, NULL);
		return true;
	}
	if (!braid_plan_same_visible(made ? made : v->made_for, now))
		return false;
	if (v->state == VIEW_LIVE && made && strcmp(made, now) != 0)
	{
		store_state(v, VIEW_REBUILDING, NULL);
		braid_gap_note(v, "what it reads was changed");
	}
	return true;
}

/* Which request to merge late rows was answered last. */
static void
read_merged(KeptView *v)
{
	bool isnull;

	v->merged = v->merges;
	if (v->plan->watermark == NULL)
		return;
	SPI_execute(psprintf("SELECT merged FROM %s", v->plan->watermark->state), true, 1);
	if (SPI_processed > 0)
		v->merged =
			DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));

	/* Which source becomes idle next is not stored: it is looked up at once. */
	if (v->def.options->time.idle)
		v->plan->watermark->time->idle_due = GetCurrentTimestamp();
}

static bool
has_rows(List *tables)
{
	ListCell *lc;

	foreach (lc, tables)
	{
		SPI_execute(psprintf("SELECT FROM braid_internal.%s", get_rel_name(lfirst_oid(lc))), true,
					1);
		if (SPI_processed > 0)
			return true;
	}
	return false;
}

/* If one of them is just being dropped, more is going to change. */
static void
bind_parts(KeptView *v)
{
	if (!braid_definition_bind(&v->def))
		braid_capture_load_again();
}

static void
prepare_view(void *arg)
{
	KeptView *v = arg;
	ViewPlan *plan = make_plan(v);

	watch_plan(plan);
	braid_rights_apply(plan, v->owner);

	/*
	 * In the middle of a restore, which makes indexes after loading all data, and then
	 * puts what is shown into its place: until then other views would read nothing.
	 */
	if (!braid_definition_is_shown(&v->def) ||
		(braid_state_fits(plan) && !braid_state_are_indexed(v->states)))
		return;
	v->plan = plan;
	v->is_outdated = !take_plan(v);
	if (v->is_outdated)
		return;
	read_merged(v);
	v->was_restored = v->state == VIEW_POPULATING && plan->streams && has_rows(v->states);
	MemoryContextSwitchTo(views_context); /* SPI leaves its own behind */
	braid_feed_view_prepare(v);
	want_columns(plan);
	v->plans = braid_run_make_plans(views_context);
	bind_parts(v);
}

/*
 * A view that cannot follow any more is made anew beside itself, and stands still
 * until that can take its place.  Returns an error of that.
 */
static char *
replace_view(KeptView *v)
{
	char *error;
	ViewDefinition next;
	bool is_made = braid_exchange_find_next(&v->def, &error);
	bool done = is_made || error || braid_exchange_try(&v->def, braid_alter_anew, &error);

	if (error)
		return error;
	if (!done)
		braid_capture_load_again();

	/* If there is nothing to wait for, it has been done; we load again at once. */
	if ((!done || braid_definition_find_replacement(v->def.id, &next)) &&
		v->state != VIEW_REBUILDING)
		store_state(v, VIEW_REBUILDING, NULL);
	return NULL;
}

ViewState
braid_keeper_parse_state(const char *name)
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
	v->state = v->stored = braid_keeper_parse_state(SPI_getvalue(row, desc, 5));
	done = DatumGetInt32(SPI_getbinval(row, desc, 6, &isnull));
	if (!isnull && done != v->rebuilds)
		v->state = VIEW_REBUILDING;
	v->owner = DatumGetObjectId(SPI_getbinval(row, desc, 7, &isnull));
	v->fingerprint = SPI_getvalue(row, desc, 8);
	v->def.options = palloc0(sizeof(ContinuousOptions));
	braid_options_of_stored(DatumGetJsonbP(SPI_getbinval(row, desc, 9, &isnull)), v->def.options);
	v->def.has_schedule = v->def.options->schedule != NULL;
	v->schedule_ms = v->def.has_schedule ? braid_options_milliseconds(v->def.options->schedule) : 0;
	v->stale = true;
	v->def.paused = DatumGetBool(SPI_getbinval(row, desc, 10, &isnull));
	if (v->state == VIEW_PAUSED && !v->def.paused)
		v->state = VIEW_REBUILDING;
	v->made_for = SPI_getvalue(row, desc, 11);
	v->made_from = SPI_getvalue(row, desc, 12);
	v->is_replacement = DatumGetBool(SPI_getbinval(row, desc, 13, &isnull));
	v->merges = DatumGetInt32(SPI_getbinval(row, desc, 14, &isnull));
	return v;
}

/* A restore puts the query into its place last: until then it reads no table. */
static bool
is_complete(KeptView *v)
{
	ViewInputs inputs;

	braid_definition_inputs(&v->def, &inputs);
	return inputs.tables != NIL &&
		   (v->def.options->time.watermark == NULL || OidIsValid(v->def.time));
}

/*
 * A view that stands still, and may have come by a restore: its parts go with it,
 * and if a paused one has brought rows, these are what it shows.
 */
static void
settle(KeptView *v)
{
	if (!OidIsValid(v->def.query) || !braid_state_are_indexed(v->states))
		return;
	bind_parts(v);
	if (v->state != VIEW_PAUSED || v->fingerprint || !has_rows(v->states))
		return;
	SPI_execute(psprintf("UPDATE braid_internal.view_states SET fingerprint = %s WHERE id = %d",
						 quote_literal_cstr(v->made_for), v->def.id),
				false, 0);
	tell_readers();
}

/* REFRESH or braid.resume() has asked for it: from now on the stored state says so. */
static void
begin_rebuild(KeptView *v)
{
	v->state = v->stored;
	store_state(v, VIEW_REBUILDING, NULL);
	if (v->stored == VIEW_BROKEN)
		braid_gap_note(v, "it was broken");
	else if (v->stored == VIEW_PAUSED)
		braid_gap_note(v, "it was paused");
}

static void
load_view(KeptView *v)
{
	char *problem;

	braid_capture_watch(v->def.view);
	braid_definition_resolve(&v->def);
	if (OidIsValid(v->def.query))
		braid_capture_watch(v->def.query);
	if (OidIsValid(v->def.time))
		braid_capture_watch(v->def.time);
	if (!is_complete(v))
		return;
	v->states = braid_definition_states(v->def.id);
	views = lappend(views, v);
	braid_view_stat_enter(v);
	if (v->def.paused && !stands_still(v))
		halt(v);
	if (stands_still(v))
	{
		settle(v);
		return;
	}
	if (v->state == VIEW_REBUILDING && v->stored != VIEW_REBUILDING)
		begin_rebuild(v);
	problem = braid_attempt(prepare_view, v);
	if (!problem && v->is_outdated)
		problem = replace_view(v);
	if (problem || v->is_outdated)
		v->plan = NULL;
	if (problem && get_rel_name(v->def.view) == NULL)
		views = list_delete_last(views); /* dropped meanwhile */
	else if (problem)
		mark_broken(v, problem);
}

static void
unload(void)
{
	ListCell *lc;

	foreach (lc, views)
		if (((KeptView *) lfirst(lc))->plans)
			braid_run_free_plans(((KeptView *) lfirst(lc))->plans);
	braid_feed_unload();
	views = NIL;
	groups = NIL;
	if (views_context)
		MemoryContextReset(views_context);
	else
		views_context =
			AllocSetContextCreate(TopMemoryContext, "braid views", ALLOCSET_DEFAULT_SIZES);
}

/* ---------------------------------------------------------------- order */

/* Puts the view behind those that it reads.  False if one of them is not there. */
static bool
put_in_order(KeptView *v, List **ordered)
{
	bool complete = true;
	ListCell *lc;

	if (v->ordered)
		return true;
	v->ordered = true;
	if (v->plan)
	{
		foreach (lc, v->plan->views)
		{
			KeptView *input = braid_keeper_find(lfirst_int(lc));

			if (input)
				(void) put_in_order(input, ordered);
			complete &= input != NULL && (input->plan || stands_still(input));
		}
		if (!complete)
			v->plan = NULL; /* some of a restore is still to come */
	}
	*ordered = lappend(*ordered, v);
	return complete;
}

/* Those that it reads have theirs. */
static void
find_tables(KeptView *v)
{
	ListCell *lc;

	v->tables = list_copy(v->plan->tables);
	foreach (lc, v->plan->views)
	{
		KeptView *input = braid_keeper_find(lfirst_int(lc));

		v->tables = list_concat_unique_oid(v->tables, input->tables);
		input->is_read = true;
	}
	foreach (lc, v->tables)
		braid_capture_tie(linitial_oid(v->tables), lfirst_oid(lc));
}

/*
 * What reads a stream may not wait for others to be populated, or rows would pass by:
 * these are populated in the cycle, and what they read too.
 */
static void
hurry_inputs(KeptView *v)
{
	ListCell *lc;

	if (v->plan == NULL || (v->plan->streams == NIL && !v->is_hurried))
		return;
	v->is_hurried = true;
	foreach (lc, v->plan->views)
		braid_keeper_find(lfirst_int(lc))->is_hurried = true;
}

static ViewGroup *
find_group(Oid relid)
{
	ListCell *lc;

	foreach (lc, groups)
		if (((ViewGroup *) lfirst(lc))->relid == relid)
			return lfirst(lc);
	return NULL;
}

static void
put_into_group(KeptView *v)
{
	ViewGroup *g = find_group(linitial_oid(v->tables));

	if (g == NULL)
	{
		g = palloc0(sizeof(ViewGroup));
		g->relid = linitial_oid(v->tables);
		groups = lappend(groups, g);
	}
	g->views = lappend(g->views, v);
}

/* What views mean to each other. */
static void
relate_views(void)
{
	List *ordered = NIL;
	ListCell *lc;

	foreach (lc, views)
		put_in_order(lfirst(lc), &ordered);
	views = ordered;
	foreach (lc, views)
		if (((KeptView *) lfirst(lc))->plan)
			find_tables(lfirst(lc));
	for (int i = list_length(views) - 1; i >= 0; i--)
		hurry_inputs(list_nth(views, i));
	foreach (lc, views)
		if (((KeptView *) lfirst(lc))->plan)
		{
			look_at_weights(((KeptView *) lfirst(lc))->plan);
			braid_follow_prepare(lfirst(lc));
		}
	foreach (lc, views)
		if (((KeptView *) lfirst(lc))->tables)
			put_into_group(lfirst(lc));
}

#define VIEWS_QUERY                                                                                \
	"SELECT v.id, v.view::oid, v.settings, v.rebuilds, s.state, s.rebuilds, c.relowner, "          \
	"s.fingerprint, v.options, v.paused, v.made_for, v.made_from, "                                \
	"v.replaces IS NOT NULL, v.merges FROM braid_internal.views v "                                \
	"LEFT JOIN braid_internal.view_states s ON s.id = v.id "                                       \
	"LEFT JOIN pg_class c ON c.oid = v.view AND c.relkind = 'v' "

static bool
load(void)
{
	SPITupleTable *rows;
	uint64 nrows;
	bool any = false;
	MemoryContext old = CurrentMemoryContext;

	braid_populate_start();
	unload();
	braid_exchange_all();
	braid_restore_define_all();
	braid_capture_watch(braid_definition_catalog());
	braid_feed_begin_load();
	MemoryContextSwitchTo(views_context);
	braid_feed_load();
	SPI_execute(VIEWS_QUERY "ORDER BY v.id", false, 0);
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
	MemoryContextSwitchTo(views_context);
	any |= braid_feed_tables_load();
	relate_views();
	braid_view_stat_keep(views);
	MemoryContextSwitchTo(old);
	return any;
}

KeptView *
braid_keeper_load_one(int id)
{
	KeptView *v;
	MemoryContext old = CurrentMemoryContext;

	unload();
	SPI_execute(psprintf(VIEWS_QUERY "WHERE v.id = %d", id), false, 0);
	if (SPI_processed == 0)
		return NULL;
	MemoryContextSwitchTo(views_context);
	v = read_view(SPI_tuptable->vals[0], SPI_tuptable->tupdesc);
	braid_feed_load();
	MemoryContextSwitchTo(views_context);
	braid_definition_resolve(&v->def);
	if (!OidIsValid(v->owner) || !OidIsValid(v->def.query))
		return NULL;
	v->states = braid_definition_states(id);
	v->plan = make_plan(v);
	braid_rights_apply(v->plan, v->owner);
	if (!braid_state_fits(v->plan))
		return NULL;
	braid_feed_view_prepare(v);
	v->plans = braid_run_make_plans(views_context);
	braid_follow_prepare(v);
	views = lappend(views, v);
	MemoryContextSwitchTo(old);
	return v;
}

static bool
stands_on(KeptView *v, BraidSource *source)
{
	return list_member_oid(v->tables, source->relid);
}

static void
lost(BraidSource *source)
{
	ListCell *lc;

	foreach (lc, views)
	{
		KeptView *v = lfirst(lc);

		if (stands_on(v, source) && v->state == VIEW_LIVE)
			store_state(v, VIEW_REBUILDING, NULL);
	}
}

/* ---------------------------------------------------------------- the cycle */

/* What the view's statements write, and what those of views read that read it. */
static bool
lock_view(KeptView *v)
{
	ListCell *lc;

	if (v->is_read && !ConditionalLockRelationOid(v->def.view, AccessShareLock))
		return false;
	if (v->plan && v->feed && !braid_feed_lock(v->feed))
		return false;
	foreach (lc, v->states)
		if (!ConditionalLockRelationOid(lfirst_oid(lc),
										v->plan ? RowExclusiveLock : AccessShareLock))
			return false;
	return true;
}

/* Tied tables take part all or none, so it is enough to lock for one of them. */
static bool
lock(BraidSource *source)
{
	ViewGroup *g = find_group(source->relid);
	ListCell *lc;

	if (!braid_feed_table_lock(source->relid))
		return false;
	if (g != NULL)
		foreach (lc, g->views)
			if (!lock_view(lfirst(lc)))
				return false;
	return true;
}

static bool
is_being_made(KeptView *v)
{
	return (v->state == VIEW_POPULATING || v->state == VIEW_REBUILDING) && !v->is_outdated;
}

/* Of a view with a schedule: whether it is time to compute it again. */
static bool
is_due(KeptView *v)
{
	return v->plan->is_recomputed && v->state == VIEW_LIVE && (v->stale || v->plan->is_ageing) &&
		   GetCurrentTimestamp() >= v->due;
}

static bool
has_work(void)
{
	ListCell *lc;

	foreach (lc, views)
	{
		KeptView *v = lfirst(lc);

		if (v->plan && v->tables && (is_being_made(v) || is_due(v) || braid_follow_is_wanted(v)))
			return true;
	}
	return braid_feed_tables_have_work() || braid_verify_wanted();
}

static bool
takes_part(KeptView *v)
{
	return v->plan && v->state != VIEW_BROKEN && v->tables &&
		   braid_capture_is_locked(linitial_oid(v->tables));
}

bool
braid_keeper_is_at_snapshot(KeptView *v)
{
	return takes_part(v) && v->state == VIEW_LIVE;
}

/* Whether a table below has anything new, or the view, or one below, has something to do. */
static bool
may_have_work(KeptView *v)
{
	ListCell *lc;

	if (!takes_part(v))
		return false;
	if (v->state != VIEW_LIVE || is_due(v) || braid_follow_is_wanted(v))
		return true;
	foreach (lc, v->plan->views)
		if (may_have_work(braid_keeper_find(lfirst_int(lc))))
			return true;
	foreach (lc, v->tables)
	{
		BraidSource *source = braid_capture_source(lfirst_oid(lc));
		BraidDelta *d = &source->delta;

		if (!source->has_frontier || d->nrows > 0 || d->recompute || d->incomplete)
			return true;
	}
	return false;
}

/* What is made of others is made anew when one of them is, and after it. */
static void
look_at_inputs(KeptView *v)
{
	ListCell *lc;

	foreach (lc, v->plan->heeded_views)
	{
		KeptView *input = braid_keeper_find(lfirst_int(lc));

		v->waits |= input->waits;
		if (v->state == VIEW_LIVE && is_being_made(input))
			store_state(v, VIEW_REBUILDING, NULL);
	}
}

/* A view that has to be populated: here, or beside. */
static void
look_at_population(KeptView *v)
{
	char *error;

	switch (braid_populate_look(v, &error))
	{
		case POPULATE_HERE:
			break;
		case POPULATE_WAIT:
			v->waits = true;
			if (v->state == VIEW_LIVE)
				store_state(v, VIEW_REBUILDING, NULL);
			break;
		case POPULATE_FOLLOW:
			if (error)
				mark_broken(v, error);
			v->catches_up = error == NULL;
			if (v->catches_up && v->feed)
				braid_feed_look_again(v->feed);
			v->waits = error != NULL;
			break;
	}
}

/* The views that may have to follow, in order, in the current context. */
static List *
views_to_bring_up(void)
{
	List *list = NIL;
	ListCell *lc;

	foreach (lc, views)
	{
		KeptView *v = lfirst(lc);

		v->waits = v->catches_up = v->has_merged = false;
		if (!takes_part(v))
			continue;
		look_at_inputs(v);
		if (!v->waits && !v->plan->is_recomputed && may_have_work(v) &&
			braid_follow_needs_populating(v))
			look_at_population(v);
		if (!v->waits && may_have_work(v))
			list = lappend(list, v);
	}
	return list;
}

/* As the view's owner. */
static void
bring_up(KeptView *v, void *arg)
{
	TimestampTz begin = GetCurrentTimestamp();

	braid_follow(v);
	braid_capture_charge(linitial_oid(v->tables), GetCurrentTimestamp() - begin);
}

static void
bring_up_all(void *arg)
{
	ListCell *lc;

	foreach (lc, (List *) arg)
		if (braid_follow_is_needed(lfirst(lc)))
			braid_attempt_act(lfirst(lc), bring_up, NULL);
}

static void
forget_deltas(List *todo)
{
	ListCell *lc;

	foreach (lc, todo)
		braid_follow_forget(lfirst(lc));
}

static bool
is_incomplete(KeptView *v)
{
	ListCell *lc;

	foreach (lc, v->plan->heeded_tables)
		if (braid_capture_source(lfirst_oid(lc))->delta.incomplete)
			return true;
	return false;
}

/*
 * The view could not follow its delta.  That need not be the query's fault: the
 * terms of a delta hold pairs of rows that never were there together, which an
 * expression may not be able to take.  So it is populated anew, and is broken if
 * that fails too.  Streams have no such pairs, and nothing to populate from.
 */
static void
give_up_delta(KeptView *v, const char *error)
{
	braid_follow_forget(v);
	if (v->state != VIEW_LIVE || v->catches_up || v->plan->is_recomputed || v->plan->streams ||
		is_incomplete(v))
	{
		mark_broken(v, error);
		return;
	}
	ereport(LOG, (errmsg("continuous view \"%s\" is populated anew, as it could not follow a "
						 "change: %s",
						 get_rel_name(v->def.view), error)));
	store_state(v, VIEW_REBUILDING, NULL);
	v->waits = true;
}

static void
bring_up_each(List *todo)
{
	ListCell *lc;

	foreach (lc, todo)
	{
		KeptView *v = lfirst(lc);
		char *error;

		if (!braid_follow_is_needed(v))
			continue;
		error = braid_attempt_as_owner(v, bring_up, NULL);
		if (error)
			give_up_delta(v, error);
	}
}

/* The view has been computed anew in this cycle. */
static void
note_recomputation(KeptView *v)
{
	v->stale = false;
	v->due = GetCurrentTimestamp() + v->schedule_ms * 1000;
	store_state(v, VIEW_LIVE, NULL);
}

/* Of a new view there is a stored state only now. */
static void
set_live(KeptView *v)
{
	bool is_new = v->state == VIEW_POPULATING;

	if (!is_new)
		braid_gap_look(v);
	store_state(v, VIEW_LIVE, NULL);
	if (is_new && v->was_restored)
		braid_gap_note(v, "it was restored from a dump");
}

static void
apply(void)
{
	List *todo = NIL;
	ListCell *lc;

	braid_populate_tidy();
	if (braid_capture_any_news() || has_work())
		todo = views_to_bring_up();
	if (todo != NIL && braid_attempt(bring_up_all, todo) != NULL)
	{
		forget_deltas(todo);
		bring_up_each(todo);
	}
	foreach (lc, todo)
	{
		KeptView *v = lfirst(lc);

		if (v->catches_up)
			braid_populate_end(v);
		if (v->has_merged)
			v->merged = v->merges;
		if (v->feed)
			braid_feed_store(v->feed);
		if (v->plan->is_recomputed && v->repopulated)
			note_recomputation(v);
		if (!is_being_made(v) || v->waits)
			continue;
		set_live(v);

		/* Definitions are loaded again, and what is ready is exchanged. */
		if (v->is_replacement)
			CacheInvalidateRelcacheByRelid(braid_definition_catalog());
	}
	forget_deltas(todo);
	braid_feed_tables_apply();
	braid_verify_answer();
}

static void
committed(TimestampTz visible)
{
	ListCell *lc;

	foreach (lc, views)
	{
		KeptView *v = lfirst(lc);

		if (v->work.done)
			braid_view_stat_committed(v, visible);
		v->work.done = false;
	}
}

static const BraidConsumer consumer = {.load = load,
									   .lost = lost,
									   .lock = lock,
									   .has_work = has_work,
									   .apply = apply,
									   .committed = committed};

void
braid_keeper_init(void)
{
	braid_capture_set_consumer(&consumer);
}
