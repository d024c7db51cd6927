/*
 * catalog.c
 *	  The rows and relations of topics, by their names.
 *
 * NOTES
 *	  A topic shop.orders with id 7 is made of
 *
 *		shop.orders						view: what the user sees, and whose privileges count
 *		braid_internal.topics			a row: id 7, the view, options
 *		braid_internal.topic_segments	a row per segment
 *		braid_internal.topic_7			table, partitioned by segment into
 *		braid_internal.topic_7_0 ...	tables, each with index topic_7_0_order
 *		braid_internal.topic_7_ids		sequence
 *		braid_internal.topic_7_keys		if it has a window of de-duplication: keys, likewise partitioned
 *
 *	  All but the view belong to the superuser who owns the extension.  Names have the id and
 *	  not an oid, so that they mean the same after a restore.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "topic/catalog.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

Oid
braid_topic_relation(const char *name)
{
	Oid namespace = get_namespace_oid(BRAID_TOPIC_SCHEMA, true);

	return OidIsValid(namespace) ? get_relname_relid(name, namespace) : InvalidOid;
}

char *
braid_topic_table_name(int id)
{
	return psprintf("topic_%d", id);
}

char *
braid_topic_segment_name(int id, int segment)
{
	return psprintf("topic_%d_%d", id, segment);
}

char *
braid_topic_index_name(int id, int segment)
{
	return psprintf("topic_%d_%d_order", id, segment);
}

char *
braid_topic_sequence_name(int id)
{
	return psprintf("topic_%d_ids", id);
}

char *
braid_topic_keys_name(int id)
{
	return psprintf("topic_%d_keys", id);
}

char *
braid_topic_key_segment_name(int id, int segment)
{
	return psprintf("topic_%d_keys_%d", id, segment);
}

/* ---------------------------------------------------------------- reading */

static Datum
get(HeapTuple tup, Relation rel, int column, bool *isnull)
{
	return heap_getattr(tup, column, RelationGetDescr(rel), isnull);
}

/* Which segment, of messages or of keys, was opened last; -1: none. */
static void
find_open(BraidTopic *topic)
{
	Relation rel = table_open(braid_topic_relation("topic_segments"), AccessShareLock);
	TimestampTz latest[2] = {DT_NOBEGIN, DT_NOBEGIN};
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tup;

	topic->segment = topic->key_segment = -1;
	ScanKeyInit(&key, SEGMENT_TOPIC, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(topic->id));
	scan =
		systable_beginscan(rel, braid_topic_relation("topic_segments_pkey"), true, NULL, 1, &key);
	while (HeapTupleIsValid(tup = systable_getnext(scan)))
	{
		bool isnull;
		bool is_keys = DatumGetBool(get(tup, rel, SEGMENT_IS_KEYS, &isnull));
		int number = DatumGetInt16(get(tup, rel, SEGMENT_NUMBER, &isnull));
		TimestampTz opened = DatumGetTimestampTz(get(tup, rel, SEGMENT_OPENED, &isnull));

		if (isnull || opened <= latest[is_keys])
			continue;
		latest[is_keys] = opened;
		*(is_keys ? &topic->key_segment : &topic->segment) = number;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

static void
find_relations(BraidTopic *topic)
{
	topic->ids = braid_topic_relation(braid_topic_sequence_name(topic->id));
	topic->tables = palloc(sizeof(Oid) * topic->nsegments);
	topic->indexes = palloc(sizeof(Oid) * topic->nsegments);
	for (int i = 0; i < topic->nsegments; i++)
	{
		topic->tables[i] = braid_topic_relation(braid_topic_segment_name(topic->id, i));
		topic->indexes[i] = braid_topic_relation(braid_topic_index_name(topic->id, i));
	}
	topic->nkey_segments = topic->has_keys ? BRAID_KEY_SEGMENTS : 0;
	topic->key_tables = palloc(sizeof(Oid) * BRAID_KEY_SEGMENTS);
	for (int i = 0; i < topic->nkey_segments; i++)
		topic->key_tables[i] = braid_topic_relation(braid_topic_key_segment_name(topic->id, i));
}

/* Whether all relations are there: during a restore some may not be. */
static bool
is_complete(const BraidTopic *topic)
{
	bool complete = OidIsValid(topic->ids) && topic->segment >= 0 &&
					topic->segment < topic->nsegments &&
					(!topic->has_keys || topic->key_segment >= 0);

	for (int i = 0; i < topic->nsegments; i++)
		complete = complete && OidIsValid(topic->tables[i]) && OidIsValid(topic->indexes[i]);
	for (int i = 0; i < topic->nkey_segments; i++)
		complete = complete && OidIsValid(topic->key_tables[i]);
	return complete;
}

BraidTopic *
braid_topic_load(Oid view, int id)
{
	BraidTopic *topic = NULL;
	Oid catalog = braid_topic_relation("topics");
	bool by_view = OidIsValid(view);
	Relation rel;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tup;

	if (!OidIsValid(catalog))
		return NULL;
	rel = table_open(catalog, AccessShareLock);
	if (by_view)
		ScanKeyInit(&key, TOPIC_VIEW, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(view));
	else
		ScanKeyInit(&key, TOPIC_ID, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(id));
	scan = systable_beginscan(rel, braid_topic_relation(by_view ? "topics_view" : "topics_pkey"),
							  true, NULL, 1, &key);
	if (HeapTupleIsValid(tup = systable_getnext(scan)))
	{
		bool isnull;

		topic = palloc0(sizeof(BraidTopic));
		topic->id = DatumGetInt32(get(tup, rel, TOPIC_ID, &isnull));
		topic->view = DatumGetObjectId(get(tup, rel, TOPIC_VIEW, &isnull));
		topic->payload = DatumGetObjectId(get(tup, rel, TOPIC_PAYLOAD, &isnull));
		topic->npartitions = DatumGetInt16(get(tup, rel, TOPIC_PARTITIONS, &isnull));
		topic->nsegments = DatumGetInt16(get(tup, rel, TOPIC_SEGMENTS, &isnull));
		topic->notify = DatumGetBool(get(tup, rel, TOPIC_NOTIFY, &isnull));
		topic->generation = DatumGetInt32(get(tup, rel, TOPIC_GENERATION, &isnull));
		(void) get(tup, rel, TOPIC_DEDUP_WINDOW, &isnull);
		topic->has_keys = !isnull;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	if (topic == NULL)
		return NULL;
	find_open(topic);
	find_relations(topic);
	return is_complete(topic) ? topic : NULL;
}
