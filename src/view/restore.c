/*
 * restore.c
 *	  Dumps and restores, in which the parts of a continuous view come one by one.
 *
 * NOTES
 *	  pg_dump knows nothing of continuous views.  It dumps the visible view, the
 *	  query and the states as what they are, and the rows of braid_internal.views
 *	  as configuration of the extension: but only with the extension, and never
 *	  with --schema-only.  So what a row says is also in the comment on the query,
 *	  written by a trigger on the table.  If the parts are there and the row is
 *	  not, the worker makes it from that comment.
 *
 *	  The order in a dump: visible views as placeholders, a row of nulls, because
 *	  they and their states depend on each other; queries and empty states; all
 *	  rows of tables; indexes of the states, and what the visible views show.
 *	  pg_restore -j loads rows and makes indexes side by side.  Therefore:
 *
 *	  -	A view is not touched before its states are indexed and shown: until then
 *		rows may still be loaded into them (also keeper.c).
 *	  -	The worker adds rows under a lock that COPY into the table conflicts with,
 *		and COPY skips a row that says what is there already.
 *	  -	pg_dump --clean begins with the placeholders.  The view that is replaced by
 *		one ceases to be a continuous view, and its parts, which go one by one
 *		after it, are ordinary from then on.
 *
 *	  The comment can be altered by the view's owner, so it is not trusted beyond
 *	  what he may choose himself, and whatever is wrong with it harms only his view.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "capture/capture.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/comment.h"
#include "commands/trigger.h"
#include "common/superuser.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "view/attempt.h"
#include "view/event_time.h"
#include "view/feed.h"
#include "view/keeper.h"
#include "view/options.h"
#include "view/restore.h"

#define SCHEMA_NAME "braid_internal"

/* ---------------------------------------------------------------- what is written down */

/* Comments on the query of a row of braid_internal.views with what the row says. */
static void
describe(int id)
{
	Oid query = braid_definition_part(braid_definition_query_name(id));

	if (!OidIsValid(query))
		return;
	braid_superuser_execute(psprintf("SELECT 'braid: query of a continuous view; ' || "
									 "(to_jsonb(v) - '{id,view,rebuilds}'::text[])::text "
									 "FROM braid_internal.views v WHERE id = %d",
									 id));
	if (SPI_processed == 1)
		CreateComments(query, RelationRelationId, 0,
					   SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
}

PG_FUNCTION_INFO_V1(braid_sql_view_described);

/* Row trigger on braid_internal.views, after. */
Datum
braid_sql_view_described(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	HeapTuple row;
	bool isnull;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("braid_internal.view_described() must be called as a trigger")));
	row = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple : trigger->tg_trigtuple;
	SPI_connect();
	describe(DatumGetInt32(SPI_getbinval(row, RelationGetDescr(trigger->tg_relation), 1, &isnull)));
	SPI_finish();
	PG_RETURN_POINTER(NULL);
}

PG_FUNCTION_INFO_V1(braid_sql_view_is_new);

/* Row trigger on braid_internal.views, before INSERT: skips what is there already. */
Datum
braid_sql_view_is_new(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	TupleDesc desc;
	ViewDefinition def;
	bool isnull;
	int id;
	Oid view;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("braid_internal.view_is_new() must be called as a trigger")));
	desc = RelationGetDescr(trigger->tg_relation);
	id = DatumGetInt32(SPI_getbinval(trigger->tg_trigtuple, desc, 1, &isnull));
	view = DatumGetObjectId(SPI_getbinval(trigger->tg_trigtuple, desc, 2, &isnull));
	if (braid_definition_find(view, &def) && def.id == id)
		PG_RETURN_POINTER(NULL);
	PG_RETURN_POINTER(trigger->tg_trigtuple);
}

/* ---------------------------------------------------------------- what is read again */

/*
 * Queries without a row whose view can be told: the only view in the database
 * that reads the states and has the query's owner and columns.  The states must
 * be complete, and their indexes made.
 */
