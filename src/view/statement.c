/*
 * statement.c
 *	  SQL statements on continuous views.
 *
 * NOTES
 *	  To the user a continuous view is a materialized view, to PostgreSQL an
 *	  ordinary one.  The hook takes CREATE MATERIALIZED VIEW ... WITH
 *	  (braid.continuous) and REFRESH, and turns the other statements that name a
 *	  continuous view as a materialized one into those on a view.
 */
#include "postgres.h"

#include "access/xact.h"
#include "capture/capture.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "commands/defrem.h"
#include "commands/tablecmds.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "parser/analyze.h"
#include "parser/parser.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/varlena.h"
#include "view/alter_options.h"
#include "view/create.h"
#include "view/definition.h"
#include "view/feed.h"
#include "view/options.h"
#include "view/guard.h"
#include "view/index.h"
#include "view/restore.h"
#include "view/statement.h"

static ProcessUtility_hook_type previous_hook = NULL;

/* ---------------------------------------------------------------- CREATE */

static void
refuse_options(IntoClause *into, ParseState *pstate)
{
	ListCell *lc;

	foreach (lc, into->options)
	{
		DefElem *d = lfirst(lc);

		if (d->defnamespace == NULL || strcmp(d->defnamespace, "braid") != 0)
			ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
							errmsg("storage parameter \"%s\" is not supported for continuous views",
								   d->defname),
							parser_errposition(pstate, d->location)));
	}
	if (into->skipData)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("continuous views do not support WITH NO DATA"),
				 errhint("A continuous view is populated after the commit, while others write.")));
	if (into->tableSpaceName || into->accessMethod)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("continuous views do not support TABLESPACE and USING")));
}

static bool
is_create(Node *stmt)
{
	CreateTableAsStmt *ctas = (CreateTableAsStmt *) stmt;
	ContinuousOptions options = {NULL};

	return IsA(stmt, CreateTableAsStmt) && ctas->objtype == OBJECT_MATVIEW &&
		   braid_options_of_statement(ctas->into->options, &options);
}

static void
run_create(CreateTableAsStmt *ctas, const char *source_text)
{
	ParseState *pstate = make_parsestate(NULL);
	ContinuousOptions options = {NULL};

	pstate->p_sourcetext = source_text;
	refuse_options(ctas->into, pstate);
	(void) braid_options_of_statement(ctas->into->options, &options);
	braid_create(ctas->into->rel, ctas->into->colNames, copyObject(castNode(Query, ctas->query)),
				 &options, ctas->if_not_exists, pstate);
	free_parsestate(pstate);
}

/* ---------------------------------------------------------------- the others */

static bool
is_continuous(RangeVar *name)
{
	Oid relid = name ? RangeVarGetRelid(name, NoLock, true) : InvalidOid;
	ViewDefinition def;

	return OidIsValid(relid) && get_rel_relkind(relid) == RELKIND_VIEW &&
		   braid_definition_find(relid, &def);
}

/*
 * DROP MATERIALIZED VIEW of a list: those that are continuous are dropped as
 * views, in one statement of their own.  Returns it, and leaves the others.
 */
static DropStmt *
split_drop(DropStmt *drop)
{
	DropStmt *views = copyObject(drop);
	ListCell *lc;

	views->removeType = OBJECT_VIEW;
	views->objects = NIL;
	foreach (lc, drop->objects)
	{
		if (!is_continuous(makeRangeVarFromNameList(lfirst(lc))))
			continue;
		views->objects = lappend(views->objects, lfirst(lc));
		drop->objects = foreach_delete_current(drop->objects, lc);
	}
	return views->objects ? views : NULL;
}

/* Turns a statement on a materialized view into one on a view, if it is ours. */
static void
retarget(Node *stmt)
{
	if (IsA(stmt, RenameStmt))
	{
		RenameStmt *s = (RenameStmt *) stmt;

		if (s->renameType == OBJECT_MATVIEW && is_continuous(s->relation))
			s->renameType = OBJECT_VIEW;
		else if (s->relationType == OBJECT_MATVIEW && is_continuous(s->relation))
			s->relationType = OBJECT_VIEW;
	}
	else if (IsA(stmt, AlterObjectSchemaStmt))
	{
		AlterObjectSchemaStmt *s = (AlterObjectSchemaStmt *) stmt;

		if (s->objectType == OBJECT_MATVIEW && is_continuous(s->relation))
			s->objectType = OBJECT_VIEW;
	}
	else if (IsA(stmt, AlterTableStmt))
	{
		AlterTableStmt *s = (AlterTableStmt *) stmt;

		if (s->objtype == OBJECT_MATVIEW && is_continuous(s->relation))
			s->objtype = OBJECT_VIEW;
	}
	else if (IsA(stmt, CommentStmt))
	{
		CommentStmt *s = (CommentStmt *) stmt;

		if (s->objtype == OBJECT_MATVIEW &&
			is_continuous(makeRangeVarFromNameList((List *) s->object)))
			s->objtype = OBJECT_VIEW;
	}
}

