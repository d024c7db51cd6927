/*
 * create.c
 *	  Making, dropping and rebuilding continuous views.
 *
 * NOTES
 *	  CREATE writes the definition and an empty state; the capture worker
 *	  populates it after the commit.  To populate here, the slot would have to
 *	  exist before our snapshot, and making a slot waits for all running
 *	  transactions, ours included.
 *
 *	  The view is made as the user, so that the ordinary rules for its schema
 *	  apply.  The parts are made as superuser, since the user may not create in
 *	  braid_internal, and are then given to the user: the worker acts as the
 *	  view's owner when it evaluates the user's expressions.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "capture/capture.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "commands/trigger.h"
#include "common/compat.h"
#include "common/superuser.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "nodes/value.h"
#include "stream/stream.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "view/create.h"
#include "view/definition.h"
#include "view/deparse.h"
#include "view/event_time.h"
#include "view/feed.h"
#include "view/passing.h"
#include "view/plan.h"
#include "view/rights.h"
#include "view/state.h"

/* What expressions may depend on; see refusal.c. */
static const char *const kept_settings[] = {"TimeZone", "DateStyle", "IntervalStyle",
											"extra_float_digits"};

static char *
settings_array(void)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 0; i < lengthof(kept_settings); i++)
		appendStringInfo(&s, "%s%s,%s", i ? "," : "", quote_literal_cstr(kept_settings[i]),
						 quote_literal_cstr(GetConfigOption(kept_settings[i], false, false)));
	return psprintf("ARRAY[%s]", s.data);
}

/* A restored dump may have parts of views, and not where the sequence was. */
int
braid_create_next_id(void)
{
	int id;
	bool isnull;

	do
	{
		braid_superuser_execute("SELECT nextval('braid_internal.view_ids')::int");
		id = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	} while (OidIsValid(braid_definition_part(braid_definition_query_name(id))) ||
			 braid_definition_states(id) != NIL);
	return id;
}

/* Column names given by the user go into the query, as for ordinary views. */
static void
name_columns(Query *query, List *names)
{
	ListCell *name = list_head(names);
	ListCell *lc;

	foreach (lc, query->targetList)
	{
		TargetEntry *tle = lfirst(lc);

		if (tle->resjunk || name == NULL)
			continue;
		tle->resname = pstrdup(strVal(lfirst(name)));
		name = lnext(names, name);
	}
	if (name != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR), errmsg("too many column names were specified")));
}

static void
refuse_duplicate_names(Query *query, ParseState *pstate)
{
	List *seen = NIL;
	ListCell *lc;

	foreach (lc, query->targetList)
	{
		TargetEntry *tle = lfirst(lc);

		if (tle->resjunk)
			continue;
		if (list_member(seen, makeString(tle->resname)))
			ereport(ERROR, (errcode(ERRCODE_DUPLICATE_COLUMN),
							errmsg("column \"%s\" specified more than once", tle->resname),
							parser_errposition(pstate, exprLocation((Node *) tle->expr))));
		seen = lappend(seen, makeString(tle->resname));
	}
}

static bool
already_exists(RangeVar *name, Oid namespace, bool if_not_exists)
{
	if (!OidIsValid(get_relname_relid(name->relname, namespace)))
		return false;
	if (!if_not_exists)
		ereport(ERROR, (errcode(ERRCODE_DUPLICATE_TABLE),
						errmsg("relation \"%s\" already exists", name->relname)));
	ereport(NOTICE, (errcode(ERRCODE_DUPLICATE_TABLE),
					 errmsg("relation \"%s\" already exists, skipping", name->relname)));
	return true;
}

static void
run_as_user(const char *sql)
{
	if (SPI_execute(sql, false, 0) < 0)
		elog(ERROR, "could not run \"%s\"", sql);
}

void
braid_create_query(int id, const char *query_text)
{
	char *query = braid_definition_query_name(id);
	char *owner = pstrdup(quote_identifier(GetUserNameFromId(GetUserId(), false)));

	braid_superuser_execute(psprintf("CREATE VIEW %s AS %s", query, query_text));
	braid_superuser_execute(psprintf("ALTER VIEW %s OWNER TO %s", query, owner));
}

/* Of the query as it is stored, since that is what the worker will find. */
char *
braid_create_fingerprint(const ViewDefinition *def)
{
	Query *query = braid_definition_query(def->query);
	ViewPlan *plan = braid_event_time_plan(def, query, def->id, NULL);

	braid_rights_apply(plan, GetUserId());
	return plan->fingerprint;
}