#define UNDEFINED_QUERY                                                                            \
	"WITH q AS ("                                                                                  \
	"	SELECT q.oid, q.relowner, substr(q.relname, 7)::int AS id"                                   \
	"	FROM pg_class q"                                                                             \
	"	WHERE q.relname >= 'query_' AND q.relname < 'query`' AND q.relname ~ '^query_[0-9]{1,9}$'"   \
	"		AND q.relnamespace = 'braid_internal'::regnamespace AND q.relkind = 'v'"                    \
	"		AND NOT EXISTS (SELECT FROM braid_internal.views v"                                         \
	"			WHERE v.id = substr(q.relname, 7)::int)),"                                                 \
	"s AS ("                                                                                       \
	"	SELECT q.id, s.oid, s.relhasindex"                                                           \
	"	FROM q JOIN pg_class s ON s.relname ~ ('^state_' || q.id || '_[0-9]+$')"                     \
	"		AND s.relname >= 'state_' AND s.relname < 'state`'"                                         \
	"		AND s.relnamespace = 'braid_internal'::regnamespace AND s.relkind = 'r'),"                  \
	"v AS ("                                                                                       \
	"	SELECT DISTINCT q.id, v.oid"                                                                 \
	"	FROM q JOIN s ON s.id = q.id"                                                                \
	"		JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass"                                     \
	"			AND d.refclassid = 'pg_class'::regclass AND d.refobjid = s.oid"                            \
	"		JOIN pg_rewrite r ON r.oid = d.objid"                                                       \
	"		JOIN pg_class v ON v.oid = r.ev_class AND v.relkind = 'v' AND v.relowner = q.relowner"      \
	"	WHERE NOT EXISTS (SELECT FROM"                                                               \
	"			(SELECT attnum, attname FROM pg_attribute WHERE attrelid = v.oid) a"                       \
	"			FULL JOIN (SELECT attnum, attname FROM pg_attribute WHERE attrelid = q.oid) b"             \
	"				USING (attnum, attname) WHERE a.* IS NULL OR b.* IS NULL)) "                              \
	"SELECT q.id, min(v.oid::text)::oid, obj_description(q.oid, 'pg_class') "                      \
	"FROM q JOIN v ON v.id = q.id "                                                                \
	"WHERE NOT EXISTS (SELECT FROM s WHERE s.id = q.id AND NOT s.relhasindex) "                    \
	"GROUP BY q.id, q.oid HAVING count(*) = 1"

#define DEFINE_VIEW                                                                                \
	"INSERT INTO braid_internal.views "                                                            \
	"(id, view, settings, options, paused, replaces, made_for, made_from, valid_since) "           \
	"SELECT $1, $2, ARRAY(SELECT s FROM jsonb_array_elements_text($3->'settings') s),"             \
	"	$3->'options', ($3->>'paused')::boolean, ($3->>'replaces')::int,"                            \
	"	$3->>'made_for', $3->>'made_from', nullif($3->'valid_since', 'null')"                        \
	"FROM (SELECT array_agg(name ORDER BY n) AS names"                                             \
	"	FROM jsonb_array_elements_text($3->'settings') WITH ORDINALITY s (name, n)"                  \
	"	WHERE n % 2 = 1) s "                                                                         \
	"WHERE names <@ ARRAY['TimeZone', 'DateStyle', 'IntervalStyle', 'extra_float_digits']"

typedef struct Undefined
{
	int id;
	Oid view;
	char *comment; /* of the query, or NULL */
} Undefined;

/* Raises whatever is wrong with the options, as CREATE would. */
static void
check_options(Jsonb *row)
{
	ContinuousOptions options = {NULL};
	JsonbValue name = {.type = jbvString, .val.string = {.val = "options", .len = 7}};
	JsonbValue *value = findJsonbValueFromContainer(&row->root, JB_FOBJECT, &name);
	int level = NewGUCNestLevel();

	if (value == NULL)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED), errmsg("there are no options")));
	(void) set_config_option("braid.allow_recompute", "on", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	braid_options_of_json(JsonbValueToJsonb(value), &options);
	AtEOXact_GUC(false, level);
}

static void
define(void *arg)
{
	Undefined *u = arg;
	char *json = u->comment ? strchr(u->comment, '{') : NULL;
	Datum args[3];
	Oid types[3] = {INT4OID, OIDOID, JSONBOID};

	if (json == NULL)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("the comment on braid_internal.query_%d is missing", u->id)));
	args[0] = Int32GetDatum(u->id);
	args[1] = ObjectIdGetDatum(u->view);
	args[2] = DirectFunctionCall1(jsonb_in, CStringGetDatum(json));
	check_options(DatumGetJsonbP(args[2]));
	SPI_execute_with_args(DEFINE_VIEW, 3, types, args, NULL, false, 0);
	if (SPI_processed == 1)
		ereport(LOG, (errmsg("continuous view \"%s\" was restored", get_rel_name(u->view))));
}

void
braid_restore_define_all(void)
{
	List *found = NIL;
	ListCell *lc;

	SPI_execute(UNDEFINED_QUERY, false, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple row = SPI_tuptable->vals[i];
		TupleDesc desc = SPI_tuptable->tupdesc;
		Undefined *u = palloc(sizeof(Undefined));
		bool isnull;

		u->id = DatumGetInt32(SPI_getbinval(row, desc, 1, &isnull));
		u->view = DatumGetObjectId(SPI_getbinval(row, desc, 2, &isnull));
		u->comment = SPI_getvalue(row, desc, 3);
		found = lappend(found, u);
	}
	if (found == NIL)
		return;
	if (!ConditionalLockRelationOid(braid_definition_catalog(), ShareRowExclusiveLock))
	{
		braid_capture_load_again(); /* rows are being loaded */
		return;
	}
	foreach (lc, found)
	{
		Undefined *u = lfirst(lc);
		char *error = braid_attempt(define, u);

		if (error)
			ereport(LOG, (errmsg("continuous view \"%s\" could not be restored: %s",
								 get_rel_name(u->view), error),
						  errhint("Drop it, and create it again.")));
	}
}

