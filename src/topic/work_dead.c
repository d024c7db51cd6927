/*
 * work_dead.c
 *	  Dead letters: messages that were taken too often, and the way back.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "tcop/utility.h"
#include "topic/arguments.h"
#include "topic/catalog.h"
#include "topic/work_claim.h"
#include "topic/work_store.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(braid_sql_dead_letters);
PG_FUNCTION_INFO_V1(braid_sql_redeliver);
PG_FUNCTION_INFO_V1(braid_sql_discard_dead_letters);

/* Columns of braid_internal.dead_letters_now(). */
enum
{
	DEAD_TOPIC,
	DEAD_GROUP_NAME,
	DEAD_ID,
	DEAD_ATTEMPTS,
	DEAD_ERROR,
	DEAD_DIED_AT,
	DEAD_PARTITION,
	DEAD_KEY,
	DEAD_HEADERS,
	DEAD_PAYLOAD,
	DEAD_SENT_AT,
	DEAD_PRIORITY,
	DEAD_NCOLUMNS
};

/* Of one group, and one id if it is not 0. */
static SysScanDesc
begin_scan(Relation rel, int group, int64 id, Snapshot snapshot, ScanKeyData *keys)
{
	ScanKeyInit(&keys[0], CARRIED_GROUP, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(group));
	if (id != 0)
		ScanKeyInit(&keys[1], CARRIED_ID, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	return systable_beginscan(rel, braid_topic_relation("dead_letters_id"), true, snapshot,
							  id != 0 ? 2 : 1, keys);
}

/* ---------------------------------------------------------------- to look at */

static Datum
payload_text(Oid type, Datum payload)
{
	Oid output;
	bool is_varlena;

	getTypeOutputInfo(type, &output, &is_varlena);
	return CStringGetTextDatum(OidOutputFunctionCall(output, payload));
}

static void
show_letter(ReturnSetInfo *rsi, const BraidTopic *topic, BraidGroup *group, HeapTuple row,
			TupleDesc desc)
{
	static const int columns[DEAD_NCOLUMNS] = {
		[DEAD_ID] = CARRIED_ID,			  [DEAD_ATTEMPTS] = CARRIED_ATTEMPTS,
		[DEAD_ERROR] = CARRIED_ERROR,	  [DEAD_DIED_AT] = CARRIED_DUE,
		[DEAD_PARTITION] = CARRIED_PART,  [DEAD_KEY] = CARRIED_KEY,
		[DEAD_HEADERS] = CARRIED_HEADERS, [DEAD_PAYLOAD] = CARRIED_PAYLOAD,
		[DEAD_SENT_AT] = CARRIED_SENT_AT, [DEAD_PRIORITY] = CARRIED_PRIORITY};
	WorkMessage m;
	Datum values[DEAD_NCOLUMNS];
	bool nulls[DEAD_NCOLUMNS] = {false};

	heap_deform_tuple(row, desc, m.values, m.nulls);
	for (int i = DEAD_ID; i < DEAD_NCOLUMNS; i++)
	{
		values[i] = m.values[columns[i] - 1];
		nulls[i] = m.nulls[columns[i] - 1];
	}
	values[DEAD_TOPIC] = ObjectIdGetDatum(topic->view);
	values[DEAD_GROUP_NAME] = NameGetDatum(&group->name);
	values[DEAD_PARTITION] = Int32GetDatum(DatumGetInt16(values[DEAD_PARTITION]));
	values[DEAD_PRIORITY] = Int32GetDatum(DatumGetInt16(values[DEAD_PRIORITY]));
	if (!nulls[DEAD_PAYLOAD])
		values[DEAD_PAYLOAD] = payload_text(topic->payload, values[DEAD_PAYLOAD]);
	tuplestore_putvalues(rsi->setResult, rsi->setDesc, values, nulls);
}

/* braid_internal.dead_letters_now(): of the topics that the user may read. */
Datum
braid_sql_dead_letters(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsi = (ReturnSetInfo *) fcinfo->resultinfo;
	Relation rel = table_open(braid_topic_relation("dead_letters"), AccessShareLock);
	ListCell *lc;

	InitMaterializedSRF(fcinfo, 0);
	foreach (lc, braid_group_list(0))
	{
		BraidGroup *group = lfirst(lc);
		BraidTopic *topic = group->is_work ? braid_topic_by_id(group->topic) : NULL;
		ScanKeyData keys[2];
		SysScanDesc scan;
		HeapTuple row;

		if (topic == NULL || pg_class_aclcheck(topic->view, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
			continue;
		scan = begin_scan(rel, group->id, 0, GetActiveSnapshot(), keys);
		while ((row = systable_getnext(scan)) != NULL)
			show_letter(rsi, topic, group, row, RelationGetDescr(rel));
		systable_endscan(scan);
	}
	table_close(rel, AccessShareLock);
	return (Datum) 0;
}

/* ---------------------------------------------------------------- back, or away */

/* What is done with a letter, in the columns of dead_letters. */
typedef void (*LetterHandler)(const BraidTopic *topic, const BraidGroup *group,
							  const WorkMessage *m);

static int64
for_letters(const BraidTopic *topic, const BraidGroup *group, Relation rel, int64 id,
			LetterHandler handler)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	ScanKeyData keys[2];
	SysScanDesc scan = begin_scan(rel, group->id, id, snapshot, keys);
	HeapTuple row;
	int64 n = 0;

	while ((row = systable_getnext(scan)) != NULL)
	{
		WorkMessage m;

		CHECK_FOR_INTERRUPTS();
		heap_deform_tuple(row, RelationGetDescr(rel), m.values, m.nulls);
		if (handler)
			handler(topic, group, &m);
		simple_heap_delete(rel, &row->t_self);
		n++;
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	return n;
}

/* Two that want the same letters wait for each other. */
static int64
handle_letters(FunctionCallInfo fcinfo, const char *command, LetterHandler handler)
{
	static const char *const names[] = {"topic", "group_name"};
	BraidTopic *topic;
	BraidGroup group;
	Relation rel;
	int64 n = 0;

	braid_refuse_nulls(fcinfo, names, lengthof(names));
	PreventCommandDuringRecovery(command);
	PreventCommandIfReadOnly(command);
	topic = braid_topic_get(PG_GETARG_OID(0));
	braid_group_get(topic, text_to_cstring(PG_GETARG_TEXT_PP(1)), &group);
	braid_group_require_owner(topic, &group);
	if (!group.is_work)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("consumer group \"%s\" is of mode log", NameStr(group.name))));
	rel = table_open(braid_topic_relation("dead_letters"), ShareRowExclusiveLock);
	if (PG_ARGISNULL(2))
		n = for_letters(topic, &group, rel, 0, handler);
	else
	{
		ArrayType *ids = PG_GETARG_ARRAYTYPE_P(2);
		Datum *elements;
		bool *nulls;
		int nids;

		deconstruct_array(ids, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &elements, &nulls,
						  &nids);
		for (int i = 0; i < nids; i++)
			if (!nulls[i] && DatumGetInt64(elements[i]) != 0)
				n += for_letters(topic, &group, rel, DatumGetInt64(elements[i]), handler);
	}
	table_close(rel, NoLock);
	return n;
}

static void
carry_back(const BraidTopic *topic, const BraidGroup *group, const WorkMessage *m)
{
	int64 number = nextval_internal(topic->ids, false);
	TimestampTz now = GetCurrentTimestamp();

	braid_work_claims_reserve(1);
	braid_work_write_carried(braid_work_window_segment(), group->id, number, now, 0, NULL, m);
	braid_work_claim_carried(topic->id, group->id, now, number);
}

/* braid.redeliver(topic, group_name, ids) */
Datum
braid_sql_redeliver(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(handle_letters(fcinfo, "braid.redeliver()", carry_back));
}

/* braid.discard_dead_letters(topic, group_name, ids) */
Datum
braid_sql_discard_dead_letters(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(handle_letters(fcinfo, "braid.discard_dead_letters()", NULL));
}
