/*
 * growth.c
 *	  Plans that were made when tables had other sizes.
 *
 * NOTES
 *	  PostgreSQL keeps a plan until something of its tables is changed or
 *	  analyzed.  A view is often made while its tables are empty, and followed
 *	  from the first row on; a plan of then reads all of a table that soon has
 *	  millions of rows, until autovacuum comes to it.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "storage/bufmgr.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "view/growth.h"

#define LOOK_INTERVAL_MS 1000
#define FACTOR 4
#define SLACK_BLOCKS 16
#define MAX_PLANS 500 /* of a view: each takes some 10 or 100 kB */

static BlockNumber
size_of(Oid relid)
{
	Relation rel = table_open(relid, NoLock);
	BlockNumber blocks = 0;

	if (RELKIND_HAS_STORAGE(rel->rd_rel->relkind))
		blocks = RelationGetNumberOfBlocks(rel);
	table_close(rel, NoLock);
	return blocks;
}

/* Oids of the tables that the view's statements read. */
static List *
tables_of(KeptView *view)
{
	List *tables = list_copy(view->states);
	ListCell *lc;

	foreach (lc, view->plan->tables)
	{
		BraidSource *source = braid_capture_source(lfirst_oid(lc));

		if (source)
			tables = list_concat(tables, source->members);
	}
	foreach (lc, view->plan->views)
	{
		KeptView *input = braid_keeper_find(lfirst_int(lc));

		if (input)
			tables = list_concat(tables, input->states);
	}
	return tables;
}

static bool
is_another(BlockNumber now, BlockNumber then)
{
	return now > (uint64) then * FACTOR + SLACK_BLOCKS ||
		   then > (uint64) now * FACTOR + SLACK_BLOCKS;
}

static BlockNumber *
sizes_of(KeptView *view, List *tables)
{
	BlockNumber *sizes = MemoryContextAlloc(GetMemoryChunkContext(view),
											sizeof(BlockNumber) * (list_length(tables) + 1));
	int n = 0;
	ListCell *lc;

	foreach (lc, tables)
		sizes[n++] = size_of(lfirst_oid(lc));
	return sizes;
}

bool
braid_growth_makes_plans_old(KeptView *view)
{
	TimestampTz now = GetCurrentTransactionStartTimestamp();
	List *tables;
	BlockNumber *sizes;
	bool differ = false;

	if (hash_get_num_entries(view->plans) > MAX_PLANS)
		return true;
	if (view->sizes && !TimestampDifferenceExceeds(view->sized, now, LOOK_INTERVAL_MS))
		return false;
	view->sized = now;
	tables = tables_of(view);
	sizes = sizes_of(view, tables);
	for (int i = 0; view->sizes && i < list_length(tables); i++)
		differ |= is_another(sizes[i], view->sizes[i]);
	if (view->sizes == NULL || differ)
	{
		/* Those that plans are made for from now on. */
		BlockNumber *old = view->sizes;

		view->sizes = sizes;
		sizes = old;
	}
	if (sizes)
		pfree(sizes);
	return differ;
}
