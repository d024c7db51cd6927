/*
 * feed_table.c
 *	  The changefeed of a table.
 *
 * NOTES
 *	  Capture brings all columns of the table, and with each row the positions of its
 *	  commit and of its change in WAL and the gid (braid_capture_want_log()).  Rows
 *	  of a cycle are in no order.  Sorted by the position of their commits, and
 *	  within a transaction by that of their changes, they are in the order in
 *	  which all that concerns one row has happened: who changes a row has waited
 *	  until whoever changed it before was visible, so no cycle has the later
 *	  change without the earlier one.
 *
 *	  TRUNCATE leaves no rows in WAL, and makes capture forget those of the cycle:
 *	  then a message says so, and what the table has at the end of the cycle is
 *	  sent.  The same is done when the feed begins, and when it is not known what
 *	  was missed, as when the slot was lost.
 */
#include "postgres.h"

#include "capture/capture.h"
#include "catalog/pg_class.h"
#include "common/name.h"
#include "access/transam.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "stream/stream.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "view/attempt.h"
#include "view/feed_send.h"
#include "view/keeper.h"
#include "view/run.h"

#define DELTA_NAME "feed_delta"

/* What the texts of values depend on, as name and value in turn; a policy is an error. */
static const char *const settings[] = {
	"TimeZone",			  "UTC", "DateStyle",	 "ISO, YMD", "IntervalStyle", "postgres",
	"extra_float_digits", "1",	 "bytea_output", "hex",		 "row_security",  "off"};

/* ---------------------------------------------------------------- users' commands */

static bool
is_table(Oid relation)
{
	char kind = get_rel_relkind(relation);

	return kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE;
}

static void
refuse(Oid table, const char *detail, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					errmsg("\"%s\" cannot have a changefeed", get_rel_name(table)),
					errdetail("%s", detail), hint ? errhint("%s", hint) : 0));
}

void
braid_feed_table_claim(Oid table)
{
	Relation rel = braid_capture_look_at(table);
	char persistence = rel->rd_rel->relpersistence;
	bool forces = rel->rd_rel->relrowsecurity && rel->rd_rel->relforcerowsecurity;

	RelationClose(rel);
	if (braid_stream_is(table))
		refuse(table, "It is a stream, whose rows are kept nowhere.",
			   "A continuous view that reads the stream can have one.");
	if (!is_table(table))
		refuse(table, "It is a foreign table, whose changes are not in WAL.", NULL);
	if (persistence != RELPERSISTENCE_PERMANENT)
		refuse(table, "Changes of temporary and unlogged tables are not in WAL.", NULL);
	if (table < FirstNormalObjectId ||
		strcmp(get_namespace_name(get_rel_namespace(table)), "braid_internal") == 0)
		refuse(table, "It is not a table of users.", NULL);
	if (forces)
		refuse(table, "Its policies hold for its owner too, and a feed would pass them by.",
			   "Run ALTER TABLE ... NO FORCE ROW LEVEL SECURITY, if all rows may be sent.");
	braid_capture_require_wal();
	braid_capture_claim(table);
}

/* ---------------------------------------------------------------- loading */

/* Names of the columns of the primary key. */
static List *
primary_key(Oid table)
{
	MemoryContext context = CurrentMemoryContext;
	List *names = NIL;

	SPI_execute(psprintf("SELECT a.attname::text FROM pg_index i "
						 "JOIN pg_attribute a ON a.attrelid = i.indrelid "
						 "AND a.attnum = ANY (i.indkey) "
						 "WHERE i.indrelid = %u AND i.indisprimary ORDER BY a.attnum",
						 table),
				true, 0);
	MemoryContextSwitchTo(context); /* SPI leaves its own behind */
	for (uint64 i = 0; i < SPI_processed; i++)
		names = lappend(names, SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1));
	return names;
}

