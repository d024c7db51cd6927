/*
 * work_store.c
 *	  What is durable of groups of mode work: rows that are inserted, and never changed.
 *
 * NOTES
 *	  A message has to be done unless its number is in work_done.  Its number is its id, or,
 *	  if there is a row in work_carried for it, the number there.  Whatever is carried on
 *	  gets a new number in the transaction that is done with the old one, so that the two
 *	  happen together.
 *
 *	  Messages themselves are read where they are: the window knows the place.  Places in the
 *	  topic may be empty, or have other messages: the id tells.  Those that are carried
 *	  are found by number.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/indexing.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "topic/catalog.h"
#include "topic/work.h"
#include "topic/work_store.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* Columns of braid_internal.work_done_<n>. */
enum
{
	DONE_GROUP = 1,
	DONE_KIND,
	DONE_NUMBERS,
	DONE_NCOLUMNS = DONE_NUMBERS
};

/* ---------------------------------------------------------------- tables */

static Oid
relation(const char *format, int segment)
{
	char name[NAMEDATALEN];
	Oid oid;

	snprintf(name, sizeof(name), format, segment);
	oid = braid_topic_relation(name);
	if (!OidIsValid(oid))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("relation \"%s.%s\" does not exist", BRAID_TOPIC_SCHEMA, name)));
	return oid;
}

Oid
braid_work_done_table(int segment)
{
	return relation("work_done_%d", segment);
}

Oid
braid_work_carried_table(int segment)
{
	return relation("work_carried_%d", segment);
}

void
braid_work_lock_tables(void)
{
	for (int i = 0; i < WORK_SEGMENTS; i++)
	{
		LockRelationOid(braid_work_done_table(i), AccessShareLock);
		LockRelationOid(braid_work_carried_table(i), AccessShareLock);
	}
}

void
braid_work_unlock_tables(void)
{
	for (int i = 0; i < WORK_SEGMENTS; i++)
	{
		UnlockRelationOid(braid_work_done_table(i), AccessShareLock);
		UnlockRelationOid(braid_work_carried_table(i), AccessShareLock);
	}
}

/* ---------------------------------------------------------------- writing */