static void
make_definition(int id, Oid view, const ContinuousOptions *options)
{
	ViewDefinition def = {.id = id, .view = view};

	braid_definition_resolve(&def);
	(void) braid_definition_bind(&def);
	def.has_schedule = options->schedule != NULL;
	def.options = (ContinuousOptions *) options;
	braid_superuser_execute(psprintf("INSERT INTO braid_internal.views (id, view, settings, "
									 "options, made_for) VALUES (%d, %u, %s, %s, %s)",
									 id, view, settings_array(),
									 quote_literal_cstr(braid_options_text(options)),
									 quote_literal_cstr(braid_create_fingerprint(&def))));
}

static void
require_extension(void)
{
	if (!OidIsValid(braid_definition_catalog()))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("extension \"braid\" is not installed in this database"),
						errhint("Run: CREATE EXTENSION braid.")));
}

void
braid_create_claim_tables(List *tables)
{
	ListCell *lc;

	foreach (lc, tables)
		if (!braid_stream_is(lfirst_oid(lc)))
			braid_capture_claim(lfirst_oid(lc));
}

static void
tell_beginning(const char *name, const char *view_name)
{
	ereport(NOTICE,
			(errmsg("continuous view \"%s\" begins to follow its streams once this transaction "
					"has committed",
					name),
			 errdetail("What was written to them before is not in it."),
			 errhint("SELECT braid.wait(%s) waits until it has begun.",
					 quote_literal_cstr(view_name))));
}

Oid
braid_create(RangeVar *name, List *column_names, Query *query, const ContinuousOptions *given,
			 bool if_not_exists, ParseState *pstate)
{
	ContinuousOptions own = *given;
	const ContinuousOptions *options = &own;
	Oid namespace = RangeVarGetAndCheckCreationNamespace(name, NoLock, NULL);
	char *view_name = quote_qualified_identifier(get_namespace_name(namespace), name->relname);
	char *query_text;
	ViewDefinition def = {.has_schedule = options->schedule != NULL, .options = &own};
	Query *sources;
	int level;
	int id;
	Oid view;
	ViewPlan *plan;

	if (already_exists(name, namespace, if_not_exists))
		return InvalidOid;
	own.feed = own.feed_key = NULL;
	braid_capture_require_wal();
	require_extension();
	sources = braid_event_time_analyze(options, query);
	level = braid_superuser_fix_search_path();
	name_columns(query, column_names);
	refuse_duplicate_names(query, pstate);
	query_text = braid_deparse_query(query);
	braid_rights_check_query(query);

	SPI_connect();
	id = braid_create_next_id();
	if (sources)
		braid_event_time_create(id, sources);
	def.id = id;
	braid_definition_resolve(&def);
	plan = braid_event_time_plan(&def, query, id, pstate);
	braid_rights_apply(plan, GetUserId());
	braid_create_claim_tables(plan->tables);
	braid_state_make(plan);
	braid_create_query(id, query_text);
	run_as_user(psprintf("CREATE VIEW %s AS %s", view_name, plan->visible));
	view = get_relname_relid(name->relname, namespace);
	make_definition(id, view, options);
	SPI_finish();
	AtEOXact_GUC(false, level);
	if (given->feed)
		braid_feed_set(view, given->feed, given->feed_key);
	if (plan->streams)
		tell_beginning(name->relname, view_name);
	else
		ereport(
			NOTICE,
			(errmsg("continuous view \"%s\" is being populated once this transaction commits",
					name->relname),
			 errhint("SELECT braid.wait(%s) waits until it is.", quote_literal_cstr(view_name))));
	return view;
}

static void
check_owner(Oid view)
{
	if (!braid_compat_is_relation_owner(view, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_VIEW, get_rel_name(view));
}

static bool
is_broken(int id)
{
	braid_superuser_execute(psprintf("SELECT FROM braid_internal.view_states s "
									 "JOIN braid_internal.views v ON v.id = s.id AND "
									 "v.rebuilds = s.rebuilds "
									 "WHERE s.id = %d AND s.state = 'broken'",
									 id));
	return SPI_processed > 0;
}

/* One that reads a stream has nothing to be made of, but can go on if it stands still. */
static void
check_streams(const ViewDefinition *def)
{
	const char *name = get_rel_name(def->view);

	if (!braid_passing_is_read(def))
		return;
	if (!is_broken(def->id))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("continuous view \"%s\" reads a stream and cannot be rebuilt", name),
				 errdetail("Rows of streams are not kept, so its query cannot be run."),
				 errhint("Only one that is broken can be refreshed, to go on with what it has.")));
	ereport(WARNING,
			(errmsg("continuous view \"%s\" goes on with what it has", name),
			 errdetail("Rows that have come to its streams since it was broken are not in it.")));
}

