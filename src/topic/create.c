/*
 * create.c
 *	  Making, changing and dropping topics.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "common/name.h"
#include "common/superuser.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "topic/catalog.h"
#include "topic/create.h"
#include "topic/rotate.h"
#include "topic/follow.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#define MIN_SEGMENTS 2

/* ---------------------------------------------------------------- relations */

static void
append_segments(StringInfo sql, const BraidTopic *topic)
{
	char *table = braid_topic_table_name(topic->id);

	appendStringInfo(sql,
					 "CREATE TABLE " BRAID_TOPIC_SCHEMA ".%s ("
					 "id int8 NOT NULL, xid xid8 NOT NULL, sent_at timestamptz NOT NULL, "
					 "segment int2 NOT NULL, part int2 NOT NULL, priority int2 NOT NULL, "
					 "deliver_at timestamptz, key text, headers jsonb, dedup_key text, path bytea, "
					 "payload %s) PARTITION BY LIST (segment);",
					 table, format_type_be(topic->payload));
	for (int i = 0; i < topic->nsegments; i++)
	{
		char *segment = braid_topic_segment_name(topic->id, i);

		/* Insert and truncate only: vacuum has nothing to do. */
		appendStringInfo(sql,
						 "CREATE TABLE " BRAID_TOPIC_SCHEMA ".%s PARTITION OF " BRAID_TOPIC_SCHEMA
						 ".%s FOR VALUES IN (%d) USING heap WITH (autovacuum_enabled = off, "
						 "toast.autovacuum_enabled = off);"
						 "REVOKE ALL ON " BRAID_TOPIC_SCHEMA ".%s FROM PUBLIC;"
						 "CREATE INDEX %s ON " BRAID_TOPIC_SCHEMA ".%s (part, xid, id);",
						 segment, table, i, segment, braid_topic_index_name(topic->id, i), segment);
	}
	appendStringInfo(
		sql,
		"CREATE SEQUENCE " BRAID_TOPIC_SCHEMA ".%s OWNED BY " BRAID_TOPIC_SCHEMA ".%s.id;"
		"REVOKE ALL ON " BRAID_TOPIC_SCHEMA ".%s, " BRAID_TOPIC_SCHEMA ".%s FROM PUBLIC;",
		braid_topic_sequence_name(topic->id), table, braid_topic_sequence_name(topic->id), table);
}

static void
append_keys(StringInfo sql, int id)
{
	char *table = braid_topic_keys_name(id);

	appendStringInfo(sql,
					 "CREATE TABLE " BRAID_TOPIC_SCHEMA
					 ".%s (key text COLLATE \"C\" NOT NULL, id int8 NOT NULL, "
					 "segment int2 NOT NULL) PARTITION BY LIST (segment);"
					 "REVOKE ALL ON " BRAID_TOPIC_SCHEMA ".%s FROM PUBLIC;",
					 table, table);
	for (int i = 0; i < BRAID_KEY_SEGMENTS; i++)
	{
		char *segment = braid_topic_key_segment_name(id, i);

		appendStringInfo(sql,
						 "CREATE TABLE " BRAID_TOPIC_SCHEMA ".%s PARTITION OF " BRAID_TOPIC_SCHEMA
						 ".%s FOR VALUES IN (%d) WITH (autovacuum_enabled = off, "
						 "toast.autovacuum_enabled = off);"
						 "REVOKE ALL ON " BRAID_TOPIC_SCHEMA ".%s FROM PUBLIC;"
						 "CREATE UNIQUE INDEX %s_key ON " BRAID_TOPIC_SCHEMA ".%s (key);"
						 "INSERT INTO " BRAID_TOPIC_SCHEMA ".topic_segments VALUES "
						 "(%d, true, %d, %s);",
						 segment, table, i, segment, segment, segment, id, i,
						 i == 0 ? "clock_timestamp()" : "NULL");
	}
}

static void
make_relations(const BraidTopic *topic)
{
	StringInfoData sql;

	initStringInfo(&sql);
	append_segments(&sql, topic);
	for (int i = 0; i < topic->nsegments; i++)
		appendStringInfo(&sql,
						 "INSERT INTO " BRAID_TOPIC_SCHEMA ".topic_segments VALUES "
						 "(%d, false, %d, %s);",
						 topic->id, i, i == 0 ? "clock_timestamp()" : "NULL");
	if (topic->has_keys)
		append_keys(&sql, topic->id);
	braid_superuser_execute(sql.data);
}

