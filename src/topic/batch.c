/*
 * batch.c
 *	  The functions that send: one message, arrays of them, the rows of a query.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "topic/topic.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define ROWS_AT_A_TIME 1000

/* ---------------------------------------------------------------- values */

/*
 * The payload in the topic's type.  A text stands for what it would stand for as a
 * literal; jsonb can become text.
 */
static Datum
convert_payload(const BraidTopic *topic, Oid from, Datum value)
{
	if (from == topic->payload)
		return PointerGetDatum(PG_DETOAST_DATUM_PACKED(value));
	if (from == JSONBOID && topic->payload == TEXTOID)
		return CStringGetTextDatum(DatumGetCString(DirectFunctionCall1(jsonb_out, value)));
	if (from == TEXTOID || from == VARCHAROID)
	{
		char *literal = text_to_cstring(DatumGetTextPP(value));

		if (topic->payload == JSONBOID)
			return DirectFunctionCall1(jsonb_in, CStringGetDatum(literal));
		if (topic->payload == BYTEAOID)
			return DirectFunctionCall1(byteain, CStringGetDatum(literal));
		return PointerGetDatum(PG_DETOAST_DATUM_PACKED(value));
	}
	ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
					errmsg("payload is of type %s, but the topic's of type %s",
						   format_type_be(from), format_type_be(topic->payload))));
}

static struct varlena *
check_headers(Datum headers)
{
	Jsonb *object = DatumGetJsonbP(headers);

	if (!JB_ROOT_IS_OBJECT(object))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("headers of a message must be an object")));
	return (struct varlena *) object;
}

/* As which type the function was declared for it. */
static Oid
argument_type(FunctionCallInfo fcinfo, int n)
{
	Oid type = get_fn_expr_argtype(fcinfo->flinfo, n);
	Oid *types;
	int ntypes;

	if (OidIsValid(type))
		return type;
	(void) get_func_signature(fcinfo->flinfo->fn_oid, &types, &ntypes);
	return types[n];
}

static BraidTopic *
topic_to_send_to(FunctionCallInfo fcinfo)
{
	BraidTopic *topic;

	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("no topic is given")));
	topic = braid_topic_get(PG_GETARG_OID(0));
	braid_topic_require(topic, ACL_INSERT);
	return topic;
}

/* ---------------------------------------------------------------- one message */

PG_FUNCTION_INFO_V1(braid_sql_send);

/*
 * braid.send(topic regclass, payload text | jsonb | bytea, key text, headers jsonb,
 *	deliver_at timestamptz, priority int, dedup_key text)
 */
Datum
braid_sql_send(PG_FUNCTION_ARGS)
{
	BraidTopic *topic = topic_to_send_to(fcinfo);
	BraidMessage m;

	braid_message_init(&m);
	m.has_payload = !PG_ARGISNULL(1);
	if (m.has_payload)
		m.payload = convert_payload(topic, argument_type(fcinfo, 1), PG_GETARG_DATUM(1));
	if (!PG_ARGISNULL(2))
		m.key = PG_GETARG_TEXT_PP(2);
	if (!PG_ARGISNULL(3))
		m.headers = check_headers(PG_GETARG_DATUM(3));
	if (!PG_ARGISNULL(4))
		m.deliver_at = PG_GETARG_TIMESTAMPTZ(4);
	if (!PG_ARGISNULL(5))
		m.priority = PG_GETARG_INT32(5);
	if (!PG_ARGISNULL(6))
		m.dedup_key = PG_GETARG_TEXT_PP(6);
	PG_RETURN_INT64(braid_topic_send(topic, &m));
}

/* ---------------------------------------------------------------- arrays */

typedef struct ArgumentArray
{
	const char *name;
	bool is_given;
	int n;
	Datum *values;
	bool *nulls;
} ArgumentArray;