/* A statement on a table, as which any relation may be altered, or a view. */
static bool
is_for_relation(ObjectType type)
{
	return type == OBJECT_MATVIEW || type == OBJECT_VIEW || type == OBJECT_TABLE;
}

/* Whether the statement can name a relation that may be ours. */
static bool
is_of_interest(Node *stmt)
{
	switch (nodeTag(stmt))
	{
		case T_DropStmt:
			return ((DropStmt *) stmt)->removeType == OBJECT_MATVIEW;
		case T_RefreshMatViewStmt:
		case T_IndexStmt:
			return true;
		case T_RenameStmt:
			return ((RenameStmt *) stmt)->renameType == OBJECT_MATVIEW ||
				   (((RenameStmt *) stmt)->renameType == OBJECT_COLUMN &&
					is_for_relation(((RenameStmt *) stmt)->relationType));
		case T_AlterObjectSchemaStmt:
			return ((AlterObjectSchemaStmt *) stmt)->objectType == OBJECT_MATVIEW;
		case T_AlterTableStmt:
			return is_for_relation(((AlterTableStmt *) stmt)->objtype);
		case T_ViewStmt:
			return true;
		case T_CopyStmt:
			return braid_guard_is_copy(stmt);
		case T_CommentStmt:
			return ((CommentStmt *) stmt)->objtype == OBJECT_MATVIEW;
		default:
			return false;
	}
}

static void
refuse_replacing(RangeVar *name)
{
	ViewDefinition def;

	braid_definition_get(RangeVarGetRelid(name, NoLock, false), &def);
	if (braid_definition_is_shown(&def))
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("\"%s\" is a continuous view", name->relname),
						errhint("braid.alter_view() gives it another query.")));
}

/* What would make a continuous view something else. */
static void
refuse(Node *stmt)
{
	ListCell *lc;
	ListCell *lc2;

	if (IsA(stmt, ViewStmt) && ((ViewStmt *) stmt)->replace &&
		!braid_restore_is_placeholder((ViewStmt *) stmt) &&
		is_continuous(((ViewStmt *) stmt)->view))
		refuse_replacing(((ViewStmt *) stmt)->view);
	if (!IsA(stmt, AlterTableStmt) || !is_continuous(((AlterTableStmt *) stmt)->relation))
		return;
	foreach (lc, ((AlterTableStmt *) stmt)->cmds)
	{
		AlterTableCmd *cmd = lfirst(lc);

		foreach (lc2, cmd->subtype == AT_SetRelOptions ? (List *) cmd->def : NIL)
			if (strcmp(((DefElem *) lfirst(lc2))->defname, "security_barrier") != 0)
				ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
								errmsg("storage parameter \"%s\" is not supported for continuous "
									   "views",
									   ((DefElem *) lfirst(lc2))->defname)));
	}
}

static bool
changes_owner(Node *stmt)
{
	ListCell *lc;

	if (!IsA(stmt, AlterTableStmt))
		return false;
	foreach (lc, ((AlterTableStmt *) stmt)->cmds)
		if (((AlterTableCmd *) lfirst(lc))->subtype == AT_ChangeOwner)
			return true;
	return false;
}

/* The tablespace of ALTER ... SET TABLESPACE on a view of ours; else NULL. */
static char *
new_tablespace(Node *stmt)
{
	AlterTableStmt *alter = (AlterTableStmt *) stmt;
	AlterTableCmd *cmd;

	if (!IsA(stmt, AlterTableStmt) || list_length(alter->cmds) != 1)
		return NULL;
	cmd = linitial(alter->cmds);
	return cmd->subtype == AT_SetTableSpace && is_continuous(alter->relation) ? cmd->name : NULL;
}

static bool
is_table(char relkind)
{
	return relkind == RELKIND_RELATION || relkind == RELKIND_PARTITIONED_TABLE ||
		   relkind == RELKIND_FOREIGN_TABLE;
}

