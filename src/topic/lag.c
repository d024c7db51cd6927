/*
 * lag.c
 *	  How far groups are behind, for braid.group_positions.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "topic/position.h"
#include "topic/reader.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(braid_sql_group_position);

/* So many messages are counted, and how many more there are is estimated by their ids. */
#define COUNTED 10000

/* Columns of the result. */
enum
{
	LAG_CONSUMED,
	LAG_MOVED_AT,
	LAG_POSITION,
	LAG_MESSAGES,
	LAG_OLDEST,
	LAG_NCOLUMNS
};

static void
measure(BraidTopic *topic, int part, const BraidPosition *position, Snapshot snapshot,
		Datum *values, bool *nulls)
{
	BraidReader *reader = braid_reader_open(topic, part, position, snapshot, COUNTED);
	TupleTableSlot *slot;
	TimestampTz oldest = DT_NOEND;
	int64 n = 0;
	int64 id = 0;

	while (n < COUNTED && (slot = braid_reader_next(reader)) != NULL)
	{
		bool is_null;

		oldest = Min(oldest, DatumGetTimestampTz(slot_getattr(slot, MESSAGE_SENT_AT, &is_null)));
		id = braid_reader_place(reader).id;
		braid_reader_accept(reader);
		n++;
	}
	if (n == COUNTED)
		n += Max(braid_reader_newest_id(reader) - id, 0) / topic->npartitions;
	braid_reader_close(reader);
	values[LAG_MESSAGES] = Int64GetDatum(n);
	values[LAG_OLDEST] = TimestampTzGetDatum(oldest);
	nulls[LAG_OLDEST] = TIMESTAMP_IS_NOEND(oldest);
}

/* braid_internal.group_position(topic, group_id, part): null for those who may not read the topic. */
Datum
braid_sql_group_position(PG_FUNCTION_ARGS)
{
	BraidTopic *topic = braid_topic_by_id(PG_GETARG_INT32(0));
	int group = PG_GETARG_INT32(1);
	int part = PG_GETARG_INT32(2);
	BraidStoredPosition stored;
	Datum values[LAG_NCOLUMNS];
	bool nulls[LAG_NCOLUMNS] = {false};
	Snapshot snapshot;
	TupleDesc desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (topic == NULL || part < 0 || part >= topic->npartitions ||
		pg_class_aclcheck(topic->view, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		PG_RETURN_NULL();
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (!braid_position_read(group, part, snapshot, &stored))
	{
		UnregisterSnapshot(snapshot);
		PG_RETURN_NULL();
	}
	values[LAG_CONSUMED] = Int64GetDatum(stored.consumed);
	values[LAG_MOVED_AT] = TimestampTzGetDatum(stored.moved_at);
	values[LAG_POSITION] = braid_position_to_datum(&stored.position);
	if (RecoveryInProgress())
		nulls[LAG_MESSAGES] = nulls[LAG_OLDEST] =
			true; /* snapshots of a standby do not say enough */
	else
		measure(topic, part, &stored.position, snapshot, values, nulls);
	UnregisterSnapshot(snapshot);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}