static void
open_array(FunctionCallInfo fcinfo, int argument, const char *name, ArgumentArray *a)
{
	ArrayType *array;
	int16 length;
	bool by_value;
	char align;

	memset(a, 0, sizeof(*a));
	a->name = name;
	if (PG_ARGISNULL(argument))
		return;
	array = PG_GETARG_ARRAYTYPE_P(argument);
	if (ARR_NDIM(array) > 1)
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
						errmsg("array \"%s\" must have one dimension", name)));
	get_typlenbyvalalign(ARR_ELEMTYPE(array), &length, &by_value, &align);
	deconstruct_array(array, ARR_ELEMTYPE(array), length, by_value, align, &a->values, &a->nulls,
					  &a->n);
	a->is_given = true;
}

static bool
has_element(const ArgumentArray *a, int i)
{
	return a->is_given && !a->nulls[i];
}

typedef enum BatchArgument
{
	BATCH_PAYLOAD = 1,
	BATCH_KEY,
	BATCH_HEADERS,
	BATCH_DELIVER_AT,
	BATCH_PRIORITY,
	BATCH_DEDUP_KEY,
	BATCH_PARTITION,
	BATCH_NARGUMENTS = BATCH_PARTITION
} BatchArgument;

static const char *const batch_names[BATCH_NARGUMENTS + 1] = {
	NULL, "payload", "key", "headers", "deliver_at", "priority", "dedup_key", "partition"};

static int
get_integer(Datum value, Oid type)
{
	return type == INT2OID ? DatumGetInt16(value) : DatumGetInt32(value);
}

/* Fills in one field of a message that is not null. */
static void
set_field(const BraidTopic *topic, BraidMessage *m, BatchArgument field, Datum value, Oid type)
{
	switch (field)
	{
		case BATCH_PAYLOAD:
			m->has_payload = true;
			m->payload = convert_payload(topic, type, value);
			break;
		case BATCH_KEY:
			m->key = PG_DETOAST_DATUM_PACKED(value);
			break;
		case BATCH_HEADERS:
			m->headers = check_headers(value);
			break;
		case BATCH_DELIVER_AT:
			m->deliver_at = DatumGetTimestampTz(value);
			break;
		case BATCH_PRIORITY:
			m->priority = get_integer(value, type);
			break;
		case BATCH_DEDUP_KEY:
			m->dedup_key = PG_DETOAST_DATUM_PACKED(value);
			break;
		case BATCH_PARTITION:
			m->part = get_integer(value, type);
			break;
	}
}

PG_FUNCTION_INFO_V1(braid_sql_send_batch);

/*
 * braid.send_batch(topic regclass, payloads text[] | jsonb[] | bytea[], keys text[],
 *	headers jsonb[], deliver_at timestamptz[], priorities int[], dedup_keys text[])
 */
Datum
braid_sql_send_batch(PG_FUNCTION_ARGS)
{
	BraidTopic *topic = topic_to_send_to(fcinfo);
	ArgumentArray arrays[BATCH_DEDUP_KEY + 1];
	Oid payload_type = get_element_type(argument_type(fcinfo, BATCH_PAYLOAD));
	MemoryContext row_context;
	MemoryContext caller;
	BraidSender *sender;
	int64 nsent = 0;

	for (int a = BATCH_PAYLOAD; a <= BATCH_DEDUP_KEY; a++)
	{
		open_array(fcinfo, a, batch_names[a], &arrays[a]);
		if (arrays[a].is_given && arrays[a].n != arrays[BATCH_PAYLOAD].n)
			ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
							errmsg("array of \"%s\" has %d elements, and that of payloads %d",
								   batch_names[a], arrays[a].n, arrays[BATCH_PAYLOAD].n)));
	}
	if (arrays[BATCH_PAYLOAD].n == 0)
		PG_RETURN_INT64(0);
	sender = braid_sender_begin(topic);
	row_context =
		AllocSetContextCreate(CurrentMemoryContext, "braid message", ALLOCSET_SMALL_SIZES);
	caller = MemoryContextSwitchTo(row_context);
	for (int i = 0; i < arrays[BATCH_PAYLOAD].n; i++)
	{
		BraidMessage m;

		braid_message_init(&m);
		for (int a = BATCH_PAYLOAD; a <= BATCH_DEDUP_KEY; a++)
			if (has_element(&arrays[a], i))
				set_field(topic, &m, a, arrays[a].values[i],
						  a == BATCH_PAYLOAD ? payload_type : InvalidOid);
		(void) braid_sender_put(sender, &m);
		nsent += !m.is_duplicate;
		MemoryContextReset(row_context);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(row_context);
	braid_sender_end(sender);
	PG_RETURN_INT64(nsent);
}

