/*
 * guard.c
 *	  Keeps users' statements off the parts of continuous views.
 *
 * NOTES
 *	  States and queries belong to the view's owner, who could do with them what he
 *	  likes, and would have a view that is wrong, or one that the worker cannot
 *	  follow.  PostgreSQL itself refuses to drop them.  What else would change them
 *	  is refused here: by the owner, by a superuser, and by the restore of a dump
 *	  into a database in which the view is alive.  How they are stored, and what is
 *	  done to them as to any table (VACUUM FULL, REINDEX, CLUSTER), is free.
 *
 *	  A relation counts as a part once it is bound to its view, so that a restore
 *	  can fill what is not followed yet.  braid's own commands are not stopped:
 *	  they run in background workers, or as superuser by way of superuser.c.  Who
 *	  may set allow_system_table_mods can do what he likes, here as elsewhere.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"
#include "view/definition.h"
#include "view/guard.h"
#include "view/options.h"

static ExecutorStart_hook_type previous_hook = NULL;

static bool
is_free(void)
{
	return MyBackendType == B_BG_WORKER || allowSystemTableMods ||
		   (GetUserId() == BOOTSTRAP_SUPERUSERID && InLocalUserIdChange());
}

static void
refuse(const char *name, const ViewDefinition *def)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("\"%s\" is kept by continuous view \"%s\"", name, get_rel_name(def->view)),
			 errhint("Alter the view, or drop it.")));
}

/* The view that a relation, or the table of an index, is part of. */
static bool
find_view(Oid relid, ViewDefinition *def)
{
	char kind = OidIsValid(relid) ? get_rel_relkind(relid) : '\0';

	if (kind == RELKIND_INDEX)
		relid = braid_definition_table_of_key(relid);
	return OidIsValid(relid) && kind != '\0' && braid_definition_find_by_part(relid, def);
}

static void
check(RangeVar *name)
{
	Oid relid = name ? RangeVarGetRelid(name, NoLock, true) : InvalidOid;
	ViewDefinition def;

	if (OidIsValid(relid) && find_view(relid, &def))
		refuse(name->relname, &def);
}

static void
check_list(List *names)
{
	ListCell *lc;

	foreach (lc, names)
		check(IsA(lfirst(lc), List) ? makeRangeVarFromNameList(lfirst(lc)) : lfirst(lc));
}

/* Whether all of an ALTER TABLE is about how it is stored. */
static bool
is_about_storage(AlterTableStmt *stmt)
{
	ListCell *lc;

	foreach (lc, stmt->cmds)
	{
		switch (((AlterTableCmd *) lfirst(lc))->subtype)
		{
			case AT_SetRelOptions:
			case AT_ResetRelOptions:
			case AT_SetOptions:
			case AT_ResetOptions:
			case AT_SetStatistics:
			case AT_SetStorage:
			case AT_SetCompression:
			case AT_SetTableSpace:
			case AT_ClusterOn:
			case AT_DropCluster:
				break;
			default:
				return false;
		}
	}
	return true;
}

void
braid_guard_check(Node *stmt)
{
	if (is_free())
		return;
	switch (nodeTag(stmt))
	{
		case T_AlterTableStmt:
			if (!is_about_storage((AlterTableStmt *) stmt))
				check(((AlterTableStmt *) stmt)->relation);
			break;
		case T_RenameStmt:
			check(((RenameStmt *) stmt)->relation);
			break;
		case T_AlterObjectSchemaStmt:
			check(((AlterObjectSchemaStmt *) stmt)->relation);
			break;
		case T_DropStmt:
			if (((DropStmt *) stmt)->removeType == OBJECT_INDEX)
				check_list(((DropStmt *) stmt)->objects);
			break;
		case T_TruncateStmt:
			check_list(((TruncateStmt *) stmt)->relations);
			break;
		case T_ViewStmt:
			if (((ViewStmt *) stmt)->replace)
				check(((ViewStmt *) stmt)->view);
			break;
		case T_CreateTrigStmt:
			check(((CreateTrigStmt *) stmt)->relation);
			break;
		case T_RuleStmt:
			check(((RuleStmt *) stmt)->relation);
			break;
		case T_CreatePolicyStmt:
			check(((CreatePolicyStmt *) stmt)->table);
			break;
		case T_CommentStmt:
			if (((CommentStmt *) stmt)->objtype == OBJECT_VIEW)
				check(makeRangeVarFromNameList((List *) ((CommentStmt *) stmt)->object));
			break;
		default:
			break;
	}
}

bool
braid_guard_is_copy(Node *stmt)
{
	CopyStmt *copy = (CopyStmt *) stmt;
	ViewDefinition def;

	if (!IsA(stmt, CopyStmt) || !copy->is_from || is_free() ||
		!find_view(RangeVarGetRelid(copy->relation, NoLock, true), &def))
		return false;
	if (def.options && braid_options_freezes(&def.options->time))
		ereport(WARNING,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("rows of \"%s\" are not loaded, as it is kept by continuous view \"%s\"",
						copy->relation->relname, get_rel_name(def.view)),
				 errdetail("Closed groups whose rows have gone from the tables are lost."),
				 errhint("Restore schema and data together.")));
	return true;
}

/* INSERT, UPDATE, DELETE and MERGE. */
static void
executor_start(QueryDesc *desc, int eflags)
{
	PlannedStmt *stmt = desc->plannedstmt;
	ListCell *lc;

	foreach (lc, stmt->resultRelations)
	{
		Oid relid = rt_fetch(lfirst_int(lc), stmt->rtable)->relid;
		ViewDefinition def;

		if (!is_free() && find_view(relid, &def))
			refuse(get_rel_name(relid), &def);
	}
	if (previous_hook)
		previous_hook(desc, eflags);
	else
		standard_ExecutorStart(desc, eflags);
}

void
braid_guard_init(void)
{
	previous_hook = ExecutorStart_hook;
	ExecutorStart_hook = executor_start;
}
