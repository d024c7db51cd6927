/*
 * execute.c
 *	  braid.execute() and its like: any command on other nodes, atomically.
 *
 * NOTES
 *	  A command travels as an UPDATE of the server's hidden foreign table
 *	  braid_internal.execute_<oid> (server.c), through the wrapper like any other
 *	  write: the branch is noted, tagged and committed as all branches are, and
 *	  the command runs in the remote transaction of the user's foreign tables
 *	  (command.c).
 *
 *	  Everybody may call these functions, because they give nothing that USAGE
 *	  on a server and a user mapping for it do not give anyway: with these two
 *	  one can make a foreign table of one's own over the participant's view.
 *	  That USAGE is there is checked where the write begins (fdw.c), since the
 *	  hidden tables can be updated without these functions too.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/compat.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "xa/command.h"
#include "xa/node.h"
#include "xa/server.h"

PG_FUNCTION_INFO_V1(braid_sql_execute);
PG_FUNCTION_INFO_V1(braid_sql_execute_all);
PG_FUNCTION_INFO_V1(braid_sql_query);

static void
add_context(void *server)
{
	if (server)
		errcontext("command on server \"%s\"", (char *) server);
	else
		errcontext("command on the local server");
}

/* The server of that name, which the current user may use. */
static ForeignServer *
find_server(const char *name)
{
	ForeignServer *server = GetForeignServerByName(name, false);

	if (!braid_xa_wrapper_is_ours(server->fdwid))
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("server \"%s\" does not take part in global transactions", name),
						errdetail("Its foreign-data wrapper is not braid's.")));
	if (!braid_compat_may_use_server(server->serverid, GetUserId()))
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FOREIGN_SERVER, name);
	return server;
}

/* Sends the command; the result is in the caller's context. */
static XaCommandResult
send_command(const ForeignServer *server, const char *command, bool want_rows)
{
	MemoryContext caller = CurrentMemoryContext;
	Oid types[2] = {TEXTOID, BOOLOID};
	Datum args[2] = {CStringGetTextDatum(command), BoolGetDatum(want_rows)};
	XaCommandResult result = {0};
	char *rows;
	bool isnull;
	int rc;

	/* The hidden table is there once the server is ready. */
	braid_xa_node_wait_ready(server->serverid, braid_xa_server_address(server->serverid));
	SPI_connect();
	rc = SPI_execute_with_args(
		psprintf("UPDATE %s SET command = $1, want_rows = $2 RETURNING processed, result",
				 braid_xa_server_execute_table(server->serverid)),
		2, types, args, NULL, false, 0);
	if (rc != SPI_OK_UPDATE_RETURNING || SPI_processed != 1)
		ereport(ERROR, (errcode(ERRCODE_FDW_ERROR),
						errmsg("could not run a command on server \"%s\"", server->servername),
						errdetail("Its view \"braid_internal.execute\" did not return one row.")));
	result.processed =
		DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	rows = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2);
	if (rows)
		result.rows = MemoryContextStrdup(caller, rows);
	SPI_finish();
	return result;
}

/* server NULL: here. */
static XaCommandResult
run_on(ForeignServer *server, const char *command, bool want_rows)
{
	ErrorContextCallback context = {.callback = add_context,
									.arg = server ? server->servername : NULL,
									.previous = error_context_stack};
	XaCommandResult result;

	error_context_stack = &context;
	result = server ? send_command(server, command, want_rows)
					: braid_xa_command_run(command, false, want_rows);
	error_context_stack = context.previous;
	return result;
}

/* Does nothing to a command that is not there: it is not "no command". */
static void
refuse_null(FunctionCallInfo fcinfo)
{
	for (int i = 0; i < fcinfo->nargs; i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("server, command and options must not be null")));
}

/* execute(server name, command text) returns bigint: rows processed */
Datum
braid_sql_execute(PG_FUNCTION_ARGS)
{
	refuse_null(fcinfo);
	PG_RETURN_INT64(run_on(find_server(NameStr(*PG_GETARG_NAME(0))),
						   text_to_cstring(PG_GETARG_TEXT_PP(1)), false)
						.processed);
}

/* query_as_array(server name, command text) returns jsonb: an array of rows */
Datum
braid_sql_query(PG_FUNCTION_ARGS)
{
	XaCommandResult result;

	refuse_null(fcinfo);
	result = run_on(find_server(NameStr(*PG_GETARG_NAME(0))), text_to_cstring(PG_GETARG_TEXT_PP(1)),
					true);
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(result.rows));
}

static int
compare_names(const ListCell *a, const ListCell *b)
{
	return strcmp(((ForeignServer *) lfirst(a))->servername,
				  ((ForeignServer *) lfirst(b))->servername);
}

/*
 * All our servers, in the order of their names: two calls do not wait for each
 * other in a circle.
 */
static List *
all_servers(void)
{
	List *servers = NIL;
	ListCell *lc;

	foreach (lc, braid_xa_server_list(InvalidOid))
		servers = lappend(servers, find_server(GetForeignServer(lfirst_oid(lc))->servername));
	list_sort(servers, compare_names);
	return servers;
}

static void
run_and_return(ReturnSetInfo *rsi, ForeignServer *server, const char *command)
{
	XaCommandResult result = run_on(server, command, false);

	braid_xa_server_return(rsi, server ? server->servername : NULL,
						   Int64GetDatum(result.processed));
}

/* execute_all(command text, include_local bool) returns setof (server, rows) */
Datum
braid_sql_execute_all(PG_FUNCTION_ARGS)
{
	char *command;
	List *servers;
	ListCell *lc;

	refuse_null(fcinfo);
	command = text_to_cstring(PG_GETARG_TEXT_PP(0));
	InitMaterializedSRF(fcinfo, 0);
	servers = all_servers();

	/* Here first: calls of this coordinator meet at the local locks. */
	if (PG_GETARG_BOOL(1))
		run_and_return((ReturnSetInfo *) fcinfo->resultinfo, NULL, command);
	foreach (lc, servers)
		run_and_return((ReturnSetInfo *) fcinfo->resultinfo, lfirst(lc), command);
	return (Datum) 0;
}
