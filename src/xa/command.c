/*
 * command.c
 *	  Running a command on behalf of another node, in this session.
 *
 * NOTES
 *	  braid.execute() on the coordinator updates a foreign table over the view
 *	  braid_internal.execute of the participant, whose INSTEAD OF trigger is here.
 *	  So the command arrives on the connection that the foreign tables of its
 *	  user have, and runs in their remote transaction.
 *
 *	  Who may update the view may run commands as himself, which he could have
 *	  sent without it: the view needs no privilege.
 *
 *	  The session belongs to postgres_fdw, which has set search_path and what
 *	  else tells its values' text form.  A command is to mean what it means in a
 *	  session of its user, so it gets these settings as the role, the database
 *	  and the server's options have them.  Whatever it sets itself is undone
 *	  with them: postgres_fdw relies on its own.
 */
#include "postgres.h"

#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "parser/parser.h"
#include "tcop/dest.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/rel.h"
#include "xa/command.h"

PG_FUNCTION_INFO_V1(braid_sql_execute_here);

/* Columns of the view, by number. */
enum
{
	COLUMN_COMMAND = 1,
	COLUMN_WANT_ROWS,
	COLUMN_PROCESSED,
	COLUMN_RESULT,
	NCOLUMNS = COLUMN_RESULT
};

/* What postgres_fdw sets in its sessions. */
static const char *const fdw_settings[] = {"search_path", "TimeZone", "DateStyle", "IntervalStyle",
										   "extra_float_digits"};

/* Sets them to what they were when the session began, to the end of the nest level. */
static void
use_own_settings(void)
{
	for (int i = 0; i < lengthof(fdw_settings); i++)
		(void) set_config_option(fdw_settings[i], NULL, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
								 true, 0, false);
}

static void
refuse_empty(const char *command)
{
	if (raw_parser(command, RAW_PARSE_DEFAULT) == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("command must not be empty")));
}

static void
raise_refused(int rc, const char *command)
{
	switch (rc)
	{
		case SPI_ERROR_TRANSACTION:
			ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
							errmsg("cannot run transaction control commands"),
							errhint("The command belongs to the transaction that calls "
									"braid.execute(), and is committed or rolled back with it.")));
			break;
		case SPI_ERROR_COPY:
			ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
							errmsg("cannot COPY from or to the client"),
							errhint("Use COPY with a foreign table instead.")));
			break;
		default:
			elog(ERROR, "SPI_execute_extended returned %s for \"%s\"", SPI_result_code_string(rc),
				 command);
	}
}

/* The rows of the last statement, in the given context. */
static char *
rows_as_json(MemoryContext context)
{
	MemoryContext spi = MemoryContextSwitchTo(context);
	StringInfoData json;

	initStringInfo(&json);
	MemoryContextSwitchTo(spi);
	appendStringInfoChar(&json, '[');
	if (SPI_tuptable)
	{
		TupleDesc desc = BlessTupleDesc(SPI_tuptable->tupdesc);

		for (uint64 i = 0; i < SPI_tuptable->numvals; i++)
		{
			Datum row = heap_copy_tuple_as_datum(SPI_tuptable->vals[i], desc);

			appendStringInfo(&json, "%s%s", i > 0 ? "," : "",
							 TextDatumGetCString(DirectFunctionCall1(row_to_json, row)));
		}
	}
	appendStringInfoChar(&json, ']');
	return json.data;
}

XaCommandResult
braid_xa_command_run(const char *command, bool own_settings, bool want_rows)
{
	MemoryContext caller = CurrentMemoryContext;
	SPIExecuteOptions options = {0};
	XaCommandResult result = {0};
	int nest_level;
	int rc;

	refuse_empty(command);
	nest_level = NewGUCNestLevel();
	if (own_settings)
		use_own_settings();
	SPI_connect();
	if (!want_rows)
		options.dest = None_Receiver;
	rc = SPI_execute_extended(command, &options);
	if (rc < 0)
		raise_refused(rc, command);
	result.processed = SPI_processed;
	if (want_rows)
		result.rows = rows_as_json(caller);
	SPI_finish();

	/* "false" undoes them all, and not only those of SET LOCAL. */
	AtEOXact_GUC(false, nest_level);
	return result;
}

/* INSTEAD OF UPDATE trigger on braid_internal.execute. */
Datum
braid_sql_execute_here(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	Datum values[NCOLUMNS];
	bool nulls[NCOLUMNS];
	XaCommandResult result;
	TupleDesc desc;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function \"%s\" must be called as an UPDATE trigger", "execute")));
	desc = RelationGetDescr(trigger->tg_relation);
	heap_deform_tuple(trigger->tg_newtuple, desc, values, nulls);
	if (nulls[COLUMN_COMMAND - 1] || nulls[COLUMN_WANT_ROWS - 1])
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("command must not be null")));
	result = braid_xa_command_run(TextDatumGetCString(values[COLUMN_COMMAND - 1]), true,
								  DatumGetBool(values[COLUMN_WANT_ROWS - 1]));
	values[COLUMN_PROCESSED - 1] = Int64GetDatum(result.processed);
	nulls[COLUMN_PROCESSED - 1] = false;
	nulls[COLUMN_RESULT - 1] = result.rows == NULL;
	if (result.rows)
		values[COLUMN_RESULT - 1] = CStringGetTextDatum(result.rows);
	return PointerGetDatum(heap_form_tuple(desc, values, nulls));
}
