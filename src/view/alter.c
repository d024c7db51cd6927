/*
 * alter.c
 *	  A new query for a continuous view that exists.
 *
 * NOTES
 *	  If the plan of the new query keeps the same states as that of the old one, or
 *	  some of them, only what is shown of them changes, and that is done here and
 *	  now.  The worker is told by made_from and made_for that the states serve the
 *	  new plan as well.
 *
 *	  Otherwise another continuous view is made of the new query, which is followed
 *	  beside the old one until it can take its place: see exchange.c.  It cannot be
 *	  dropped alone, and goes with the old one.
 *
 *	  All of it is done as the view's owner and under the view's settings, whoever
 *	  is the caller.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "commands/tablespace.h"
#include "common/compat.h"
#include "common/superuser.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/ruleutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "view/alter.h"
#include "view/carry.h"
#include "view/create.h"
#include "view/deparse.h"
#include "view/event_time.h"
#include "view/exchange.h"
#include "view/index.h"
#include "view/plan.h"
#include "view/rights.h"
#include "view/state.h"
#include "view/statement.h"

/* What is to become of a view. */
typedef struct Change
{
	Query *query;					  /* NULL: the one that it has */
	const ContinuousOptions *options; /* NULL: those that it has */
	Query *sources;					  /* of the watermark; NULL: those that it has */
	ParseState *pstate;
} Change;

/* ---------------------------------------------------------------- what is there */

/* Until the current level of settings ends. */
static void
use_settings(int id)
{
	braid_superuser_execute(psprintf("SELECT settings[n], settings[n + 1] FROM "
									 "braid_internal.views, generate_series(1, "
									 "array_length(settings, 1), 2) n WHERE id = %d",
									 id));
	for (uint64 i = 0; i < SPI_processed; i++)
		(void) set_config_option(SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1),
								 SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2),
								 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

/* What the worker has stored of the view; NULL where there is nothing. */
typedef struct StoredState
{
	char *state;
	char *fingerprint;
} StoredState;

/* As it is now, whatever the transaction's snapshot. */
static void
read_state(int id, StoredState *stored)
{
	PushActiveSnapshot(GetLatestSnapshot());
	braid_superuser_execute(psprintf("SELECT s.state, s.fingerprint FROM "
									 "braid_internal.view_states s JOIN braid_internal.views v "
									 "ON v.id = s.id AND v.rebuilds = s.rebuilds WHERE s.id = %d",
									 id));
	PopActiveSnapshot();
	memset(stored, 0, sizeof(*stored));
	if (SPI_processed == 0)
		return;
	stored->state = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	stored->fingerprint = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2);
}

/* ---------------------------------------------------------------- what is refused */

/* The columns that there are stay as they are: the rules of CREATE OR REPLACE VIEW. */
static void
check_columns(Oid view, Query *query)
{
	int natts = braid_definition_natts(view);
	int n = 0;
	ListCell *lc;

	foreach (lc, query->targetList)
	{
		TargetEntry *tle = lfirst(lc);
		Oid type;
		int32 typmod;
		Oid collation;
		char *name;

		if (tle->resjunk || ++n > natts)
			continue;
		name = get_attname(view, n, false);
		get_atttypetypmodcoll(view, n, &type, &typmod, &collation);
		if (strcmp(name, tle->resname) != 0)
			ereport(ERROR, (errcode(ERRCODE_INVALID_TABLE_DEFINITION),
							errmsg("cannot change name of view column \"%s\" to \"%s\"", name,
								   tle->resname),
							errhint("Use ALTER MATERIALIZED VIEW ... RENAME COLUMN ... to change "
									"the name of a column instead.")));
		if (type != exprType((Node *) tle->expr) || typmod != exprTypmod((Node *) tle->expr) ||
			collation != exprCollation((Node *) tle->expr))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
					 errmsg("cannot change data type or collation of view column \"%s\"", name),
					 errdetail("It is of type %s.", format_type_with_typemod(type, typmod))));
	}
	if (n < natts)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION), errmsg("cannot drop columns from view"),
				 errhint("New columns come after those that there are.")));
}

