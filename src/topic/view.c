/*
 * view.c
 *	  The view that a topic is to its users: INSERT and COPY, and what becomes of the topic when
 *	  the view is dropped or changed.
 *
 * NOTES
 *	  Event triggers follow the view, whichever command reaches it, and no dependency of the
 *	  messages on the view is needed: a dump would have to break that circle.  REASSIGN OWNED has no
 *	  event, but passes the hook.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "commands/event_trigger.h"
#include "commands/trigger.h"
#include "common/superuser.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "topic/catalog.h"
#include "topic/create.h"
#include "topic/topic.h"
#include "topic/view.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

/* Columns of a topic's view; users may rename them. */
typedef enum ViewColumn
{
	VIEW_ID = 1,
	VIEW_PARTITION,
	VIEW_KEY,
	VIEW_HEADERS,
	VIEW_PAYLOAD,
	VIEW_SENT_AT,
	VIEW_DELIVER_AT,
	VIEW_PRIORITY,
	VIEW_DEDUP_KEY,
	VIEW_NCOLUMNS = VIEW_DEDUP_KEY
} ViewColumn;

/* ---------------------------------------------------------------- INSERT */

static struct varlena *
get_varlena(const Datum *values, const bool *nulls, ViewColumn column)
{
	return nulls[column - 1] ? NULL : PG_DETOAST_DATUM_PACKED(values[column - 1]);
}

static void
refuse_given(const bool *nulls, ViewColumn column, TupleDesc desc)
{
	if (!nulls[column - 1])
		ereport(ERROR, (errcode(ERRCODE_GENERATED_ALWAYS),
						errmsg("cannot insert into column \"%s\" of a topic",
							   NameStr(TupleDescAttr(desc, column - 1)->attname)),
						errdetail("It is set when the message is sent.")));
}

static void
read_message(const Datum *values, const bool *nulls, BraidMessage *m)
{
	braid_message_init(m);
	m->payload = values[VIEW_PAYLOAD - 1];
	m->has_payload = !nulls[VIEW_PAYLOAD - 1];
	m->key = get_varlena(values, nulls, VIEW_KEY);
	m->headers = get_varlena(values, nulls, VIEW_HEADERS);
	m->dedup_key = get_varlena(values, nulls, VIEW_DEDUP_KEY);
	if (!nulls[VIEW_DELIVER_AT - 1])
		m->deliver_at = DatumGetTimestampTz(values[VIEW_DELIVER_AT - 1]);
	if (!nulls[VIEW_PRIORITY - 1])
		m->priority = DatumGetInt16(values[VIEW_PRIORITY - 1]);
	if (!nulls[VIEW_PARTITION - 1])
		m->part = DatumGetInt16(values[VIEW_PARTITION - 1]);
}

static HeapTuple
insert(TriggerData *trigger)
{
	Relation view = trigger->tg_relation;
	TupleDesc desc = RelationGetDescr(view);
	BraidTopic *topic = braid_topic_get(RelationGetRelid(view));
	Datum values[VIEW_NCOLUMNS];
	bool nulls[VIEW_NCOLUMNS];
	BraidMessage m;

	if (desc->natts != VIEW_NCOLUMNS)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("view \"%s\" is not that of a topic any more",
							   RelationGetRelationName(view))));
	heap_deform_tuple(trigger->tg_trigtuple, desc, values, nulls);
	refuse_given(nulls, VIEW_ID, desc);
	refuse_given(nulls, VIEW_SENT_AT, desc);
	read_message(values, nulls, &m);
	values[VIEW_ID - 1] = Int64GetDatum(braid_topic_send(topic, &m));
	if (m.is_duplicate)
		return NULL;
	nulls[VIEW_ID - 1] = nulls[VIEW_SENT_AT - 1] = false;
	nulls[VIEW_PARTITION - 1] = nulls[VIEW_PRIORITY - 1] = false;
	values[VIEW_SENT_AT - 1] = TimestampTzGetDatum(m.sent_at);
	values[VIEW_PARTITION - 1] = Int16GetDatum(m.sent_part);
	values[VIEW_PRIORITY - 1] = Int16GetDatum(m.priority);
	return heap_form_tuple(desc, values, nulls);
}

PG_FUNCTION_INFO_V1(braid_sql_topic_write);

/* braid_internal.topic_write(): row trigger on a topic's view, instead of all changes */
Datum
braid_sql_topic_write(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_INSTEAD(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("braid_internal.topic_write() must be called as a trigger of a view")));
	if (!TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("messages of topic \"%s\" cannot be changed or deleted",
							   RelationGetRelationName(trigger->tg_relation)),
						errdetail("They go when they are older than the topic retains them.")));
	PG_RETURN_POINTER(insert(trigger));
}

/* ---------------------------------------------------------------- what becomes of the view */

static bool
cascades(Node *stmt)
{
	switch (nodeTag(stmt))
	{
		case T_DropStmt:
			return ((DropStmt *) stmt)->behavior == DROP_CASCADE;
		case T_DropOwnedStmt:
			return ((DropOwnedStmt *) stmt)->behavior == DROP_CASCADE;
		default:
			return false;
	}
}