void
braid_work_write_done(int group, char kind, const int64 *numbers, int n)
{
	Relation rel = table_open(braid_work_done_table(braid_work_window_segment()), RowExclusiveLock);
	Datum *elements = palloc(n * sizeof(Datum));
	Datum values[DONE_NCOLUMNS];
	bool nulls[DONE_NCOLUMNS] = {false};
	HeapTuple row;

	for (int i = 0; i < n; i++)
		elements[i] = Int64GetDatum(numbers[i]);
	values[DONE_GROUP - 1] = Int32GetDatum(group);
	values[DONE_KIND - 1] = CharGetDatum(kind);
	values[DONE_NUMBERS - 1] = PointerGetDatum(
		construct_array(elements, n, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	row = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	CatalogTupleInsert(rel, row);
	heap_freetuple(row);
	table_close(rel, NoLock);
}

static void
write_message(Oid table, WorkMessage *m)
{
	Relation rel = table_open(table, RowExclusiveLock);
	HeapTuple row = heap_form_tuple(RelationGetDescr(rel), m->values, m->nulls);

	CatalogTupleInsert(rel, row);
	heap_freetuple(row);
	table_close(rel, NoLock);
}

static void
set_head(WorkMessage *m, int group, int64 number, TimestampTz time, int attempts, const char *error)
{
	m->values[CARRIED_GROUP - 1] = Int32GetDatum(group);
	m->values[CARRIED_NUMBER - 1] = Int64GetDatum(number);
	m->values[CARRIED_DUE - 1] = TimestampTzGetDatum(time);
	m->values[CARRIED_ATTEMPTS - 1] = Int32GetDatum(attempts);
	memset(m->nulls, false, CARRIED_ERROR * sizeof(bool));
	m->nulls[CARRIED_ERROR - 1] = error == NULL;
	if (error)
		m->values[CARRIED_ERROR - 1] = CStringGetTextDatum(error);
}

void
braid_work_write_carried(int segment, int group, int64 number, TimestampTz due, int attempts,
						 const char *error, const WorkMessage *m)
{
	WorkMessage copy = *m;

	set_head(&copy, group, number, due, attempts, error);
	write_message(braid_work_carried_table(segment), &copy);
}

void
braid_work_write_dead(int group, int64 number, int attempts, const char *error,
					  const WorkMessage *m)
{
	WorkMessage copy = *m;

	set_head(&copy, group, number, GetCurrentTimestamp(), attempts, error);
	write_message(braid_topic_relation("dead_letters"), &copy);
}

/* ---------------------------------------------------------------- messages */

static void
fetch_toasted(WorkMessage *m)
{
	static const int columns[] = {CARRIED_KEY, CARRIED_HEADERS, CARRIED_PAYLOAD, CARRIED_ERROR};

	for (int i = 0; i < lengthof(columns); i++)
	{
		Datum *d = &m->values[columns[i] - 1];

		if (!m->nulls[columns[i] - 1] && VARATT_IS_EXTERNAL(DatumGetPointer(*d)))
			*d = PointerGetDatum(detoast_external_attr((struct varlena *) DatumGetPointer(*d)));
	}
}

/* Column of the topic for each of those from CARRIED_ID on. */
static const int source[CARRIED_NCOLUMNS + 1] = {[CARRIED_ID] = MESSAGE_ID,
												 [CARRIED_PART] = MESSAGE_PART,
												 [CARRIED_PRIORITY] = MESSAGE_PRIORITY,
												 [CARRIED_SENT_AT] = MESSAGE_SENT_AT,
												 [CARRIED_DELIVER_AT] = MESSAGE_DELIVER_AT,
												 [CARRIED_KEY] = MESSAGE_KEY,
												 [CARRIED_HEADERS] = MESSAGE_HEADERS,
												 [CARRIED_PAYLOAD] = MESSAGE_PAYLOAD};

static void
copy_values(const TupleTableSlot *slot, WorkMessage *m)
{
	memset(m->nulls, true, sizeof(m->nulls));
	for (int i = CARRIED_ID; i <= CARRIED_NCOLUMNS; i++)
	{
		Form_pg_attribute att = TupleDescAttr(slot->tts_tupleDescriptor, source[i] - 1);

		m->nulls[i - 1] = slot->tts_isnull[source[i] - 1];
		if (!m->nulls[i - 1])
			m->values[i - 1] =
				datumCopy(slot->tts_values[source[i] - 1], att->attbyval, att->attlen);
	}
	fetch_toasted(m);
}

static bool
fetch_from_topic(BraidTopic *topic, const WorkEntry *e, WorkMessage *m)
{
	Relation rel;
	TupleTableSlot *slot;
	ItemPointerData tid = e->tid;
	bool found = false;

	if (e->segment >= topic->nsegments)
		return false;
	rel = try_table_open(topic->tables[e->segment], AccessShareLock);
	if (rel == NULL)
		return false;
	if (ItemPointerGetBlockNumber(&tid) < RelationGetNumberOfBlocks(rel))
	{
		slot = table_slot_create(rel, NULL);
		if (table_tuple_fetch_row_version(rel, &tid, SnapshotAny, slot))
		{
			slot_getallattrs(slot);
			found = DatumGetInt64(slot->tts_values[MESSAGE_ID - 1]) == e->id &&
					DatumGetInt16(slot->tts_values[MESSAGE_PART - 1]) != BRAID_TICK_PART;
			if (found)
				copy_values(slot, m);
		}
		ExecDropSingleTupleTableSlot(slot);
	}
	table_close(rel, AccessShareLock);
	return found;
}

static bool
fetch_carried(int segment, int group, int64 number, Snapshot snapshot, WorkMessage *m)
{
	Relation rel = table_open(braid_work_carried_table(segment), AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple row;

	ScanKeyInit(&keys[0], CARRIED_GROUP, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(group));
	ScanKeyInit(&keys[1], CARRIED_NUMBER, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(number));
	scan = systable_beginscan(rel, relation("work_carried_%d_number", segment), true, snapshot, 2,
							  keys);
	row = systable_getnext(scan);
	if (row)
	{
		heap_deform_tuple(heap_copytuple(row), RelationGetDescr(rel), m->values, m->nulls);
		fetch_toasted(m);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return row != NULL;
}

bool
braid_work_fetch(BraidTopic *topic, int group, const WorkEntry *e, WorkMessage *m)
{
	Snapshot snapshot;
	bool found = false;

	if (e->segment != WORK_CARRIED && fetch_from_topic(topic, e, m))
		return true;
	braid_work_lock_tables();
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	for (int i = 0; i < WORK_SEGMENTS && !found; i++)
		found = fetch_carried(i, group, e->number, snapshot, m);
	UnregisterSnapshot(snapshot);
	braid_work_unlock_tables();
	return found;
}

/* ---------------------------------------------------------------- what is done */

static HTAB *
make_done(void)
{
	HASHCTL ctl = {.keysize = sizeof(int64), .entrysize = sizeof(WorkDone)};

	ctl.hcxt = CurrentMemoryContext;
	return hash_create("braid work done", 1024, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static void
add_done(HTAB *done, char kind, ArrayType *numbers, TransactionId xid)
{
	Datum *elements;
	int n;

	deconstruct_array(numbers, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &elements,
					  NULL, &n);
	for (int i = 0; i < n; i++)
	{
		int64 number = DatumGetInt64(elements[i]);
		bool found;
		WorkDone *d = hash_search(done, &number, HASH_ENTER, &found);

		if (!found)
		{
			d->is_done = false;
			d->xid = InvalidTransactionId;
			d->attempts = 0;
		}
		if (kind == 't')
			d->attempts++;
		else
		{
			d->is_done = true;
			d->xid = xid;
		}
	}
	pfree(elements);
}

static void
read_done_segment(HTAB *done, int group, int segment)
{
	Relation rel = table_open(braid_work_done_table(segment), AccessShareLock);
	TupleDesc desc = RelationGetDescr(rel);
	SnapshotData dirty;
	SysScanDesc scan;
	HeapTuple row;

	InitDirtySnapshot(dirty);
	scan = systable_beginscan(rel, InvalidOid, false, &dirty, 0, NULL);
	while ((row = systable_getnext(scan)) != NULL)
	{
		TransactionId xid = dirty.xmin;
		bool is_null;
		char kind = DatumGetChar(heap_getattr(row, DONE_KIND, desc, &is_null));
		ArrayType *numbers;

		CHECK_FOR_INTERRUPTS();
		if (DatumGetInt32(heap_getattr(row, DONE_GROUP, desc, &is_null)) != group ||
			(kind == 't' && TransactionIdIsValid(xid)))
			continue;
		numbers = DatumGetArrayTypeP(heap_getattr(row, DONE_NUMBERS, desc, &is_null));
		add_done(done, kind, numbers, xid);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

HTAB *
braid_work_read_done(int group, int segment)
{
	HTAB *done = make_done();

	braid_work_lock_tables();
	for (int i = 0; i < WORK_SEGMENTS; i++)
		if (segment < 0 || i == segment)
			read_done_segment(done, group, i);
	braid_work_unlock_tables();
	return done;
}

/* ---------------------------------------------------------------- what is carried */

uint32
braid_work_key_hash(Datum key, bool is_null)
{
	text *t;
	uint32 hash;

	if (is_null)
		return 0;
	t = DatumGetTextPP(key);
	hash = hash_bytes((const unsigned char *) VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t));
	return hash == 0 ? 1 : hash;
}

static bool
is_between(const WorkCarried *c, WorkTime after, WorkTime to)
{
	return (c->due > after.due || (c->due == after.due && c->number > after.number)) &&
		   (c->due < to.due || (c->due == to.due && c->number <= to.number));
}

static WorkCarried *
read_carried_row(HeapTuple row, TupleDesc desc)
{
	WorkCarried *c = palloc(sizeof(WorkCarried));
	Datum key;
	bool is_null;

	c->number = DatumGetInt64(heap_getattr(row, CARRIED_NUMBER, desc, &is_null));
	c->id = DatumGetInt64(heap_getattr(row, CARRIED_ID, desc, &is_null));
	c->due = DatumGetTimestampTz(heap_getattr(row, CARRIED_DUE, desc, &is_null));
	c->attempts = DatumGetInt32(heap_getattr(row, CARRIED_ATTEMPTS, desc, &is_null));
	c->priority = DatumGetInt16(heap_getattr(row, CARRIED_PRIORITY, desc, &is_null));
	key = heap_getattr(row, CARRIED_KEY, desc, &is_null);
	c->key = braid_work_key_hash(key, is_null);
	return c;
}

static List *
read_carried_segment(List *list, int segment, int group, WorkTime after, WorkTime to, int max,
					 Snapshot snapshot)
{
	Relation rel = table_open(braid_work_carried_table(segment), AccessShareLock);
	Relation index;
	ScanKeyData keys[3];
	SysScanDesc scan;
	HeapTuple row;
	int n = 0;

	if (RelationGetNumberOfBlocks(rel) == 0)
	{
		table_close(rel, AccessShareLock);
		return list;
	}
	index = index_open(relation("work_carried_%d_due", segment), AccessShareLock);
	ScanKeyInit(&keys[0], CARRIED_GROUP, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(group));
	ScanKeyInit(&keys[1], CARRIED_DUE, BTGreaterEqualStrategyNumber, F_TIMESTAMPTZ_GE,
				TimestampTzGetDatum(after.due));
	ScanKeyInit(&keys[2], CARRIED_DUE, BTLessEqualStrategyNumber, F_TIMESTAMPTZ_LE,
				TimestampTzGetDatum(to.due));
	scan = systable_beginscan_ordered(rel, index, snapshot, 3, keys);
	while (n < max && (row = systable_getnext_ordered(scan, ForwardScanDirection)) != NULL)
	{
		WorkCarried *c = read_carried_row(row, RelationGetDescr(rel));

		CHECK_FOR_INTERRUPTS();
		if (!is_between(c, after, to))
		{
			pfree(c);
			continue;
		}
		list = lappend(list, c);
		n++;
	}
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
	return list;
}

static int
compare_carried(const ListCell *x, const ListCell *y)
{
	const WorkCarried *c = lfirst(x);
	const WorkCarried *d = lfirst(y);

	if (c->due != d->due)
		return c->due < d->due ? -1 : 1;
	return c->number < d->number ? -1 : c->number > d->number;
}

List *
braid_work_read_carried(int group, WorkTime after, WorkTime to, int max)
{
	Snapshot snapshot;
	List *list = NIL;

	braid_work_lock_tables();
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	for (int i = 0; i < WORK_SEGMENTS; i++)
		list = read_carried_segment(list, i, group, after, to, max, snapshot);
	UnregisterSnapshot(snapshot);
	braid_work_unlock_tables();
	list_sort(list, compare_carried);
	return list_truncate(list, max);
}