static void
refuse_circle(const ViewDefinition *def, Oid query)
{
	ViewDefinition next = {.query = query};
	ViewInputs inputs;

	braid_definition_inputs(&next, &inputs);
	if (list_member_int(inputs.continuous, def->id))
		ereport(ERROR, (errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
						errmsg("the query of continuous view \"%s\" would read the view itself",
							   get_rel_name(def->view))));
}

/* No view follows what another one shows of its rows: see from.c. */
static void
refuse_limit_for_readers(const ViewDefinition *def, Query *query, bool has_schedule)
{
	if (has_schedule || (!query->limitCount && !query->limitOffset))
		return;
	braid_superuser_execute(psprintf("SELECT r.view::oid FROM braid_internal.views r, "
									 "braid_internal.view_inputs(r.view) i "
									 "WHERE %d = ANY (i.views) ORDER BY r.id",
									 def->id));
	if (SPI_processed > 0)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("continuous view \"%s\" cannot get a query with LIMIT, since "
							   "continuous view \"%s\" reads it",
							   get_rel_name(def->view),
							   get_rel_name(atooid(
								   SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1)))),
						errhint("Have the LIMIT in an ordinary view over it.")));
}

/* States that are not kept already would begin with the rows that come from now on. */
static void
refuse_to_begin_anew(const ViewDefinition *def, ViewPlan *plan)
{
	if (plan->streams)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("continuous view \"%s\" reads a stream, and cannot be made to keep "
							   "something else",
							   get_rel_name(def->view)),
						errdetail("Rows of streams are not kept, so it would lose what it has."),
						errhint("Make another view, which begins with the rows to come.")));
}

/* ---------------------------------------------------------------- the same states */

static ViewPlan *
make_plan(const ViewDefinition *def, Query *query, int id, ParseState *pstate)
{
	return braid_event_time_plan(def, query, id, pstate);
}

/* The plan that the view has had; NULL if there is none any more. */
static ViewPlan *
old_plan(const ViewDefinition *def)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ViewPlan *volatile plan = NULL;

	BeginInternalSubTransaction(NULL);
	PG_TRY();
	{
		MemoryContextSwitchTo(context);
		plan = make_plan(def, braid_definition_query(def->query), def->id, NULL);
		braid_rights_apply(plan, GetUserId());
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_OPERATOR_INTERVENTION)
			ReThrowError(error);
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return plan;
}

/* A node that keeps the same state as this one, and is not taken yet. */
static ViewNode *
find_same(ViewPlan *plan, ViewNode *node, Bitmapset *taken)
{
	ListCell *lc;

	foreach (lc, plan->nodes)
	{
		ViewNode *other = lfirst(lc);

		if (braid_node_is_stateful(other) && other->state_hash == node->state_hash &&
			!bms_is_member(other->number, taken))
			return other;
	}
	return NULL;
}

/*
 * Whether the state of a view that reads streams can begin without rows: then it must, as
 * the others could not be made anew beside it.
 */
static bool
begins_empty(ViewPlan *plan, ViewNode *node)
{
	return plan->streams && node->kind == NODE_DIVERT;
}

/*
 * Numbers of the old nodes, in the order of the new ones, or -1 of those that begin
 * empty; NIL if one is missing.
 */
static List *
match_states(ViewPlan *old, ViewPlan *plan)
{
	Bitmapset *taken = NULL;
	List *matches = NIL;
	ListCell *lc;

	foreach (lc, plan->nodes)
	{
		ViewNode *node = lfirst(lc);
		ViewNode *same;

		if (!braid_node_is_stateful(node))
			continue;
		same = find_same(old, node, taken);
		if (same == NULL && begins_empty(plan, node))
		{
			matches = lappend_int(matches, -1);
			continue;
		}
		if (same == NULL || !OidIsValid(braid_definition_part(same->state)))
			return NIL;
		taken = bms_add_member(taken, same->number);
		matches = lappend_int(matches, same->number);
	}
	return matches;
}

/*
 * Whether the tables are those of the plan that the view has now: it may have
 * changed with an ordinary view below it, and the worker may not have seen it.
 */
static bool
fits(ViewPlan *old, StoredState *stored)
{
	return stored->fingerprint != NULL &&
		   braid_plan_same_states(stored->fingerprint, old->fingerprint);
}

