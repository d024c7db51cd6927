/*
 * feed_load.c
 *	  The feeds that the worker knows, and whether they have begun.
 *
 * NOTES
 *	  A feed begins with a snapshot of all rows, and again whenever its messages
 *	  would not fit those before: another topic, other columns, another query.  What it
 *	  has begun with is stored by the transaction that sends the snapshot.
 *
 *	  A feed that cannot be sent to must not lose anything, so what it is of is held
 *	  back, by the same means as behind somebody's lock: WAL is kept, and all goes on
 *	  from there once the cause is mended.
 */
#include "postgres.h"

#include "capture/capture.h"
#include "catalog/pg_type.h"
#include "common/name.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "topic/topic.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "view/definition.h"
#include "view/feed.h"

static List *feeds = NIL; /* Feed */

/* ---------------------------------------------------------------- what can be sent to */

/* Why the role cannot send to it; NULL if it can. */
static char *
problem_of(Oid owner, Oid topic)
{
	BraidTopic *found = braid_topic_find(topic);
	char *name = get_rel_name(topic);

	if (found == NULL || name == NULL)
		return psprintf("topic \"%s\" does not exist", name ? name : psprintf("%u", topic));
	if (found->payload != JSONBOID)
		return psprintf("payloads of topic \"%s\" are not jsonb", name);
	if (pg_class_aclcheck(topic, owner, ACL_INSERT) != ACLCHECK_OK)
		return psprintf("role \"%s\" may not send to topic \"%s\"", GetUserNameFromId(owner, false),
						name);
	return NULL;
}

PG_FUNCTION_INFO_V1(braid_sql_feed_problem);

/* braid_internal.feed_problem(owner oid, topic oid) */
Datum
braid_sql_feed_problem(PG_FUNCTION_ARGS)
{
	char *problem = problem_of(PG_GETARG_OID(0), PG_GETARG_OID(1));

	if (problem == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(problem));
}

static void
tell(Feed *feed, const char *problem)
{
	if (!feed->is_held)
		ereport(LOG, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					  errmsg("the feed of %s is held back: %s", feed->name, problem),
					  errdetail("What is written meanwhile is kept in WAL."),
					  errhint("Mend the cause, or end the feed by ALTER ... RESET (braid.feed).")));
	feed->is_held = true;
}

bool
braid_feed_lock(Feed *feed)
{
	char *problem;

	if (!ConditionalLockRelationOid(feed->topic, AccessShareLock))
		return false;
	problem = problem_of(feed->owner, feed->topic);
	if (problem)
		tell(feed, problem);
	else
		feed->is_held = false;
	return problem == NULL;
}

/* ---------------------------------------------------------------- loading */

Oid
braid_feed_catalog(void)
{
	return braid_definition_part("braid_internal.feeds");
}

static List *
names_of(Datum array)
{
	List *names = NIL;
	Datum *elements;
	int n;

	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT, &elements, NULL,
					  &n);
	for (int i = 0; i < n; i++)
		names = lappend(names, TextDatumGetCString(elements[i]));
	return names;
}

static Feed *
read_feed(HeapTuple row, TupleDesc desc)
{
	Feed *feed = palloc0(sizeof(Feed));
	Datum key;
	bool isnull;

	feed->relation = DatumGetObjectId(SPI_getbinval(row, desc, 1, &isnull));
	feed->owner = DatumGetObjectId(SPI_getbinval(row, desc, 2, &isnull));
	feed->topic = DatumGetObjectId(SPI_getbinval(row, desc, 3, &isnull));
	key = SPI_getbinval(row, desc, 4, &isnull);
	if (!isnull)
		feed->key = names_of(key);
	feed->begun = SPI_getvalue(row, desc, 5);
	feed->requests = DatumGetInt32(SPI_getbinval(row, desc, 6, &isnull));
	feed->has_stopped = DatumGetBool(SPI_getbinval(row, desc, 7, &isnull));
	feed->name = braid_relation_name(feed->relation);
	return feed;
}

void
braid_feed_load(void)
{
	MemoryContext context = CurrentMemoryContext;

	feeds = NIL;
	SPI_execute("SELECT f.relation::oid, c.relowner, f.topic::oid, f.key, s.shape, f.requests, "
				"s.error IS NOT NULL FROM braid_internal.feeds f "
				"JOIN pg_class c ON c.oid = f.relation LEFT JOIN braid_internal.feed_states s "
				"ON s.relation = f.relation AND s.topic = f.topic AND s.requests = f.requests "
				"ORDER BY 1",
				false, 0);
	MemoryContextSwitchTo(context); /* SPI leaves its own behind */
	for (uint64 i = 0; i < SPI_processed; i++)
		feeds = lappend(feeds, read_feed(SPI_tuptable->vals[i], SPI_tuptable->tupdesc));
}

void
braid_feed_begin_load(void)
{
	braid_capture_watch(braid_feed_catalog());
	SPI_execute("DELETE FROM braid_internal.feed_states s WHERE NOT EXISTS "
				"(SELECT FROM braid_internal.feeds f WHERE f.relation = s.relation)",
				false, 0);
}

void
braid_feed_unload(void)
{
	braid_feed_tables_unload();
	feeds = NIL;
}

List *
braid_feed_list(void)
{
	return feeds;
}

Feed *
braid_feed_find(Oid relation)
{
	ListCell *lc;

	foreach (lc, feeds)
		if (((Feed *) lfirst(lc))->relation == relation)
			return lfirst(lc);
	return NULL;
}

/* ---------------------------------------------------------------- what has been sent */

static void
store(Feed *feed, const char *error)
{
	SPI_execute(psprintf("INSERT INTO braid_internal.feed_states "
						 "VALUES (%u, %u, %d, %s, clock_timestamp(), %s) ON CONFLICT (relation) "
						 "DO UPDATE SET topic = excluded.topic, requests = excluded.requests, "
						 "shape = excluded.shape, since = excluded.since, error = excluded.error",
						 feed->relation, feed->topic, feed->requests,
						 error ? "NULL" : quote_literal_cstr(feed->shape),
						 error ? quote_literal_cstr(error) : "NULL"),
				false, 0);
}

void
braid_feed_store(Feed *feed)
{
	if (!feed->is_sent)
		return;
	store(feed, NULL);
	feed->begun = feed->shape;
	feed->is_sent = false;
}

void
braid_feed_look_again(Feed *feed)
{
	MemoryContext context = CurrentMemoryContext;

	SPI_execute(psprintf("SELECT shape FROM braid_internal.feed_states "
						 "WHERE relation = %u AND topic = %u AND requests = %d",
						 feed->relation, feed->topic, feed->requests),
				true, 1);
	MemoryContextSwitchTo(GetMemoryChunkContext(feed)); /* SPI leaves its own behind */
	feed->begun =
		SPI_processed > 0 ? SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1) : NULL;
	MemoryContextSwitchTo(context);
}

void
braid_feed_stop(Feed *feed, const char *error)
{
	MemoryContext context = CurrentMemoryContext;

	ereport(LOG,
			(errmsg("the feed of %s has stopped: %s", feed->name, error),
			 errhint("Mend the cause, then run ALTER TABLE ... SET (braid.feed = ...) again.")));
	store(feed, error);
	MemoryContextSwitchTo(context); /* SPI leaves its own behind */
	feed->has_stopped = true;
	braid_capture_load_again();
}

void
braid_feed_forget(Oid relation)
{
	SPI_execute(psprintf("DELETE FROM braid_internal.feed_states WHERE relation = %u", relation),
				false, 0);
}
