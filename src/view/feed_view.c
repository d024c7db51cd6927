/*
 * feed_view.c
 *	  The changefeed of a continuous view.
 *
 * NOTES
 *	  A feed is one more reader of the view's delta.  What came and went is added
 *	  up by row, so a group that was touched and is as before gives no message;
 *	  rows that differ are paired by the key.
 *
 *	  Where the delta does not say it, the difference is taken between all that the
 *	  view showed before and what it shows now: when it is populated, for whatever
 *	  reason, and if it has a LIMIT.  So who adds the messages up has the view's
 *	  rows, whatever has happened to it, and is told neither of rows that stay
 *	  nor that something was rebuilt.
 *
 *	  The key is what tells rows apart: the columns of GROUP BY or DISTINCT ON, if
 *	  the view shows all of them, or those that the user has given.  Rows without
 *	  one are told apart by all that they say, so nothing is paired, and the key of
 *	  the message is a digest, which is enough for a row that comes to be in order
 *	  with the same one that goes.
 */
#include "postgres.h"

#include "capture/capture.h"
#include "lib/stringinfo.h"
#include "parser/parse_clause.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "view/feed_send.h"
#include "view/keeper.h"
#include "view/operators.h"
#include "view/run.h"
#include "view/text.h"

#define BEFORE_NAME "feed_before"

/* ---------------------------------------------------------------- keys */

/* What the rows of a query are told apart by, as SortGroupClause; NIL: it is not known. */
static List *
unique_keys(Query *query)
{
	if (query->groupingSets || query->setOperations || query->hasTargetSRFs)
		return NIL;
	if (query->distinctClause)
		return query->distinctClause;
	return query->windowClause ? NIL : query->groupClause;
}

/* Whether the query always has one row. */
static bool
is_single(Query *query)
{
	return query->hasAggs && query->groupClause == NIL && query->groupingSets == NIL &&
		   !query->hasTargetSRFs;
}

/* Numbers of the view's columns that are all of these keys; NULL if one is not shown. */
static Bitmapset *
shown_keys(Query *query, List *keys)
{
	Bitmapset *columns = NULL;
	List *shown = NIL;
	ListCell *lc;

	foreach (lc, query->targetList)
	{
		TargetEntry *target = lfirst(lc);

		if (target->resjunk || !targetIsInSortList(target, InvalidOid, keys))
			continue;
		columns = bms_add_member(columns, target->resno);
		shown = list_append_unique_int(shown, (int) target->ressortgroupref);
	}
	return list_length(shown) == list_length(keys) ? columns : NULL;
}

/* "d.c1 AS shop, d.c2 AS day": of some columns, or with NULL of all. */
static char *
named_columns(Oid view, Bitmapset *only)
{
	Relation rel = braid_capture_look_at(view);
	TupleDesc desc = RelationGetDescr(rel);
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 1; i <= desc->natts; i++)
		if (only == NULL || bms_is_member(i, only))
			appendStringInfo(&s, "%sd.c%d AS %s", s.len > 0 ? ", " : "", i,
							 quote_identifier(NameStr(TupleDescAttr(desc, i - 1)->attname)));
	RelationClose(rel);
	return s.data;
}

/* Those that the user has named. */
static Bitmapset *
given_keys(Feed *feed)
{
	Bitmapset *columns = NULL;
	ListCell *lc;

	foreach (lc, feed->key)
	{
		AttrNumber attnum = get_attnum(feed->relation, lfirst(lc));

		if (attnum == InvalidAttrNumber)
			ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
							errmsg("column \"%s\" of the feed's key does not exist",
								   (char *) lfirst(lc))));
		columns = bms_add_member(columns, attnum);
	}
	return columns;
}

/* An expression over d.c1, ...; NULL: the row itself. */
static char *
key_text(KeptView *view)
{
	Query *query = braid_definition_query(view->def.query);
	List *keys = unique_keys(query);
	Bitmapset *columns = given_keys(view->feed);

	if (columns == NULL && keys)
		columns = shown_keys(query, keys);
	if (columns)
		return braid_feed_row_text(named_columns(view->def.view, columns));
	return is_single(query) ? "'{}'" : NULL;
}