/* ---------------------------------------------------------------- the steps */

/* For states to be made: the tablespace of the old ones. */
static void
use_tablespace(const ViewDefinition *def)
{
	List *states = braid_definition_states(def->id);
	Oid tablespace = states ? get_rel_tablespace(linitial_oid(states)) : InvalidOid;

	(void) set_config_option("default_tablespace",
							 OidIsValid(tablespace) ? get_tablespace_name(tablespace) : "",
							 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

static void
move_states(const ViewDefinition *def, ViewPlan *plan, int id, List *matches)
{
	ListCell *lc;
	int n = 0;

	foreach (lc, plan->nodes)
	{
		ViewNode *node = lfirst(lc);
		int number;

		if (!braid_node_is_stateful(node))
			continue;
		number = list_nth_int(matches, n++);
		if (number < 0)
			braid_state_make_one(node);
		else
			braid_exchange_rename_state(def->id, number, id, node->number);
	}
}

/* The view over the states, with the parts that belong to it. */
static void
make_next(const ViewDefinition *def, ViewPlan *plan, const char *query_text, int id,
		  const ContinuousOptions *options, ViewDefinition *next)
{
	char *owner = pstrdup(quote_identifier(GetUserNameFromId(GetUserId(), false)));

	braid_create_query(id, query_text);
	braid_superuser_execute(
		psprintf("CREATE VIEW braid_internal.next_%d AS %s", id, plan->visible));
	braid_superuser_execute(psprintf("ALTER VIEW braid_internal.next_%d OWNER TO %s", id, owner));
	braid_superuser_execute(psprintf(
		"COMMENT ON VIEW braid_internal.next_%d IS 'braid: new query of a continuous view'", id));
	memset(next, 0, sizeof(*next));
	next->id = id;
	next->has_schedule = def->has_schedule;
	next->options = (ContinuousOptions *) options;
	next->view = braid_definition_part(psprintf("braid_internal.next_%d", id));
	braid_definition_resolve(next);
	(void) braid_definition_bind(next);
	(void) braid_definition_bind_part(next->view, def->view);
	CommandCounterIncrement();
}

/* What reads the view shows what it has shown; it has to be made anew. */
static void
rebuild_readers(int id)
{
	braid_superuser_execute(psprintf("UPDATE braid_internal.views v SET rebuilds = v.rebuilds + 1 "
									 "FROM braid_internal.views r, "
									 "braid_internal.view_inputs(r.view) i "
									 "WHERE r.id = v.id AND %d = ANY (i.views)",
									 id));
}

static bool
is_same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

/* Whether groups that were frozen, or deleted, under the old options are wrong under the new. */
static bool
thaws(const ContinuousOptions *from, const ContinuousOptions *to)
{
	return !braid_options_freezes(&to->time) &&
		   (braid_options_freezes(&from->time) ||
			(from->time.retain && !is_same_text(from->time.retain, to->time.retain)));
}

/* The view's, and those of what is being made to take its place. */
static void
store_options(const ViewDefinition *def, const ContinuousOptions *options, bool again)
{
	braid_superuser_execute(
		psprintf("UPDATE braid_internal.views SET options = %s, rebuilds = rebuilds + %d "
				 "WHERE %d IN (id, replaces)",
				 quote_literal_cstr(braid_options_text(options)), again, def->id));
}

/* Rows that were put aside are not kept by a plan that puts none aside. */
static void
tell_lost_rows(const ViewDefinition *def, ViewPlan *old, ViewPlan *plan)
{
	int64 nrows = 0;
	bool isnull;
	ListCell *lc;

	foreach (lc, plan->nodes)
		if (((ViewNode *) lfirst(lc))->kind == NODE_DIVERT)
			return;
	foreach (lc, old->nodes)
	{
		ViewNode *node = lfirst(lc);

		if (node->kind != NODE_DIVERT || !OidIsValid(braid_definition_part(node->state)))
			continue;
		braid_superuser_execute(psprintf("SELECT count(*) FROM %s", node->state));
		nrows +=
			DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	}
	if (nrows > 0)
		ereport(NOTICE,
				(errmsg("continuous view \"%s\" gives up rows that were diverted: " INT64_FORMAT,
						get_rel_name(def->view), nrows),
				 errhint("Roll back and call braid.merge_diverted() first to have them "
						 "merged.")));
}

static void
exchange_now(const ViewDefinition *def, const ViewDefinition *next, StoredState *stored)
{
	bool broken = strcmp(stored->state, "broken") == 0;

	braid_superuser_execute(psprintf("UPDATE braid_internal.views SET made_from = %s, "
									 "made_for = %s WHERE id = %d",
									 quote_literal_cstr(stored->fingerprint),
									 quote_literal_cstr(braid_create_fingerprint(next)), def->id));
	store_options(def, next->options, broken || thaws(def->options, next->options));
	braid_exchange(def, next);
	rebuild_readers(def->id);
	ereport(
		NOTICE,
		(errmsg("continuous view \"%s\" shows its new query", get_rel_name(def->view)),
		 errdetail(broken ? "It is rebuilt, since it was broken."
						  : "All that the query needs was kept already: nothing is recomputed.")));
}

/* {"column": watermark} for those that the old view does not have, as SQL. */
static char *
new_columns(const ViewDefinition *def, const ViewDefinition *next, const char *watermark)
{
	int natts = braid_definition_natts(next->view);
	StringInfoData s;

	initStringInfo(&s);
	for (int i = braid_definition_natts(def->view) + 1; watermark && i <= natts; i++)
		appendStringInfo(&s, "%s%s, %s", s.len > 0 ? ", " : "",
						 quote_literal_cstr(get_attname(next->view, i, false)),
						 quote_literal_cstr(watermark));
	return s.len > 0 ? psprintf("coalesce(valid_since, '{}') || jsonb_build_object(%s)", s.data)
					 : "valid_since";
}

/* since: the watermark up to which new columns are null, or NULL. */
static void
exchange_later(const ViewDefinition *def, const ViewDefinition *next, const char *since)
{
	braid_index_copy(def, next);
	braid_superuser_execute(psprintf("INSERT INTO braid_internal.views (id, view, settings, "
									 "options, replaces, made_for, valid_since) "
									 "SELECT %d, %u, settings, %s, id, %s, %s "
									 "FROM braid_internal.views WHERE id = %d",
									 next->id, next->view,
									 quote_literal_cstr(braid_options_text(next->options)),
									 quote_literal_cstr(braid_create_fingerprint(next)),
									 new_columns(def, next, since), def->id));
	ereport(NOTICE, (errmsg("the new query of continuous view \"%s\" is being populated once this "
							"transaction commits",
							get_rel_name(def->view)),
					 errdetail("Until it is complete the view shows its old query, and follows."),
					 errhint("The column new_query of braid.views is null when it is done.")));
}

/* Only options that the plan does not show: late, retain and the like. */
static bool
change_options_only(const ViewDefinition *def, ViewDefinition *as, ViewPlan *old, ViewPlan *plan)
{
	if (strcmp(old->fingerprint, plan->fingerprint) != 0)
		return false;
	if (OidIsValid(as->time))
		braid_superuser_execute(psprintf("DROP VIEW %s", braid_definition_time_name(as->id)));
	store_options(def, as->options, thaws(def->options, as->options) && plan->streams == NIL);
	return true;
}

/* The definition under which the new plan is made. */
static void
make_definition(const ViewDefinition *def, const Change *change, ViewDefinition *as)
{
	Query *sources = change->sources ? change->sources : braid_event_time_sources(def);

	*as = *def;
	as->id = braid_create_next_id();
	if (change->options)
		as->options = (ContinuousOptions *) change->options;
	if (sources && as->options->time.watermark)
		braid_event_time_create(as->id, sources);
	braid_definition_resolve(as);
}

/* As the view's owner, under its settings. */
static bool
alter(const ViewDefinition *def, Change *change)
{
	char *query_text = braid_deparse_query(change->query);
	ViewDefinition as;
	ViewPlan *plan;
	ViewPlan *old = old_plan(def);
	List *matches = NIL;
	char *since = NULL;
	StoredState stored;
	ViewDefinition next;

	make_definition(def, change, &as);
	refuse_limit_for_readers(def, change->query, as.has_schedule);
	plan = make_plan(&as, change->query, as.id, change->pstate);
	braid_rights_apply(plan, GetUserId());
	braid_create_claim_tables(plan->tables);
	if (change->options && old && change_options_only(def, &as, old, plan))
		return true;
	braid_exchange_drop_next(def);
	if (old)
	{
		tell_lost_rows(def, old, plan);
		matches = match_states(old, plan);
	}
	if (matches != NIL)
		LockRelationOid(def->view, AccessExclusiveLock);
	read_state(def->id, &stored);
	if (matches != NIL && !fits(old, &stored))
		matches = NIL;
	use_tablespace(def);
	if (matches != NIL)
		move_states(def, plan, as.id, matches);
	else
	{
		refuse_to_begin_anew(def, plan);
		braid_state_make(plan);
		if (old && fits(old, &stored))
			since = braid_carry_over(old, plan);
	}
	make_next(def, plan, query_text, as.id, as.options, &next);
	refuse_circle(def, next.query);
	if (matches != NIL)
		exchange_now(def, &next, &stored);
	else
		exchange_later(def, &next, since);
	return matches != NIL;
}

/* The view's own query, under the names that the view's columns have now. */
static Query *
own_query(const ViewDefinition *def)
{
	Query *query = braid_definition_query(def->query);
	ListCell *lc;

	foreach (lc, query->targetList)
	{
		TargetEntry *tle = lfirst(lc);

		if (!tle->resjunk)
			tle->resname = get_attname(def->view, tle->resno, false);
	}
	return query;
}

static bool
run(const ViewDefinition *def, Change *change)
{
	int level = braid_superuser_fix_search_path();
	Oid user;
	int security;
	bool done;

	SPI_connect();
	use_settings(def->id);
	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(braid_definition_owner(def->view),
						   security | SECURITY_RESTRICTED_OPERATION);
	if (change->query)
	{
		check_columns(def->view, change->query);
		braid_rights_check_query(change->query);
	}
	else
		change->query = own_query(def);
	done = alter(def, change);
	SetUserIdAndSecContext(user, security);
	SPI_finish();
	AtEOXact_GUC(false, level);
	return done;
}

bool
braid_alter(const ViewDefinition *def, Query *query, ParseState *pstate)
{
	Change change = {.query = query, .pstate = pstate};

	return run(def, &change);
}

bool
braid_alter_to(const ViewDefinition *def, const ContinuousOptions *options, Query *sources)
{
	Change change = {.options = options, .sources = sources};

	return run(def, &change);
}

void
braid_alter_anew(const ViewDefinition *def)
{
	if (braid_definition_lock(def, ShareUpdateExclusiveLock))
		(void) braid_alter(def, NULL, NULL);
}

/* ---------------------------------------------------------------- function */

static void
check(Oid view, ViewDefinition *def)
{
	braid_definition_get(view, def);
	if (!braid_compat_is_relation_owner(view, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_VIEW, get_rel_name(view));
	if (def->paused)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("continuous view \"%s\" is paused", get_rel_name(view)),
						errhint("Call braid.resume() first.")));
}

PG_FUNCTION_INFO_V1(braid_sql_alter_view);

/* braid.alter_view(view regclass, query text) */
Datum
braid_sql_alter_view(PG_FUNCTION_ARGS)
{
	ErrorContextCallback callback = {error_context_stack, braid_statement_move_error_position};
	ParseState *pstate = NULL;
	Query *query = NULL;
	ViewDefinition def;
	bool done;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();

	/* One at a time; readers go on. */
	LockRelationOid(PG_GETARG_OID(0), ShareUpdateExclusiveLock);
	check(PG_GETARG_OID(0), &def);
	if (!PG_ARGISNULL(1))
	{
		callback.arg = text_to_cstring(PG_GETARG_TEXT_PP(1));
		error_context_stack = &callback;
		pstate = make_parsestate(NULL);
		pstate->p_sourcetext = callback.arg;
		query = braid_statement_analyze(callback.arg);
	}
	done = braid_alter(&def, query, pstate);
	error_context_stack = callback.previous;
	if (pstate)
		free_parsestate(pstate);
	PG_RETURN_BOOL(done);
}