/* ---------------------------------------------------------------- queries */

/* Which field a column of the query is, and of which type it has to be. */
static BatchArgument
field_of_column(Form_pg_attribute att)
{
	static const Oid types[BATCH_NARGUMENTS + 1] = {[BATCH_KEY] = TEXTOID,
													[BATCH_HEADERS] = JSONBOID,
													[BATCH_DELIVER_AT] = TIMESTAMPTZOID,
													[BATCH_PRIORITY] = INT4OID,
													[BATCH_DEDUP_KEY] = TEXTOID,
													[BATCH_PARTITION] = INT4OID};

	for (int a = BATCH_PAYLOAD; a <= BATCH_NARGUMENTS; a++)
	{
		if (strcmp(NameStr(att->attname), batch_names[a]) != 0)
			continue;
		if (a != BATCH_PAYLOAD && att->atttypid != types[a] &&
			!(types[a] == TEXTOID && att->atttypid == VARCHAROID) &&
			!(types[a] == INT4OID && att->atttypid == INT2OID))
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("column \"%s\" is of type %s, and must be of type %s", batch_names[a],
							format_type_be(att->atttypid), format_type_be(types[a]))));
		return a;
	}
	ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
					errmsg("messages have no column \"%s\"", NameStr(att->attname)),
					errhint("The query may have these columns: payload, key, headers, deliver_at, "
							"priority, dedup_key, partition.")));
}

static int64
send_rows(BraidSender *sender, BraidTopic *topic, SPITupleTable *table, uint64 nrows,
		  const BatchArgument *fields, MemoryContext row_context)
{
	TupleDesc desc = table->tupdesc;
	MemoryContext caller = MemoryContextSwitchTo(row_context);
	int64 nsent = 0;

	for (uint64 i = 0; i < nrows; i++)
	{
		BraidMessage m;

		braid_message_init(&m);
		for (int c = 0; c < desc->natts; c++)
		{
			bool isnull;
			Datum value = SPI_getbinval(table->vals[i], desc, c + 1, &isnull);

			if (!isnull)
				set_field(topic, &m, fields[c], value, TupleDescAttr(desc, c)->atttypid);
		}
		(void) braid_sender_put(sender, &m);
		nsent += !m.is_duplicate;
		MemoryContextReset(row_context);
	}
	MemoryContextSwitchTo(caller);
	return nsent;
}

PG_FUNCTION_INFO_V1(braid_sql_send_query);

/* braid.send_batch(topic regclass, query text) */
Datum
braid_sql_send_query(PG_FUNCTION_ARGS)
{
	BraidTopic *topic = topic_to_send_to(fcinfo);
	char *query = text_to_cstring(PG_GETARG_TEXT_PP(1));
	SPIParseOpenOptions options = {0};
	MemoryContext row_context =
		AllocSetContextCreate(CurrentMemoryContext, "braid message", ALLOCSET_SMALL_SIZES);
	BatchArgument *fields = NULL;
	BraidSender *sender;
	Portal portal;
	uint64 nrows;
	int64 nsent = 0;

	sender = braid_sender_begin(topic);
	SPI_connect();
	portal = SPI_cursor_parse_open(NULL, query, &options);
	do
	{
		SPI_cursor_fetch(portal, true, ROWS_AT_A_TIME);
		if (fields == NULL)
		{
			TupleDesc desc = SPI_tuptable->tupdesc;

			fields = palloc(sizeof(BatchArgument) * Max(desc->natts, 1));
			for (int c = 0; c < desc->natts; c++)
				fields[c] = field_of_column(TupleDescAttr(desc, c));
		}
		nrows = SPI_processed;
		nsent += send_rows(sender, topic, SPI_tuptable, nrows, fields, row_context);
		SPI_freetuptable(SPI_tuptable);
	} while (nrows > 0);
	SPI_cursor_close(portal);
	SPI_finish();
	braid_sender_end(sender);
	MemoryContextDelete(row_context);
	PG_RETURN_INT64(nsent);
}