static char *
join_names(List *names)
{
	StringInfoData s;
	ListCell *lc;

	initStringInfo(&s);
	foreach (lc, names)
		appendStringInfo(&s, "%s%s", s.len > 0 ? ", " : "", quote_identifier(lfirst(lc)));
	return s.data;
}

/*
 * Columns that come or go are no reason to begin anew: the rows of a message have those of
 * its time.
 */
static void
load_table(Feed *feed)
{
	ListCell *lc;

	feed->is_of_table = true;
	if (feed->has_stopped)
		return;
	foreach (lc, feed->key)
		if (get_attnum(feed->relation, lfirst(lc)) <= 0)
		{
			braid_feed_stop(
				feed, psprintf("column \"%s\" of its key does not exist", (char *) lfirst(lc)));
			return;
		}
	if (feed->key == NIL)
		feed->key = primary_key(feed->relation);
	feed->shape = psprintf("key (%s)", join_names(feed->key));
	feed->plans = braid_run_make_plans(CurrentMemoryContext);
	braid_capture_want_log(feed->relation);
}

bool
braid_feed_tables_load(void)
{
	bool any = false;
	ListCell *lc;

	foreach (lc, braid_feed_list())
	{
		Feed *feed = lfirst(lc);

		if (!is_table(feed->relation))
			continue;
		load_table(feed);
		any = true;
	}
	return any;
}

void
braid_feed_tables_unload(void)
{
	ListCell *lc;

	foreach (lc, braid_feed_list())
		if (((Feed *) lfirst(lc))->plans)
			braid_run_free_plans(((Feed *) lfirst(lc))->plans);
}

/* ---------------------------------------------------------------- texts */

/* The source's columns of the table, without the weight and what is behind them. */
static int
ncolumns(BraidSource *source)
{
	return source->desc->natts - 1 - BRAID_LOG_COLUMNS;
}

static const char *
column_name(BraidSource *source, int i)
{
	return NameStr(TupleDescAttr(source->desc, i)->attname);
}

/* "d.c1 AS id, d.c2 AS amount": of some columns, or with NIL of all. */
static char *
named_columns(BraidSource *source, List *only)
{
	StringInfoData s;
	ListCell *lc;

	initStringInfo(&s);
	for (int i = 1; i <= ncolumns(source); i++)
	{
		bool is_wanted = only == NIL;

		foreach (lc, only)
			is_wanted |= strcmp(lfirst(lc), column_name(source, i)) == 0;
		if (is_wanted)
			appendStringInfo(&s, "%sd.c%d AS %s", s.len > 0 ? ", " : "", i,
							 quote_identifier(column_name(source, i)));
	}
	return s.data;
}

/* ", c1, c2" */
static char *
column_aliases(BraidSource *source)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 1; i <= ncolumns(source); i++)
		appendStringInfo(&s, ", c%d", i);
	return s.data;
}

/* Rows w, tie, key, row, lsn, gid of rows w, c1, ..., commit, change, gid. */
static char *
rows_select(Feed *feed, BraidSource *source, const char *from)
{
	char *row = braid_feed_row_text(named_columns(source, NIL));
	char *key = feed->key ? braid_feed_row_text(named_columns(source, feed->key)) : "NULL::text";

	return psprintf("SELECT sign(x.w)::int8 AS w, x.change::text AS tie, "
					"coalesce(x.key, md5(x.row)) AS key, x.row, x.commit::text AS lsn, x.gid "
					"FROM (SELECT d.w, d.commit, d.change, d.gid, %s AS key, %s AS row FROM %s) x "
					"ORDER BY x.commit, x.change, x.w",
					key, row, from);
}

static char *
changes_select(Feed *feed, BraidSource *source)
{
	return rows_select(feed, source,
					   psprintf(DELTA_NAME " d(w%s, commit, change, gid)", column_aliases(source)));
}

