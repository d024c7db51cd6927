/*
 * alter_options.c
 *	  Options of a continuous view that can be changed: ALTER MATERIALIZED VIEW ...
 *	  SET (braid.read = ...) and RESET (braid.read).
 */
#include "postgres.h"

#include "commands/defrem.h"
#include "common/compat.h"
#include "common/superuser.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "view/alter_options.h"
#include "view/definition.h"
#include "view/options.h"

static bool
is_ours(const DefElem *option)
{
	return option->defnamespace && strcmp(option->defnamespace, "braid") == 0;
}

static bool
is_set_or_reset(const AlterTableCmd *cmd)
{
	return cmd->subtype == AT_SetRelOptions || cmd->subtype == AT_ResetRelOptions;
}

bool
braid_alter_options_are_named(const AlterTableStmt *alter)
{
	ListCell *lc;
	ListCell *lc2;

	foreach (lc, alter->cmds)
	{
		AlterTableCmd *cmd = lfirst(lc);

		foreach (lc2, is_set_or_reset(cmd) ? (List *) cmd->def : NIL)
			if (is_ours(lfirst(lc2)))
				return true;
	}
	return false;
}

/* What makes the column "options" what it shall be. */
static char *
expression(const ViewDefinition *def, DefElem *option, bool reset)
{
	char *value;

	if (strcmp(option->defname, "read") != 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("parameter \"braid.%s\" of a continuous view cannot be changed",
							   option->defname),
						errhint("The only one that can be is braid.read.")));
	if (reset)
		return "options - 'read'";
	value = defGetString(option);
	braid_options_check_read(value);
	if (def->has_schedule && strcmp(value, "eventual") != 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("continuous view \"%s\" is recomputed on a schedule",
							   get_rel_name(def->view)),
						errdetail("It shows what was there when it was computed last.")));
	return psprintf("options || '{\"read\": \"%s\"}'", value);
}

/* The view's own row, and that of what will take its place. */
static void
store(const ViewDefinition *def, const char *options)
{
	int level = braid_definition_fix_search_path();

	SPI_connect();
	braid_superuser_execute(
		psprintf("UPDATE braid_internal.views SET options = %s WHERE id = %d OR replaces = %d",
				 options, def->id, def->id));
	SPI_finish();
	AtEOXact_GUC(false, level);
}

bool
braid_alter_options(Oid view, AlterTableStmt *alter)
{
	ViewDefinition def;
	ListCell *lc;
	ListCell *lc2;

	braid_definition_get(view, &def);
	if (!braid_compat_is_relation_owner(view, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_VIEW, get_rel_name(view));
	foreach (lc, alter->cmds)
	{
		AlterTableCmd *cmd = lfirst(lc);
		List *options = (List *) cmd->def;

		if (!is_set_or_reset(cmd))
			continue;
		foreach (lc2, options)
		{
			DefElem *option = lfirst(lc2);

			if (!is_ours(option))
				continue;
			store(&def, expression(&def, option, cmd->subtype == AT_ResetRelOptions));
			options = foreach_delete_current(options, lc2);
		}
		cmd->def = (Node *) options;
		if (options == NIL)
			alter->cmds = foreach_delete_current(alter->cmds, lc);
	}
	return alter->cmds != NIL;
}