/* ---------------------------------------------------------------- statements */

/* "SELECT d.w, key, row FROM ... d", with the digest of the row as the key if there is no other. */
static char *
rows_select(KeptView *view, const char *from)
{
	const char *row = view->feed->row_text;

	if (view->feed->key_text)
		return psprintf("SELECT d.w, %s AS key, %s AS row FROM %s d", view->feed->key_text, row,
						from);
	return psprintf("SELECT x.w, md5(x.row) AS key, x.row FROM (SELECT d.w, %s AS row FROM %s d) x",
					row, from);
}

/* What the view shows, as rows w, c1, ... */
static char *
shown_rows(KeptView *view, int weight)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 1; i <= view->plan->top->ncolumns; i++)
		appendStringInfo(&s, "%sc%d", i > 1 ? ", " : "", i);
	return psprintf("(SELECT %d::int8 AS w, v.* FROM (%s) v%s)", weight, view->plan->visible,
					s.len > 0 ? psprintf("(%s)", s.data) : "");
}

/* Adds up, so that only what has changed is left. */
static char *
changes_select(const char *rows)
{
	return psprintf("SELECT sum(r.w)::int8 AS w, r.key AS tie, r.key, r.row FROM (%s) r "
					"GROUP BY r.key, r.row HAVING sum(r.w) <> 0 "
					"ORDER BY r.key COLLATE \"C\", 1, r.row COLLATE \"C\"",
					rows);
}

/* All rows, that came or went. */
static void
remember(KeptView *view)
{
	braid_run_into(BEFORE_NAME, rows_select(view, shown_rows(view, -1)), PG_INT64_MAX);
}

static void
send_snapshot(KeptView *view)
{
	view->feed->is_sent = true;
	braid_feed_send_all(view->feed, "snapshot",
						psprintf("SELECT r.w, r.key AS tie, r.key, r.row FROM (%s) r "
								 "ORDER BY r.key COLLATE \"C\"",
								 rows_select(view, shown_rows(view, 1))),
						PG_INT64_MAX);
}

static void
send_difference(KeptView *view)
{
	char *rows = psprintf("SELECT b.w, b.key, b.row FROM %s b UNION ALL %s", BEFORE_NAME,
						  rows_select(view, shown_rows(view, 1)));

	braid_feed_send_changes(view->feed, changes_select(rows), PG_INT64_MAX);
}

static void
send_delta(KeptView *view)
{
	ViewNode *top = view->plan->top;

	braid_feed_send_changes(view->feed, changes_select(rows_select(view, braid_node_delta(top))),
							braid_run_delta_rows(top));
}

/* ---------------------------------------------------------------- the view */

void
braid_feed_view_prepare(KeptView *view)
{
	Feed *feed = view->feed = braid_feed_find(view->def.view);
	char *image;

	if (feed == NULL)
		return;
	feed->row_text = braid_feed_row_text(named_columns(view->def.view, NULL));
	feed->key_text = key_text(view);
	image = psprintf("%s %s %s", view->plan->visible, feed->row_text,
					 feed->key_text ? feed->key_text : "");
	feed->shape = psprintf("%016llx", (unsigned long long) braid_text_hash(image));
}

bool
braid_feed_view_begins(KeptView *view)
{
	Feed *feed = view->feed;

	return feed && (feed->begun == NULL || strcmp(feed->begun, feed->shape) != 0);
}

/* Whether the delta of the top does not say what has changed. */
static bool
is_compared(KeptView *view, bool populates)
{
	return populates || view->plan->is_limited;
}

void
braid_feed_view_before(KeptView *view, bool populates)
{
	if (view->feed && !braid_feed_view_begins(view) && is_compared(view, populates))
		remember(view);
}

void
braid_feed_view_after(KeptView *view, bool populates)
{
	if (view->feed == NULL)
		return;
	if (braid_feed_view_begins(view))
		send_snapshot(view);
	else if (populates || (view->plan->top->changed && view->plan->is_limited))
		send_difference(view);
	else if (view->plan->top->changed)
		send_delta(view);
}