/* All rows that the table has. */
static char *
table_select(Feed *feed, BraidSource *source)
{
	StringInfoData s;
	bool is_partitioned = get_rel_relkind(feed->relation) == RELKIND_PARTITIONED_TABLE;

	initStringInfo(&s);
	appendStringInfoString(&s, "(SELECT 1::int8");
	for (int i = 1; i <= ncolumns(source); i++)
		appendStringInfo(&s, ", t.%s", quote_identifier(column_name(source, i)));
	appendStringInfo(&s,
					 ", NULL::pg_lsn, '0/0'::pg_lsn, NULL::text FROM %s%s t) "
					 "d(w%s, commit, change, gid)",
					 is_partitioned ? "" : "ONLY ", feed->name, column_aliases(source));
	return rows_select(feed, source, s.data);
}

/* ---------------------------------------------------------------- the cycle */

static bool
begins(Feed *feed)
{
	return feed->begun == NULL || strcmp(feed->begun, feed->shape) != 0;
}

static bool
is_kept(Feed *feed)
{
	return feed->is_of_table && !feed->has_stopped;
}

bool
braid_feed_table_lock(Oid table)
{
	Feed *feed = braid_feed_find(table);

	return feed == NULL || !is_kept(feed) || braid_feed_lock(feed);
}

bool
braid_feed_tables_have_work(void)
{
	ListCell *lc;

	foreach (lc, braid_feed_list())
		if (is_kept(lfirst(lc)) && begins(lfirst(lc)))
			return true;
	return false;
}

static bool
has_work(Feed *feed)
{
	BraidSource *source = is_kept(feed) ? braid_capture_source(feed->relation) : NULL;

	if (source == NULL || !source->locked)
		return false;
	return begins(feed) || !source->has_frontier || source->delta.recompute ||
		   source->delta.incomplete || source->delta.nrows > 0;
}

/* As the table's owner. */
static void
send(KeptView *actor, void *arg)
{
	Feed *feed = arg;
	BraidSource *source = braid_capture_source(feed->relation);
	BraidDelta *delta = &source->delta;
	TimestampTz begin = GetCurrentTimestamp();

	braid_run_begin(feed->plans);
	if (begins(feed) || !source->has_frontier || delta->incomplete)
	{
		braid_feed_send_all(feed, "snapshot", table_select(feed, source), PG_INT64_MAX);
		feed->is_sent = true;
	}
	else if (delta->recompute)
		braid_feed_send_all(feed, "truncate", table_select(feed, source), PG_INT64_MAX);
	else
	{
		braid_run_name(DELTA_NAME, delta->rows, source->desc);
		braid_feed_send_changes(feed, changes_select(feed, source), delta->nrows);
	}
	braid_run_end();
	braid_capture_charge(feed->relation, GetCurrentTimestamp() - begin);
}

static void
send_as_owner(void *arg)
{
	Feed *feed = arg;
	KeptView actor = {
		.owner = feed->owner, .settings = (char **) settings, .nsettings = lengthof(settings)};

	braid_attempt_act(&actor, send, feed);
}

static void
send_all(void *arg)
{
	ListCell *lc;

	foreach (lc, (List *) arg)
		send_as_owner(lfirst(lc));
}

/* A subtransaction for all, and only if it fails one for each: see keeper.c. */
void
braid_feed_tables_apply(void)
{
	List *todo = NIL;
	ListCell *lc;
	char *error;

	foreach (lc, braid_feed_list())
		if (has_work(lfirst(lc)))
			todo = lappend(todo, lfirst(lc));
	if (todo == NIL)
		return;
	if (braid_attempt(send_all, todo) != NULL)
		foreach (lc, todo)
		{
			((Feed *) lfirst(lc))->is_sent = false;
			error = braid_attempt(send_as_owner, lfirst(lc));
			if (error)
				braid_feed_stop(lfirst(lc), error);
		}
	foreach (lc, todo)
		if (is_kept(lfirst(lc)))
			braid_feed_store(lfirst(lc));
}
