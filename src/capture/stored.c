/*
 * stored.c
 *	  Frontiers as they are stored, in braid_internal.frontiers.
 */
#include "postgres.h"

#include "access/xact.h"
#include "capture/source.h"
#include "capture/stored.h"
#include "catalog/pg_type.h"
#include "common/compat.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

void
braid_stored_begin(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	SPI_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
}

void
braid_stored_end(void)
{
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
}

static ArrayType *
members_array(BraidSource *source)
{
	Datum *oids = palloc(sizeof(Datum) * (list_length(source->members) + 1));
	int n = 0;
	ListCell *lc;

	foreach (lc, source->members)
		oids[n++] = ObjectIdGetDatum(lfirst_oid(lc));
	return braid_compat_oid_array(oids, n);
}

static bool
same_members(BraidSource *source, ArrayType *stored)
{
	ArrayType *now = members_array(source);

	return datumIsEqual(PointerGetDatum(stored), PointerGetDatum(now), false, -1);
}

bool
braid_stored_find(BraidSource *source, const char *slot)
{
	Datum args[2] = {ObjectIdGetDatum(source->relid), (Datum) 0};
	Oid types[2] = {OIDOID, NAMEOID};
	NameData name;
	MemoryContext old;
	char *text;
	bool isnull;
	ArrayType *members;

	namestrcpy(&name, slot);
	args[1] = NameGetDatum(&name);
	SPI_execute_with_args("SELECT frontier, members FROM braid_internal.frontiers "
						  "WHERE relation = $1 AND slot = $2",
						  2, types, args, NULL, false, 1);
	if (SPI_processed == 0)
		return false;
	members = DatumGetArrayTypePCopy(
		SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
	if (!same_members(source, members))
		return false;
	text = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	old = MemoryContextSwitchTo(GetMemoryChunkContext(source));
	braid_frontier_parse(&source->frontier, text);
	MemoryContextSwitchTo(old);
	return true;
}

void
braid_stored_forget_others(void)
{
	Oid types[1] = {OIDARRAYOID};
	Datum args[1];
	Datum *oids = palloc(sizeof(Datum) * (list_length(braid_source_list()) + 1));
	int n = 0;
	ListCell *lc;

	foreach (lc, braid_source_list())
		oids[n++] = ObjectIdGetDatum(((BraidSource *) lfirst(lc))->relid);
	args[0] = PointerGetDatum(braid_compat_oid_array(oids, n));
	SPI_execute_with_args("DELETE FROM braid_internal.frontiers WHERE relation <> ALL ($1)", 1,
						  types, args, NULL, false, 0);
}

void
braid_stored_put(BraidSource *source, const BraidFrontier *s, const char *slot)
{
	static SPIPlanPtr plan = NULL;
	NameData name;
	Datum args[4];
	Oid types[4] = {OIDOID, NAMEOID, TEXTOID, OIDARRAYOID};
	MemoryContext old;

	namestrcpy(&name, slot);
	args[0] = ObjectIdGetDatum(source->relid);
	args[1] = NameGetDatum(&name);
	args[2] = CStringGetTextDatum(braid_frontier_format(s));
	args[3] = PointerGetDatum(members_array(source));
	if (plan == NULL)
	{
		plan = SPI_prepare("INSERT INTO braid_internal.frontiers AS f "
						   "VALUES ($1, $2, $3::pg_snapshot, $4, now()) "
						   "ON CONFLICT (relation) DO UPDATE SET slot = excluded.slot, "
						   "frontier = excluded.frontier, members = excluded.members, "
						   "advanced = excluded.advanced",
						   4, types);
		SPI_keepplan(plan);
	}
	SPI_execute_plan(plan, args, NULL, false, 0);

	if (source->has_frontier)
		pfree(source->frontier.xip);
	old = MemoryContextSwitchTo(GetMemoryChunkContext(source));
	braid_frontier_copy(&source->frontier, s);
	MemoryContextSwitchTo(old);
	source->has_frontier = true;
	source->reshaped = false;
}