static EventTriggerData *
event_data(FunctionCallInfo fcinfo)
{
	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function must be called as an event trigger")));
	return (EventTriggerData *) fcinfo->context;
}

#define DROPPED_TOPICS                                                                             \
	"SELECT t.id FROM pg_catalog.pg_event_trigger_dropped_objects() d "                            \
	"JOIN " BRAID_TOPIC_SCHEMA ".topics t ON t.view OPERATOR(pg_catalog.=) d.objid "               \
	"WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass "           \
	"AND d.objsubid OPERATOR(pg_catalog.=) 0 ORDER BY t.id"

PG_FUNCTION_INFO_V1(braid_sql_topic_dropped);

/* braid_internal.topic_dropped(): on sql_drop */
Datum
braid_sql_topic_dropped(PG_FUNCTION_ARGS)
{
	EventTriggerData *event = event_data(fcinfo);
	List *ids = NIL;
	ListCell *lc;

	SPI_connect();
	braid_superuser_execute(DROPPED_TOPICS);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool isnull;

		ids = lappend_int(ids, DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[i],
														   SPI_tuptable->tupdesc, 1, &isnull)));
	}
	foreach (lc, ids)
		braid_topic_drop(lfirst_int(lc), cascades(event->parsetree));
	SPI_finish();
	PG_RETURN_NULL();
}

/* Topics whose messages can be read by another role than the owner of the view. */
#define MISTAKEN_OWNERS                                                                            \
	"SELECT t.id, v.relowner, a.grantee "                                                          \
	"FROM " BRAID_TOPIC_SCHEMA ".topics t "                                                        \
	"JOIN pg_catalog.pg_class v ON v.oid OPERATOR(pg_catalog.=) t.view "                           \
	"JOIN pg_catalog.pg_class m ON m.oid OPERATOR(pg_catalog.=) "                                  \
	"	pg_catalog.to_regclass(pg_catalog.format('" BRAID_TOPIC_SCHEMA ".topic_%s', t.id)) "       \
	"LEFT JOIN LATERAL pg_catalog.aclexplode(m.relacl) a "                                         \
	"	ON a.grantee OPERATOR(pg_catalog.<>) m.relowner "                                            \
	"WHERE coalesce(a.grantee, m.relowner) OPERATOR(pg_catalog.<>) v.relowner"

static void
follow_owners(void)
{
	StringInfoData sql;

	initStringInfo(&sql);
	braid_superuser_execute(MISTAKEN_OWNERS);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple row = SPI_tuptable->vals[i];
		TupleDesc desc = SPI_tuptable->tupdesc;
		bool isnull;
		char *table = braid_topic_table_name(DatumGetInt32(SPI_getbinval(row, desc, 1, &isnull)));
		Oid owner = DatumGetObjectId(SPI_getbinval(row, desc, 2, &isnull));
		Oid former = DatumGetObjectId(SPI_getbinval(row, desc, 3, &isnull));

		if (!isnull)
			appendStringInfo(&sql, "REVOKE ALL ON " BRAID_TOPIC_SCHEMA ".%s FROM %s;", table,
							 quote_identifier(GetUserNameFromId(former, false)));
		appendStringInfo(&sql, "GRANT SELECT ON " BRAID_TOPIC_SCHEMA ".%s TO %s;", table,
						 quote_identifier(GetUserNameFromId(owner, false)));
	}
	if (sql.len > 0)
		braid_superuser_execute(sql.data);
}

PG_FUNCTION_INFO_V1(braid_sql_topic_altered);

/* braid_internal.topic_altered(): on ddl_command_end of what can change a view or its owner */
Datum
braid_sql_topic_altered(PG_FUNCTION_ARGS)
{
	Node *stmt = event_data(fcinfo)->parsetree;

	if (IsA(stmt, ViewStmt))
	{
		Oid view = RangeVarGetRelid(((ViewStmt *) stmt)->view, NoLock, true);

		if (((ViewStmt *) stmt)->replace && braid_topic_find(view) != NULL)
			ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
							errmsg("\"%s\" is a topic", get_rel_name(view)),
							errhint("Make another view that reads it.")));
		PG_RETURN_NULL();
	}
	SPI_connect();
	follow_owners();
	SPI_finish();
	PG_RETURN_NULL();
}

static ProcessUtility_hook_type previous_hook = NULL;

static void
process_utility(PlannedStmt *pstmt, const char *source_text, bool read_only_tree,
				ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *env,
				DestReceiver *dest, QueryCompletion *qc)
{
	bool reassigns = IsA(pstmt->utilityStmt, ReassignOwnedStmt);

	if (previous_hook)
		previous_hook(pstmt, source_text, read_only_tree, context, params, env, dest, qc);
	else
		standard_ProcessUtility(pstmt, source_text, read_only_tree, context, params, env, dest, qc);
	if (!reassigns || !OidIsValid(braid_topic_relation("topics")))
		return;
	CommandCounterIncrement();
	SPI_connect();
	follow_owners();
	SPI_finish();
}

void
braid_topic_view_init(void)
{
	previous_hook = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
}