void
braid_create_again(Oid view)
{
	ViewDefinition def;
	ViewInputs inputs;
	int level;

	braid_definition_get(view, &def);
	check_owner(view);
	if (def.paused)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("continuous view \"%s\" is paused", get_rel_name(view)),
						errhint("braid.resume() rebuilds it.")));
	braid_capture_require_wal();
	level = braid_superuser_fix_search_path();
	braid_definition_inputs(&def, &inputs);
	braid_create_claim_tables(inputs.tables);
	SPI_connect();
	check_streams(&def);
	braid_superuser_execute(
		psprintf("UPDATE braid_internal.views SET rebuilds = rebuilds + 1 WHERE id = %d", def.id));
	SPI_finish();
	AtEOXact_GUC(false, level);
}

static void
give_parts(const ViewDefinition *def, const char *owner)
{
	ListCell *lc;

	foreach (lc, braid_definition_states(def->id))
		braid_superuser_execute(psprintf("ALTER TABLE braid_internal.%s OWNER TO %s",
										 get_rel_name(lfirst_oid(lc)), owner));
	braid_superuser_execute(
		psprintf("ALTER VIEW %s OWNER TO %s", braid_definition_query_name(def->id), owner));
	if (OidIsValid(def->time))
		braid_superuser_execute(
			psprintf("ALTER VIEW %s OWNER TO %s", braid_definition_time_name(def->id), owner));
}

void
braid_create_follow_owner(Oid view)
{
	ViewDefinition def;
	ViewDefinition replacement;
	char *owner;
	int level;

	if (!braid_definition_find(view, &def))
		return;
	owner = pstrdup(quote_identifier(GetUserNameFromId(braid_definition_owner(view), false)));
	level = braid_superuser_fix_search_path();
	SPI_connect();
	give_parts(&def, owner);
	if (braid_definition_find_replacement(def.id, &replacement))
	{
		give_parts(&replacement, owner);
		braid_superuser_execute(psprintf("ALTER VIEW braid_internal.%s OWNER TO %s",
										 get_rel_name(replacement.view), owner));
	}
	SPI_finish();
	AtEOXact_GUC(false, level);
}

/* A part has the columns of the view, in the same order. */
static void
rename_column(Oid part, AttrNumber attnum, const char *name)
{
	char *old = get_attname(part, attnum, false);

	if (strcmp(old, name) != 0)
		braid_superuser_execute(psprintf("ALTER VIEW braid_internal.%s RENAME COLUMN %s TO %s",
										 get_rel_name(part), quote_identifier(old),
										 quote_identifier(name)));
}

void
braid_create_follow_column(Oid view, const char *name)
{
	AttrNumber attnum = get_attnum(view, name);
	ViewDefinition def;
	ViewDefinition replacement;
	int level;

	braid_definition_get(view, &def);
	level = braid_superuser_fix_search_path();
	SPI_connect();
	rename_column(def.query, attnum, name);
	if (braid_definition_find_replacement(def.id, &replacement))
	{
		rename_column(replacement.query, attnum, name);
		rename_column(replacement.view, attnum, name);
	}
	SPI_finish();
	AtEOXact_GUC(false, level);
}

static void
move_states(int id, const char *tablespace)
{
	ListCell *lc;

	foreach (lc, braid_definition_states(id))
		run_as_user(psprintf("ALTER TABLE braid_internal.%s SET TABLESPACE %s",
							 get_rel_name(lfirst_oid(lc)), quote_identifier(tablespace)));
}

void
braid_create_move(Oid view, const char *tablespace)
{
	ViewDefinition def;
	ViewDefinition replacement;

	braid_definition_get(view, &def);
	check_owner(view);
	SPI_connect();
	move_states(def.id, tablespace);
	if (braid_definition_find_replacement(def.id, &replacement))
		move_states(replacement.id, tablespace);
	SPI_finish();
}

PG_FUNCTION_INFO_V1(braid_sql_views_changed);

/* Statement trigger on braid_internal.views. */
Datum
braid_sql_views_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("braid_internal.views_changed() must be called as a trigger")));
	braid_capture_request_at_commit(
		RelationGetRelid(((TriggerData *) fcinfo->context)->tg_relation));
	PG_RETURN_POINTER(NULL);
}
