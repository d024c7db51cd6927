/*
 * pause.c
 *	  Views that stand still for a while, because their owners want it.
 *
 * NOTES
 *	  The command only says so in braid_internal.views; the worker stops to follow
 *	  when it next loads the definitions, and stores the snapshot that the view
 *	  shows from then on.  A paused view wants no table, so that neither deltas
 *	  nor WAL are kept for it.  What it has missed is therefore not known when it
 *	  is resumed: it is rebuilt, and shows what it has until that is done.  One
 *	  that reads a stream goes on without that: see gap.c.
 */
#include "postgres.h"

#include "capture/capture.h"
#include "common/compat.h"
#include "common/superuser.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "view/definition.h"
#include "view/passing.h"

static void
set_paused(const ViewDefinition *def, bool paused)
{
	int level;

	if (!braid_compat_is_relation_owner(def->view, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_VIEW, get_rel_name(def->view));
	if (def->paused == paused)
		return;
	level = braid_superuser_fix_search_path();
	SPI_connect();
	braid_superuser_execute(psprintf("UPDATE braid_internal.views SET paused = %s WHERE id = %d",
									 paused ? "true" : "false", def->id));
	SPI_finish();
	AtEOXact_GUC(false, level);
}

PG_FUNCTION_INFO_V1(braid_sql_pause);

/* braid.pause(view regclass) */
Datum
braid_sql_pause(PG_FUNCTION_ARGS)
{
	ViewDefinition def;
	ViewDefinition replacement;

	braid_definition_get(PG_GETARG_OID(0), &def);
	if (braid_definition_find_replacement(def.id, &replacement))
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("a new state is being made for continuous view \"%s\"", get_rel_name(def.view)),
			 errhint("SELECT braid.wait() waits until it has taken the place of the old one.")));
	if (!def.paused && braid_passing_is_read(&def))
		ereport(WARNING,
				(errmsg("continuous view \"%s\" misses what comes to its streams while it is "
						"paused",
						get_rel_name(def.view)),
				 errdetail("Rows of streams are not kept: when it is resumed it goes on with "
						   "those that come then.")));
	set_paused(&def, true);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(braid_sql_resume);

/* braid.resume(view regclass) */
Datum
braid_sql_resume(PG_FUNCTION_ARGS)
{
	ViewDefinition def;

	braid_definition_get(PG_GETARG_OID(0), &def);
	braid_capture_require_wal();
	set_paused(&def, false);
	PG_RETURN_VOID();
}