/* Changes options of ours.  Returns whether anything is left of the statement. */
static bool
alter_options(Node *stmt)
{
	AlterTableStmt *alter = (AlterTableStmt *) stmt;
	Oid relid;

	if (!IsA(stmt, AlterTableStmt) || !braid_alter_options_are_named(alter))
		return true;
	if (is_continuous(alter->relation))
		return braid_alter_options(RangeVarGetRelid(alter->relation, NoLock, false), alter);
	relid = RangeVarGetRelid(alter->relation, NoLock, true);
	if (!OidIsValid(braid_definition_catalog()) || !OidIsValid(relid) ||
		!is_table(get_rel_relkind(relid)))
		return true;
	return braid_alter_options_of_table(
		RangeVarGetRelidExtended(alter->relation, ShareUpdateExclusiveLock, 0,
								 RangeVarCallbackOwnsRelation, NULL),
		alter);
}

static void
call_previous(PlannedStmt *pstmt, const char *source_text, bool read_only_tree,
			  ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *env,
			  DestReceiver *dest, QueryCompletion *qc)
{
	if (previous_hook)
		previous_hook(pstmt, source_text, read_only_tree, context, params, env, dest, qc);
	else
		standard_ProcessUtility(pstmt, source_text, read_only_tree, context, params, env, dest, qc);
}

/* CREATE VIEW, if it may be part of a restore. */
static void
run_create_view(PlannedStmt *pstmt, const char *source_text, bool read_only_tree,
				ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *env,
				DestReceiver *dest, QueryCompletion *qc)
{
	ViewStmt *stmt = (ViewStmt *) pstmt->utilityStmt;
	ViewDefinition def;
	bool take_apart = braid_restore_is_placeholder(stmt) && is_continuous(stmt->view);

	braid_restore_require_states(stmt);
	if (take_apart)
		braid_definition_get(RangeVarGetRelid(stmt->view, NoLock, false), &def);
	call_previous(pstmt, source_text, read_only_tree, context, params, env, dest, qc);
	if (take_apart)
		braid_restore_take_apart(&def);
}

/* COPY into a state that is kept: reads the rows of a dump, and takes none. */
static void
run_copy(PlannedStmt *pstmt, const char *source_text, ProcessUtilityContext context,
		 ParamListInfo params, QueryEnvironment *env, DestReceiver *dest, QueryCompletion *qc)
{
	RawStmt *none = linitial_node(RawStmt, raw_parser("SELECT WHERE false", RAW_PARSE_DEFAULT));

	pstmt = copyObject(pstmt);
	((CopyStmt *) pstmt->utilityStmt)->whereClause = castNode(SelectStmt, none->stmt)->whereClause;
	call_previous(pstmt, source_text, false, context, params, env, dest, qc);
}

/* CREATE INDEX: as superuser, since the state is where users may make nothing. */
static void
run_create_index(PlannedStmt *pstmt, const char *source_text, ProcessUtilityContext context,
				 ParamListInfo params, QueryEnvironment *env, DestReceiver *dest,
				 QueryCompletion *qc)
{
	IndexStmt *stmt;
	Oid user;
	int security;

	pstmt = copyObject(pstmt);
	stmt = (IndexStmt *) pstmt->utilityStmt;
	braid_index_retarget(stmt, RangeVarGetRelid(stmt->relation, NoLock, false));
	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, security | SECURITY_LOCAL_USERID_CHANGE);
	call_previous(pstmt, source_text, false, context, params, env, dest, qc);
	SetUserIdAndSecContext(user, security);
}

/* A column was renamed, of a view of ours or of another relation. */
static void
follow_column(RenameStmt *rename)
{
	Oid relid = RangeVarGetRelid(rename->relation, NoLock, true);

	if (!OidIsValid(relid))
		return;
	if (is_continuous(rename->relation))
		braid_create_follow_column(relid, rename->newname);
	braid_feed_follow_column(relid, rename->subname, rename->newname);
}