/* ---------------------------------------------------------------- statements of a dump */

static bool
is_null_of_a_type(Node *node)
{
	if (IsA(node, CollateClause))
		node = ((CollateClause *) node)->arg;
	return IsA(node, TypeCast) && IsA(((TypeCast *) node)->arg, A_Const) &&
		   ((A_Const *) ((TypeCast *) node)->arg)->isnull;
}

bool
braid_restore_is_placeholder(const ViewStmt *stmt)
{
	SelectStmt *select = (SelectStmt *) stmt->query;
	ListCell *lc;

	if (!stmt->replace || !IsA(select, SelectStmt) || select->op != SETOP_NONE ||
		select->fromClause || select->valuesLists || select->whereClause)
		return false;
	foreach (lc, select->targetList)
		if (!is_null_of_a_type(lfirst_node(ResTarget, lc)->val))
			return false;
	return true;
}

void
braid_restore_take_apart(const ViewDefinition *def)
{
	int level = braid_superuser_fix_search_path();

	SPI_connect();
	braid_definition_unbind(def);
	braid_superuser_execute(psprintf("DELETE FROM braid_internal.views WHERE id = %d", def->id));
	SPI_finish();
	AtEOXact_GUC(false, level);
}

/* Whether a raw tree names a relation in braid_internal; with missing, one that is not there. */
typedef struct PartsSearch
{
	bool missing;
	RangeVar *found;
} PartsSearch;

static bool
find_part(Node *node, PartsSearch *search)
{
	RangeVar *name = (RangeVar *) node;

	if (node == NULL)
		return false;
	if (!IsA(node, RangeVar))
		return raw_expression_tree_walker(node, find_part, search);
	if (name->schemaname == NULL || strcmp(name->schemaname, SCHEMA_NAME) != 0)
		return false;
	if (search->missing && OidIsValid(RangeVarGetRelid(name, NoLock, true)))
		return false;
	search->found = name;
	return true;
}

bool
braid_restore_is_about_parts(Node *stmt)
{
	PartsSearch search = {false, NULL};

	if (IsA(stmt, ViewStmt))
		return find_part((Node *) ((ViewStmt *) stmt)->view, &search) ||
			   find_part(((ViewStmt *) stmt)->query, &search);
	if (IsA(stmt, IndexStmt))
		return find_part((Node *) ((IndexStmt *) stmt)->relation, &search);
	return false;
}

void
braid_restore_follow(void)
{
	Oid catalog = braid_definition_catalog();

	if (OidIsValid(catalog) && MyBackendType != B_BG_WORKER)
		braid_capture_request_at_commit(catalog);
}

void
braid_restore_require_states(const ViewStmt *stmt)
{
	PartsSearch search = {true, NULL};

	if (!find_part(stmt->query, &search) || strncmp(search.found->relname, "state_", 6) != 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE),
			 errmsg("relation \"%s.%s\" does not exist", SCHEMA_NAME, search.found->relname),
			 errdetail("Continuous view \"%s\" stands on it.", stmt->view->relname),
			 errhint("Where the view is, SELECT braid.definition(%s) returns the statement that "
					 "makes it anew.",
					 quote_literal_cstr(quote_qualified_identifier(stmt->view->schemaname,
																   stmt->view->relname)))));
}

/* ---------------------------------------------------------------- a view alone */

PG_FUNCTION_INFO_V1(braid_sql_definition);

/* braid.definition(view regclass) */
Datum
braid_sql_definition(PG_FUNCTION_ARGS)
{
	ViewDefinition def;
	Datum args[4];
	Oid types[4] = {INT4OID, REGCLASSOID, TEXTOID, TEXTOID};
	char *watermark;
	text *statement;
	bool isnull;

	braid_definition_get(PG_GETARG_OID(0), &def);
	args[0] = Int32GetDatum(def.id);
	args[1] = ObjectIdGetDatum(def.view);
	watermark = braid_event_time_text(&def);
	args[2] = CStringGetTextDatum(watermark ? watermark : "");
	args[3] = CStringGetTextDatum(braid_feed_clause(def.view));
	SPI_connect();
	SPI_execute_with_args(
		"SELECT format(E'CREATE MATERIALIZED VIEW %s WITH (braid.continuous%s%s) AS\\n%s', $2, "
		"(SELECT string_agg(format(', braid.%s = %L', key, "
		"CASE key WHEN 'watermark' THEN $3 ELSE value END), '' ORDER BY key) "
		"FROM jsonb_each_text(options)), $4, "
		"pg_get_viewdef(('braid_internal.query_' || id)::regclass)) "
		"FROM braid_internal.views WHERE id = $1",
		4, types, args, NULL, true, 1);
	statement =
		DatumGetTextPP(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	statement = DatumGetTextPP(SPI_datumTransfer(PointerGetDatum(statement), false, -1));
	SPI_finish();
	PG_RETURN_TEXT_P(statement);
}