/* The view, as the user, and what makes it take messages. */
static Oid
make_view(RangeVar *name, Oid namespace, int id)
{
	char *view = quote_qualified_identifier(get_namespace_name(namespace), name->relname);
	char *table = braid_topic_table_name(id);
	int rc;

	rc = SPI_execute(psprintf("CREATE VIEW %s AS SELECT id, part AS partition, key, headers, "
							  "payload, sent_at, deliver_at, priority, dedup_key "
							  "FROM " BRAID_TOPIC_SCHEMA ".%s WHERE part >= 0",
							  view, table),
					 false, 0);
	if (rc != SPI_OK_UTILITY)
		elog(ERROR, "SPI_execute returned %s", SPI_result_code_string(rc));
	braid_superuser_execute(psprintf(
		"GRANT SELECT ON " BRAID_TOPIC_SCHEMA ".%s TO %s;"
		"CREATE TRIGGER braid_topic INSTEAD OF INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW "
		"EXECUTE FUNCTION " BRAID_TOPIC_SCHEMA ".topic_write()",
		table, quote_identifier(GetUserNameFromId(GetUserId(), false)), view));
	return get_relname_relid(name->relname, namespace);
}

static int
next_id(void)
{
	bool isnull;

	braid_superuser_execute("SELECT nextval('" BRAID_TOPIC_SCHEMA ".topic_ids')::int");
	return DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
}

/* ---------------------------------------------------------------- options */

/* What can be altered. */
typedef enum OptionColumn
{
	OPTION_RETAIN,
	OPTION_RETAIN_SIZE,
	OPTION_DEDUP_WINDOW,
	OPTION_NOTIFY,
	NOPTIONS
} OptionColumn;

static const char *const option_names[NOPTIONS] = {"retain", "retain_size", "dedup_window",
												   "notify"};

static bool
is_below(Datum interval, bool or_equal)
{
	Interval zero = {0};

	return DatumGetBool(DirectFunctionCall2(or_equal ? interval_le : interval_lt, interval,
											IntervalPGetDatum(&zero)));
}

static void
check_options(const Datum *values, const bool *nulls)
{
	if (!nulls[OPTION_RETAIN] && is_below(values[OPTION_RETAIN], false))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("option \"%s\" must not be negative", "retain")));
	if (!nulls[OPTION_RETAIN_SIZE] && DatumGetInt64(values[OPTION_RETAIN_SIZE]) < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("option \"%s\" must not be negative", "retain_size")));
	if (!nulls[OPTION_DEDUP_WINDOW] && is_below(values[OPTION_DEDUP_WINDOW], true))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("option \"%s\" must be above zero", "dedup_window")));
	if (nulls[OPTION_NOTIFY])
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("option \"%s\" must not be null", "notify")));
}

/* Raises an error for names that are no options. */
static void
check_option_names(Jsonb *options)
{
	JsonbIterator *it;
	JsonbValue v;
	JsonbIteratorToken token;

	if (!JB_ROOT_IS_OBJECT(options))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("options of a topic must be an object")));
	it = JsonbIteratorInit(&options->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		bool known = token != WJB_KEY;

		for (int i = 0; i < NOPTIONS && !known; i++)
			known = strlen(option_names[i]) == v.val.string.len &&
					strncmp(option_names[i], v.val.string.val, v.val.string.len) == 0;
		if (!known)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("option \"%s\" of a topic cannot be altered",
								   pnstrdup(v.val.string.val, v.val.string.len)),
							errhint("These can: retain, retain_size, dedup_window, notify.")));
	}
}

/* ---------------------------------------------------------------- functions */

static int
get_number(FunctionCallInfo fcinfo, int n, const char *name, int min, int max)
{
	int value = PG_ARGISNULL(n) ? min - 1 : PG_GETARG_INT32(n);

	if (value < min || value > max)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a topic has from %d to %d %s", min, max, name)));
	return value;
}

static Oid
get_payload(FunctionCallInfo fcinfo, int n)
{
	Oid type = PG_ARGISNULL(n) ? InvalidOid : PG_GETARG_OID(n);

	if (type != JSONBOID && type != TEXTOID && type != BYTEAOID)
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
						errmsg("the payload of a topic is of type jsonb, text or bytea")));
	return type;
}