static void
process_utility(PlannedStmt *pstmt, const char *source_text, bool read_only_tree,
				ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *env,
				DestReceiver *dest, QueryCompletion *qc)
{
	Node *stmt = pstmt->utilityStmt;
	DropStmt *views;
	bool is_about_parts;

	if (is_create(stmt))
	{
		run_create((CreateTableAsStmt *) stmt, source_text);
		return;
	}
	if (IsA(stmt, TransactionStmt) &&
		((TransactionStmt *) stmt)->kind == TRANS_STMT_COMMIT_PREPARED)
		braid_capture_wake_at_commit();
	if (!IsAbortedTransactionBlockState())
		braid_guard_check(stmt);
	if (!is_of_interest(stmt) || IsAbortedTransactionBlockState())
	{
		call_previous(pstmt, source_text, read_only_tree, context, params, env, dest, qc);
		return;
	}

	/* Running a statement may change its tree. */
	is_about_parts = braid_restore_is_about_parts(stmt);
	if (IsA(stmt, RefreshMatViewStmt) && is_continuous(((RefreshMatViewStmt *) stmt)->relation))
	{
		braid_create_again(
			RangeVarGetRelid(((RefreshMatViewStmt *) stmt)->relation, NoLock, false));
		return;
	}

	if (new_tablespace(stmt))
	{
		braid_create_move(RangeVarGetRelid(((AlterTableStmt *) stmt)->relation, NoLock, false),
						  new_tablespace(stmt));
		return;
	}
	if (IsA(stmt, IndexStmt))
	{
		if (is_continuous(((IndexStmt *) stmt)->relation))
			run_create_index(pstmt, source_text, context, params, env, dest, qc);
		else
			call_previous(pstmt, source_text, read_only_tree, context, params, env, dest, qc);
		if (is_about_parts)
			braid_restore_follow();
		return;
	}

	if (IsA(stmt, CopyStmt))
	{
		run_copy(pstmt, source_text, context, params, env, dest, qc);
		return;
	}

	if (IsA(stmt, ViewStmt))
	{
		refuse(stmt);
		run_create_view(pstmt, source_text, read_only_tree, context, params, env, dest, qc);
		if (is_about_parts)
			braid_restore_follow();
		return;
	}

	pstmt = copyObject(pstmt);
	stmt = pstmt->utilityStmt;
	if (!alter_options(stmt))
		return;
	refuse(stmt);
	retarget(stmt);
	if (IsA(stmt, DropStmt) && (views = split_drop((DropStmt *) stmt)) != NULL)
	{
		PlannedStmt *drop_views = copyObject(pstmt);

		drop_views->utilityStmt = (Node *) views;
		call_previous(drop_views, source_text, read_only_tree, context, params, env, dest, qc);
		if (((DropStmt *) stmt)->objects == NIL)
			return;
		CommandCounterIncrement();
	}
	call_previous(pstmt, source_text, read_only_tree, context, params, env, dest, qc);
	if (changes_owner(stmt) && is_continuous(((AlterTableStmt *) stmt)->relation))
		braid_create_follow_owner(
			RangeVarGetRelid(((AlterTableStmt *) stmt)->relation, NoLock, false));
	if (IsA(stmt, RenameStmt) && ((RenameStmt *) stmt)->renameType == OBJECT_COLUMN)
		follow_column((RenameStmt *) stmt);
}

void
braid_statement_init(void)
{
	previous_hook = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
}

/* ---------------------------------------------------------------- functions */

void
braid_statement_move_error_position(void *arg)
{
	int position = geterrposition();

	if (position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery((const char *) arg);
	}
}

Query *
braid_statement_analyze(const char *text)
{
	List *parsed = raw_parser(text, RAW_PARSE_DEFAULT);

	if (list_length(parsed) != 1 || !IsA(linitial_node(RawStmt, parsed)->stmt, SelectStmt))
		ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR),
						errmsg("the query of a continuous view must be one SELECT")));
	return parse_analyze_fixedparams(linitial_node(RawStmt, parsed), text, NULL, 0, NULL);
}

PG_FUNCTION_INFO_V1(braid_sql_create_view);

/* braid.create_view(name text, query text, options jsonb) */
Datum
braid_sql_create_view(PG_FUNCTION_ARGS)
{
	char *query = text_to_cstring(PG_GETARG_TEXT_PP(1));
	RangeVar *name = makeRangeVarFromNameList(textToQualifiedNameList(PG_GETARG_TEXT_PP(0)));
	ErrorContextCallback callback = {error_context_stack, braid_statement_move_error_position,
									 query};
	ParseState *pstate = make_parsestate(NULL);
	ContinuousOptions options = {NULL};
	Oid view;

	braid_options_of_json(PG_GETARG_JSONB_P(2), &options);
	error_context_stack = &callback;
	pstate->p_sourcetext = query;
	view = braid_create(name, NIL, braid_statement_analyze(query), &options, false, pstate);
	error_context_stack = callback.previous;
	free_parsestate(pstate);
	PG_RETURN_OID(view);
}

PG_FUNCTION_INFO_V1(braid_sql_drop_view);

/* braid.drop_view(view regclass) */
Datum
braid_sql_drop_view(PG_FUNCTION_ARGS)
{
	Oid view = PG_GETARG_OID(0);
	ViewDefinition def;
	DropStmt *drop = makeNode(DropStmt);

	braid_definition_get(view, &def);
	drop->removeType = OBJECT_VIEW;
	drop->objects = list_make1(list_make2(makeString(get_namespace_name(get_rel_namespace(view))),
										  makeString(get_rel_name(view))));
	drop->behavior = DROP_RESTRICT;
	RemoveRelations(drop);
	PG_RETURN_VOID();
}
