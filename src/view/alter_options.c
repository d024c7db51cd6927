/*
 * alter_options.c
 *	  Options of a continuous view that can be changed: ALTER MATERIALIZED VIEW ...
 *	  SET (braid.read = ...) and RESET (braid.read).
 *
 * NOTES
 *	  How a view is read is nothing but a word in its row.  Options of event time
 *	  can change what it shows, or its states: see alter.c.
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
#include "storage/lmgr.h"
#include "view/alter.h"
#include "view/alter_options.h"
#include "view/definition.h"
#include "view/event_time.h"
#include "view/feed.h"
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

static void
check_read(const ViewDefinition *def, const char *value)
{
	braid_options_check_read(value);
	if (def->has_schedule && strcmp(value, "eventual") != 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("continuous view \"%s\" is recomputed on a schedule",
							   get_rel_name(def->view)),
						errdetail("It shows what was there when it was computed last.")));
}

/* What makes the column "options" what it shall be. */
static char *
expression(const ViewDefinition *def, DefElem *option, bool reset)
{
	if (reset)
		return "options - 'read'";
	check_read(def, defGetString(option));
	return psprintf("options || '{\"read\": \"%s\"}'", defGetString(option));
}

/* The view's own row, and that of what will take its place. */
static void
store(const ViewDefinition *def, const char *options)
{
	int level = braid_superuser_fix_search_path();

	SPI_connect();
	braid_superuser_execute(
		psprintf("UPDATE braid_internal.views SET options = %s WHERE id = %d OR replaces = %d",
				 options, def->id, def->id));
	SPI_finish();
	AtEOXact_GUC(false, level);
}

/* An option of event time; an error if it is one that cannot be changed. */
static bool
is_of_time(const DefElem *option)
{
	if (strcmp(option->defname, "read") == 0)
		return false;
	if (strcmp(option->defname, "schedule") == 0 || strcmp(option->defname, "continuous") == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("parameter \"braid.%s\" of a continuous view cannot be changed",
							   option->defname),
						errhint("Make another view.")));
	return true;
}

static bool
is_same_watermark(const ContinuousOptions *a, const ContinuousOptions *b)
{
	return a->time.watermark && b->time.watermark &&
		   strcmp(a->time.watermark, b->time.watermark) == 0;
}

/* A feed is none of the view's options, though it is given as one. */
static void
change_feed(Oid relation, List *set, List *reset)
{
	const char *topic = NULL;
	const char *key = NULL;
	ListCell *lc;

	foreach (lc, reset)
		braid_feed_reset(relation, strcmp(((DefElem *) lfirst(lc))->defname, "feed") != 0);
	foreach (lc, set)
	{
		DefElem *option = lfirst(lc);

		*(strcmp(option->defname, "feed") == 0 ? &topic : &key) = defGetString(option);
	}
	if (topic || key)
		braid_feed_set(relation, topic, key);
}

/* All options of event time together: what they are in between need not fit. */
static void
change_time(ViewDefinition *def, List *set, List *reset)
{
	ContinuousOptions options = *def->options;
	Query *sources = NULL;

	if (set == NIL && reset == NIL)
		return;
	if (def->paused)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("continuous view \"%s\" is paused", get_rel_name(def->view)),
						errhint("Call braid.resume() first.")));
	braid_options_change(&options, set, reset);
	if (!is_same_watermark(&options, def->options))
		sources = braid_event_time_analyze(&options, braid_definition_query(def->query));
	(void) braid_alter_to(def, &options, sources);
}

/* A table has no other options of ours. */
static void
check_option_of_table(const DefElem *option)
{
	if (!braid_feed_is_option(option->defname))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("unrecognized parameter \"braid.%s\"", option->defname),
						errhint("The parameters of a table are braid.feed and braid.feed_key.")));
}

/* Takes the options that are ours out of the statement. */
static void
take_options(AlterTableStmt *alter, List **set, List **reset)
{
	ListCell *lc;
	ListCell *lc2;

	foreach (lc, alter->cmds)
	{
		AlterTableCmd *cmd = lfirst(lc);
		List **taken = cmd->subtype == AT_ResetRelOptions ? reset : set;
		List *options = (List *) cmd->def;

		if (!is_set_or_reset(cmd))
			continue;
		foreach (lc2, options)
		{
			if (!is_ours(lfirst(lc2)))
				continue;
			*taken = lappend(*taken, lfirst(lc2));
			options = foreach_delete_current(options, lc2);
		}
		cmd->def = (Node *) options;
		if (options == NIL)
			alter->cmds = foreach_delete_current(alter->cmds, lc);
	}
}

bool
braid_alter_options_of_table(Oid table, AlterTableStmt *alter)
{
	List *set = NIL;
	List *reset = NIL;
	ListCell *lc;

	take_options(alter, &set, &reset);
	foreach (lc, set)
		check_option_of_table(lfirst(lc));
	foreach (lc, reset)
		check_option_of_table(lfirst(lc));
	if (set)
		braid_feed_table_claim(table);
	change_feed(table, set, reset);
	return alter->cmds != NIL;
}

/* What becomes of each of the options; those that are not set at once are put into lists. */
static void
sort_options(const ViewDefinition *def, List *options, bool resets, List **of_time, List **of_feed)
{
	ListCell *lc;

	foreach (lc, options)
	{
		DefElem *option = lfirst(lc);

		if (braid_feed_is_option(option->defname))
			*of_feed = lappend(*of_feed, option);
		else if (is_of_time(option))
			*of_time = lappend(*of_time, option);
		else
			store(def, expression(def, option, resets));
	}
}

bool
braid_alter_options(Oid view, AlterTableStmt *alter)
{
	List *set = NIL;
	List *reset = NIL;
	List *set_time = NIL;
	List *reset_time = NIL;
	List *set_feed = NIL;
	List *reset_feed = NIL;
	ViewDefinition def;

	LockRelationOid(view, ShareUpdateExclusiveLock);
	braid_definition_get(view, &def);
	if (!braid_compat_is_relation_owner(view, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_VIEW, get_rel_name(view));
	take_options(alter, &set, &reset);
	sort_options(&def, set, false, &set_time, &set_feed);
	sort_options(&def, reset, true, &reset_time, &reset_feed);
	change_time(&def, set_time, reset_time);
	change_feed(view, set_feed, reset_feed);
	return alter->cmds != NIL;
}