PG_FUNCTION_INFO_V1(braid_sql_create_topic);

/*
 * braid.create_topic(name text, partitions int, payload regtype, retain interval,
 *	retain_size bigint, dedup_window interval, notify boolean, segments int)
 */
Datum
braid_sql_create_topic(PG_FUNCTION_ARGS)
{
	BraidTopic topic = {0};
	Oid types[] = {INT4OID,		OIDOID,	 OIDOID,	  INT4OID, INT4OID,
				   INTERVALOID, INT8OID, INTERVALOID, BOOLOID};
	Datum args[lengthof(types)];
	char nulls[lengthof(types) + 1];
	bool option_nulls[NOPTIONS];
	RangeVar *name;
	Oid namespace;
	int level;

	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("the name of a topic must not be null")));
	name = makeRangeVarFromNameList(textToQualifiedNameList(PG_GETARG_TEXT_PP(0)));
	topic.npartitions = get_number(fcinfo, 1, "partitions", 1, BRAID_MAX_PARTITIONS);
	topic.payload = get_payload(fcinfo, 2);
	topic.nsegments = get_number(fcinfo, 7, "segments", MIN_SEGMENTS, BRAID_MAX_SEGMENTS);
	topic.has_keys = !PG_ARGISNULL(5);
	memset(nulls, ' ', lengthof(types));
	for (int i = 0; i < NOPTIONS; i++)
	{
		args[5 + i] = PG_GETARG_DATUM(3 + i);
		option_nulls[i] = PG_ARGISNULL(3 + i);
		nulls[5 + i] = option_nulls[i] ? 'n' : ' ';
	}
	check_options(args + 5, option_nulls);

	namespace = RangeVarGetAndCheckCreationNamespace(name, AccessShareLock, NULL);
	if (isAnyTempNamespace(namespace))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION), errmsg("topics cannot be temporary")));
	if (OidIsValid(get_relname_relid(name->relname, namespace)))
		ereport(ERROR, (errcode(ERRCODE_DUPLICATE_TABLE),
						errmsg("relation \"%s\" already exists", name->relname)));
	level = braid_superuser_fix_search_path();
	SPI_connect();
	topic.id = next_id();
	make_relations(&topic);
	topic.view = make_view(name, namespace, topic.id);
	args[0] = Int32GetDatum(topic.id);
	args[1] = ObjectIdGetDatum(topic.view);
	args[2] = ObjectIdGetDatum(topic.payload);
	args[3] = Int32GetDatum(topic.npartitions);
	args[4] = Int32GetDatum(topic.nsegments);
	/* Generation -1: the row is no restored one; see restore.c. */
	braid_superuser_execute_with_args(
		"INSERT INTO " BRAID_TOPIC_SCHEMA ".topics (id, view, payload, partitions, "
		"segments, retain, retain_size, dedup_window, notify, generation) "
		"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, -1)",
		lengthof(types), types, args, nulls);
	SPI_finish();
	AtEOXact_GUC(false, level);
	braid_topic_invalidate(topic.view);
	braid_rotate_request();
	PG_RETURN_OID(topic.view);
}

/* What the options will be, and then are. */
#define NEW_OPTIONS                                                                                \
	"SELECT CASE WHEN $2 ? 'retain' THEN ($2->>'retain')::interval ELSE retain END, "              \
	"CASE WHEN $2 ? 'retain_size' THEN ($2->>'retain_size')::int8 ELSE retain_size END, "          \
	"CASE WHEN $2 ? 'dedup_window' THEN ($2->>'dedup_window')::interval ELSE dedup_window END, "   \
	"CASE WHEN $2 ? 'notify' THEN ($2->>'notify')::boolean ELSE notify END "                       \
	"FROM " BRAID_TOPIC_SCHEMA ".topics WHERE id = $1 FOR UPDATE"

#define SET_OPTIONS                                                                                \
	"UPDATE " BRAID_TOPIC_SCHEMA ".topics "                                                        \
	"SET retain = $2, retain_size = $3, dedup_window = $4, notify = $5 WHERE id = $1"

