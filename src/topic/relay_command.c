/*
 * relay_command.c
 *	  What users say about relays: create, alter, resume, drop.
 *
 * NOTES
 *	  A relay belongs to its target: the target's owner may change it, messages are
 *	  sent in his name, and the connection uses his user mapping.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/compat.h"
#include "common/name.h"
#include "common/superuser.h"
#include "common/worker.h"
#include "common/xact.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "topic/arguments.h"
#include "topic/relay.h"
#include "topic/relay_server.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

PG_FUNCTION_INFO_V1(braid_sql_create_relay);
PG_FUNCTION_INFO_V1(braid_sql_alter_relay);
PG_FUNCTION_INFO_V1(braid_sql_resume_relay);
PG_FUNCTION_INFO_V1(braid_sql_drop_relay);

#define MAX_BATCH_ROWS 1000000
#define MIN_BATCH_BYTES 1024
#define MAX_BATCH_BYTES (64 * 1024 * 1024)

/* ---------------------------------------------------------------- as superuser */

/*
 * Runs one of our own statements as the owner of our tables, with the operators of pg_catalog and
 * not those of the caller; returns the number of rows.
 */
static uint64
execute(const char *sql, int nargs, Oid *types, Datum *values, const char *nulls)
{
	int level = braid_superuser_fix_search_path();

	braid_superuser_execute_with_args(sql, nargs, types, values, nulls);
	AtEOXact_GUC(false, level);
	return SPI_processed;
}

/* The running transaction has changed a relay. */
static bool has_told = false;

/* One more thing that the worker is to notice when this has committed. */
static void
tell(void)
{
	braid_relay_tell_change();
	braid_worker_request_at_commit(braid_relay_worker_kind);
	has_told = true;
}

/* A request is made before others hear what has changed; now they have. */
static void
wake_worker(bool is_commit)
{
	if (has_told && is_commit)
		braid_worker_wake(braid_relay_worker_kind, MyDatabaseId);
	has_told = false;
}

void
braid_relay_command_init(void)
{
	braid_xact_on_locks_released(wake_worker);
}

/* ---------------------------------------------------------------- arguments */

static void
check_range(const char *argument, int64 value, int64 least, int64 most)
{
	if (value < least || value > most)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("%s must be between %lld and %lld", argument, (long long) least,
							   (long long) most)));
}

/*
 * Where to begin, in words that mean the same whoever reads them: beginning, end,
 * position, "id 7" or "time 123", in microseconds.
 */
static char *
parse_start(const char *text)
{
	int64 id;
	Datum time;

	if (strcmp(text, "beginning") == 0 || strcmp(text, "end") == 0 || strcmp(text, "position") == 0)
		return pstrdup(text);
	if (text[0] != '\0' && strspn(text, "0123456789") == strlen(text))
	{
		id = DatumGetInt64(DirectFunctionCall1(int8in, CStringGetDatum(text)));
		return psprintf("id %lld", (long long) id);
	}
	time = DirectFunctionCall3(timestamptz_in, CStringGetDatum(text), ObjectIdGetDatum(InvalidOid),
							   Int32GetDatum(-1));
	if (TIMESTAMP_NOT_FINITE(DatumGetTimestampTz(time)))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the time at which to begin must be finite"),
						errhint("Say beginning or end.")));
	return psprintf("time %lld", (long long) DatumGetTimestampTz(time));
}

/*
 * The source looks its topic up as relays do, who have no search_path: a name without a schema would
 * never be found there, and would mean something else to each user if it were.
 */
static void
check_source(const char *name)
{
	List *parts = textToQualifiedNameList(cstring_to_text(name));

	if (list_length(parts) != 2)
		ereport(ERROR, (errcode(ERRCODE_INVALID_NAME),
						errmsg("%s is not a schema and the name of a topic", name),
						errhint("For example: public.%s", quote_identifier(strVal(llast(parts))))));
}

/* ---------------------------------------------------------------- a relay by its name */

static const char *const name_argument = "name";

/* The target, if the current user may do this. */
static BraidTopic *
require_target_owner(int topic_id, const char *relay)
{
	BraidTopic *topic = braid_topic_by_id(topic_id);

	if (topic)
		braid_topic_require_owner(topic);
	else if (!superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be superuser to change relay \"%s\", whose target is gone", relay)));
	return topic;
}

/* The locked relay's id, and its target, NULL if that is gone; SPI is connected. */
static int
lock_by_name(const char *name, BraidTopic **topic)
{
	Oid types[] = {TEXTOID};
	Datum values[] = {CStringGetTextDatum(name)};
	int id = 0;

	/* Twice: it may have been dropped, or made anew, before we had the lock. */
	for (int look = 0; look < 2; look++)
	{
		bool isnull;
		int target;

		if (execute("SELECT id, target FROM braid_internal.relays WHERE name::text = $1", 1, types,
					values, NULL) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("relay \"%s\" does not exist", name),
					 errhint("See braid.relays.")));
		id = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
		target =
			DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
		*topic = require_target_owner(target, name);
		braid_relay_lock(id);
	}
	return id;
}

/* ---------------------------------------------------------------- create */

static char *
default_name(BraidTopic *target, const char *server)
{
	const char *name = get_rel_name(target->view);

	return psprintf("%.*s_%.*s", pg_mbcliplen(name, strlen(name), 31), name,
					pg_mbcliplen(server, strlen(server), 31), server);
}

static void
check_name(const char *name)
{
	Oid types[] = {TEXTOID};
	Datum values[] = {CStringGetTextDatum(name)};

	if (name[0] == '\0')
		ereport(ERROR, (errcode(ERRCODE_INVALID_NAME), errmsg("a relay needs a name")));
	if (execute("SELECT FROM braid_internal.relays WHERE name::text = $1", 1, types, values, NULL) >
		0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT), errmsg("relay \"%s\" already exists", name),
				 errhint("Give this one another name.")));
}

Datum
braid_sql_create_relay(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"topic", "server",	   "target",	 NULL,
										"start", "batch_rows", "batch_bytes"};
	Oid types[] = {TEXTOID, TEXTOID, TEXTOID, INT4OID, INT4OID, INT4OID, INT8OID, TEXTOID};
	Datum values[8];
	char nulls[] = "        ";
	BraidTopic *target;
	Name result = palloc0(sizeof(NameData));
	char *source;
	char *server;
	char *name;
	char *start;

	braid_refuse_nulls(fcinfo, names, lengthof(names));
	source = text_to_cstring(PG_GETARG_TEXT_PP(0));
	check_source(source);
	server = NameStr(*PG_GETARG_NAME(1));
	target = braid_topic_get(PG_GETARG_OID(2));
	braid_topic_require_owner(target);
	braid_relay_check_server(server, braid_relay_owner(target));
	name = PG_ARGISNULL(3) ? default_name(target, server) : NameStr(*PG_GETARG_NAME(3));
	start = parse_start(text_to_cstring(PG_GETARG_TEXT_PP(4)));
	if (strcmp(start, "position") == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a new relay has no position to begin at")));
	check_range("batch_rows", PG_GETARG_INT32(5), 1, MAX_BATCH_ROWS);
	check_range("batch_bytes", PG_GETARG_INT32(6), MIN_BATCH_BYTES, MAX_BATCH_BYTES);
	if (!PG_ARGISNULL(7))
		check_range("target_limit", PG_GETARG_INT64(7), 0, PG_INT64_MAX);

	SPI_connect();
	check_name(name);
	values[0] = CStringGetTextDatum(name);
	values[1] = CStringGetTextDatum(source);
	values[2] = CStringGetTextDatum(server);
	values[3] = Int32GetDatum(target->id);
	values[4] = PG_GETARG_DATUM(5);
	values[5] = PG_GETARG_DATUM(6);
	values[6] = PG_ARGISNULL(7) ? Int64GetDatum(0) : PG_GETARG_DATUM(7);
	values[7] = CStringGetTextDatum(start);
	execute("WITH made AS (INSERT INTO braid_internal.relays (id, name, source, server, target, "
			"batch_rows, batch_bytes, target_limit) "
			"VALUES (nextval('braid_internal.relay_ids'), $1::name, $2, $3::name, $4, $5, $6, "
			"nullif($7, 0)) RETURNING id) "
			"INSERT INTO braid_internal.relay_states (relay, start) SELECT id, $8 FROM made",
			lengthof(types), types, values, nulls);
	SPI_finish();
	tell();
	namestrcpy(result, name);
	PG_RETURN_NAME(result);
}

/* ---------------------------------------------------------------- alter, resume, drop */