/* Puts the new values into args, from the second on. */
static void
set_options(int id, Jsonb *options, Datum *args, bool *nulls)
{
	Oid types[] = {INT4OID, INTERVALOID, INT8OID, INTERVALOID, BOOLOID};
	char flags[NOPTIONS + 1];

	args[0] = Int32GetDatum(id);
	args[1] = JsonbPGetDatum(options);
	types[1] = JSONBOID;
	braid_superuser_execute_with_args(NEW_OPTIONS, 2, types, args, NULL);
	types[1] = INTERVALOID;
	if (SPI_processed != 1)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("the topic was dropped")));
	flags[0] = ' ';
	for (int i = 0; i < NOPTIONS; i++)
	{
		args[1 + i] = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1, &nulls[i]);
		flags[1 + i] = nulls[i] ? 'n' : ' ';
	}
	check_options(args + 1, nulls);
	braid_superuser_execute_with_args(SET_OPTIONS, NOPTIONS + 1, types, args, flags);
}

PG_FUNCTION_INFO_V1(braid_sql_alter_topic);

/* braid.alter_topic(topic regclass, options jsonb) */
Datum
braid_sql_alter_topic(PG_FUNCTION_ARGS)
{
	BraidTopic *topic = braid_topic_get(PG_GETARG_OID(0));
	Datum args[NOPTIONS + 1];
	bool nulls[NOPTIONS];
	StringInfoData sql;
	int level;

	braid_topic_require_owner(topic);
	check_option_names(PG_GETARG_JSONB_P(1));
	(void) braid_rotate_lock(topic->id, true);
	level = braid_superuser_fix_search_path();
	SPI_connect();
	set_options(topic->id, PG_GETARG_JSONB_P(1), args, nulls);
	initStringInfo(&sql);
	if (topic->has_keys && nulls[OPTION_DEDUP_WINDOW])
		appendStringInfo(&sql,
						 "DROP TABLE " BRAID_TOPIC_SCHEMA ".%s;"
						 "DELETE FROM " BRAID_TOPIC_SCHEMA
						 ".topic_segments WHERE topic = %d AND is_keys",
						 braid_topic_keys_name(topic->id), topic->id);
	else if (!topic->has_keys && !nulls[OPTION_DEDUP_WINDOW])
		append_keys(&sql, topic->id);
	if (sql.len > 0)
		braid_superuser_execute(sql.data);
	SPI_finish();
	AtEOXact_GUC(false, level);
	braid_topic_invalidate(topic->view);
	PG_RETURN_VOID();
}

static void
drop_table(const char *name)
{
	if (OidIsValid(braid_topic_relation(name)))
		braid_superuser_execute(psprintf("DROP TABLE " BRAID_TOPIC_SCHEMA ".%s", name));
}

void
braid_topic_drop(int id, bool cascade)
{
	int level = braid_superuser_fix_search_path();

	(void) braid_rotate_lock(id, true);
	braid_topic_tell_drop(id, cascade);
	braid_superuser_execute(psprintf("DELETE FROM " BRAID_TOPIC_SCHEMA ".topics WHERE id = %d;"
									 "DELETE FROM " BRAID_TOPIC_SCHEMA
									 ".topic_segments WHERE topic = %d",
									 id, id));
	drop_table(braid_topic_table_name(id));
	drop_table(braid_topic_keys_name(id));
	AtEOXact_GUC(false, level);
}

PG_FUNCTION_INFO_V1(braid_sql_drop_topic);

/* braid.drop_topic(topic regclass, cascade boolean) */
Datum
braid_sql_drop_topic(PG_FUNCTION_ARGS)
{
	BraidTopic *topic = braid_topic_get(PG_GETARG_OID(0));
	bool cascade = PG_GETARG_BOOL(1);
	char *view = braid_relation_name(topic->view);

	braid_topic_require_owner(topic);
	SPI_connect();

	/* What is left is done when the view is dropped: see view.c. */
	if (cascade)
	{
		int level = braid_superuser_fix_search_path();

		braid_topic_tell_drop(topic->id, true);
		AtEOXact_GUC(false, level);
	}
	if (SPI_execute(psprintf("DROP VIEW %s%s", view, cascade ? " CASCADE" : ""), false, 0) !=
		SPI_OK_UTILITY)
		elog(ERROR, "could not drop view %s", view);
	SPI_finish();
	PG_RETURN_VOID();
}