Datum
braid_sql_alter_relay(PG_FUNCTION_ARGS)
{
	Oid types[] = {INT4OID, INT4OID, INT4OID, INT8OID, BOOLOID, TEXTOID};
	Datum values[6];
	char nulls[] = "      ";
	BraidTopic *target;
	int id;

	braid_refuse_nulls(fcinfo, &name_argument, 1);
	if (!PG_ARGISNULL(1))
		check_range("batch_rows", PG_GETARG_INT32(1), 1, MAX_BATCH_ROWS);
	if (!PG_ARGISNULL(2))
		check_range("batch_bytes", PG_GETARG_INT32(2), MIN_BATCH_BYTES, MAX_BATCH_BYTES);
	if (!PG_ARGISNULL(3))
		check_range("target_limit", PG_GETARG_INT64(3), 0, PG_INT64_MAX);

	SPI_connect();
	id = lock_by_name(NameStr(*PG_GETARG_NAME(0)), &target);
	values[0] = Int32GetDatum(id);
	for (int i = 1; i < 6; i++)
	{
		values[i] = PG_ARGISNULL(i) ? (Datum) 0 : PG_GETARG_DATUM(i);
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
	}
	if (!PG_ARGISNULL(5))
	{
		if (target)
			braid_relay_check_server(NameStr(*PG_GETARG_NAME(5)), braid_relay_owner(target));
		values[5] = CStringGetTextDatum(NameStr(*PG_GETARG_NAME(5)));
	}
	execute("UPDATE braid_internal.relays SET batch_rows = coalesce($2, batch_rows), "
			"batch_bytes = coalesce($3, batch_bytes), "
			"target_limit = nullif(coalesce($4, target_limit), 0), "
			"paused = coalesce($5, paused), server = coalesce($6::name, server) WHERE id = $1",
			lengthof(types), types, values, nulls);
	SPI_finish();
	tell();
	PG_RETURN_VOID();
}

/* Whether it has stopped for good; SPI is connected. */
static bool
is_stopped(int id)
{
	Oid types[] = {INT4OID};
	Datum values[] = {Int32GetDatum(id)};

	/* One that came out of a dump has no state. */
	return execute("SELECT FROM braid_internal.relay_states WHERE relay = $1 AND stopped IS NULL",
				   1, types, values, NULL) == 0;
}

Datum
braid_sql_resume_relay(PG_FUNCTION_ARGS)
{
	Oid types[] = {INT4OID, TEXTOID};
	Datum values[2];
	char *start = NULL;
	char *name;
	BraidTopic *target;
	int id;

	braid_refuse_nulls(fcinfo, &name_argument, 1);
	name = NameStr(*PG_GETARG_NAME(0));
	if (!PG_ARGISNULL(1))
		start = parse_start(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	SPI_connect();
	id = lock_by_name(name, &target);
	if (start == NULL && is_stopped(id))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("relay \"%s\" has stopped, and does not know where to go on", name),
						errhint("See reason and advice in braid.relays, and say from where.")));
	values[0] = Int32GetDatum(id);
	if (start)
	{
		values[1] = CStringGetTextDatum(start);
		execute("INSERT INTO braid_internal.relay_states (relay, start) VALUES ($1, $2) "
				"ON CONFLICT (relay) DO UPDATE SET start = excluded.start, stopped = NULL, "
				"advice = NULL, since = now()",
				2, types, values, NULL);
	}
	execute("UPDATE braid_internal.relays SET paused = false WHERE id = $1 AND paused", 1, types,
			values, NULL);
	SPI_finish();
	tell();
	PG_RETURN_VOID();
}

Datum
braid_sql_drop_relay(PG_FUNCTION_ARGS)
{
	Oid types[] = {INT4OID};
	Datum values[1];
	BraidTopic *target;

	SPI_connect();
	values[0] = Int32GetDatum(lock_by_name(NameStr(*PG_GETARG_NAME(0)), &target));
	if (PG_GETARG_BOOL(1) && target)
		execute("UPDATE braid_internal.relays SET dropped = true WHERE id = $1", 1, types, values,
				NULL);
	else
	{
		execute("DELETE FROM braid_internal.relay_states WHERE relay = $1", 1, types, values, NULL);
		execute("DELETE FROM braid_internal.relays WHERE id = $1", 1, types, values, NULL);
	}
	SPI_finish();
	tell();
	PG_RETURN_VOID();
}

/* ---------------------------------------------------------------- the target is dropped */

void
braid_relay_target_dropped(int topic, bool cascade)
{
	Oid types[] = {INT4OID};
	Datum values[] = {Int32GetDatum(topic)};
	uint64 n;

	SPI_connect();
	n = execute("SELECT name::text FROM braid_internal.relays WHERE target = $1 ORDER BY name", 1,
				types, values, NULL);
	if (n > 0 && !cascade)
		ereport(ERROR, (errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
						errmsg("cannot drop the topic because relays bring messages to it"),
						errdetail("There are %d, for example \"%s\".", (int) n,
								  SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1)),
						errhint("Drop them with braid.drop_relay(), or use DROP ... CASCADE.")));
	if (n > 0)
	{
		execute("DELETE FROM braid_internal.relay_states WHERE relay IN "
				"(SELECT id FROM braid_internal.relays WHERE target = $1)",
				1, types, values, NULL);
		execute("DELETE FROM braid_internal.relays WHERE target = $1", 1, types, values, NULL);
		tell();
	}
	SPI_finish();
}
