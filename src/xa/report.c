/*
 * report.c
 *	  What SQL can see of global transactions; the views are in xa.sql.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "xa/node.h"
#include "xa/report.h"
#include "xa/transaction.h"

PG_FUNCTION_INFO_V1(braid_sql_xa_nodes);
PG_FUNCTION_INFO_V1(braid_sql_xa_transactions);
PG_FUNCTION_INFO_V1(braid_sql_xa_findings);
PG_FUNCTION_INFO_V1(braid_sql_xa_sweep);

Datum
braid_xa_text_or_null(const char *s, bool *isnull)
{
	*isnull = s[0] == '\0';
	return *isnull ? (Datum) 0 : CStringGetTextDatum(s);
}

static Datum
time_or_null(TimestampTz t, bool *isnull)
{
	*isnull = t == 0;
	return TimestampTzGetDatum(t);
}

/* One row per server of this database. */
Datum
braid_sql_xa_nodes(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsi = (ReturnSetInfo *) fcinfo->resultinfo;
	XaNode node;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; braid_xa_node_read(i, &node); i++)
	{
		Datum v[9];
		bool n[9] = {false};

		if (node.dbid != MyDatabaseId)
			continue;
		v[0] = ObjectIdGetDatum(node.serverid);
		v[1] = BoolGetDatum(node.ready);
		v[2] = braid_xa_text_or_null(node.reason, &n[2]);
		v[3] = braid_xa_text_or_null(node.hint, &n[3]);
		v[4] = braid_xa_text_or_null(node.version, &n[4]);
		v[5] = time_or_null(node.since, &n[5]);
		v[6] = Int64GetDatum(node.round_trip_us);
		n[6] = node.last_sweep == 0;
		v[7] = time_or_null(node.last_sweep, &n[7]);
		v[8] = time_or_null(node.clean_before, &n[8]);
		tuplestore_putvalues(rsi->setResult, rsi->setDesc, v, n);
	}
	return (Datum) 0;
}

static const char *
state_name(const XaTransaction *t)
{
	switch (t->state)
	{
		case XA_ACTIVE:
			return "active";
		case XA_COMMITTING:
		case XA_FINISHED:
			return "committing";
		default:
			return "in doubt";
	}
}

static const char *
branch_state_name(XaBranchState state)
{
	switch (state)
	{
		case XA_BRANCH_OPEN:
			return "open";
		case XA_BRANCH_QUEUED:
			return "committing";
		case XA_BRANCH_DONE:
			return "committed";
		default:
			return "in doubt";
	}
}

/* One row per transaction of this database that is under way. */
Datum
braid_sql_xa_transactions(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsi = (ReturnSetInfo *) fcinfo->resultinfo;
	XaTransaction *t = palloc(sizeof(XaTransaction));

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; braid_xa_transaction_read(i, t); i++)
	{
		Datum servers[BRAID_XA_MAX_BRANCHES];
		Datum states[BRAID_XA_MAX_BRANCHES];
		char gid[BRAID_GID_LEN];
		Datum v[9];
		bool n[9] = {false};

		if (t->state == XA_FREE || t->dbid != MyDatabaseId)
			continue;
		for (int b = 0; b < t->nbranches; b++)
		{
			servers[b] = ObjectIdGetDatum(t->branches[b].serverid);
			states[b] = CStringGetTextDatum(branch_state_name(t->branches[b].state));
		}
		v[0] = CStringGetTextDatum(braid_gid_format_transaction(&t->gid, gid));
		v[1] = CStringGetTextDatum(state_name(t));
		v[2] = Int32GetDatum(t->pid);
		v[3] = time_or_null(t->started, &n[3]);
		v[4] = time_or_null(t->decided, &n[4]);
		v[5] = PointerGetDatum(
			construct_array(servers, t->nbranches, OIDOID, sizeof(Oid), true, TYPALIGN_INT));
		v[6] = PointerGetDatum(
			construct_array(states, t->nbranches, TEXTOID, -1, false, TYPALIGN_INT));
		v[7] = Int32GetDatum(t->attempts);
		v[8] = braid_xa_text_or_null(t->last_error, &n[8]);
		tuplestore_putvalues(rsi->setResult, rsi->setDesc, v, n);
	}
	pfree(t);
	return (Datum) 0;
}

static const char *
finding_name(XaFindingState state)
{
	switch (state)
	{
		case XA_FINDING_ACTIVE:
			return "active";
		case XA_FINDING_COMMITTED:
			return "committed";
		case XA_FINDING_ROLLED_BACK:
			return "rolled back";
		default:
			return "in doubt";
	}
}

/* One row per prepared branch that the last sweep of its server has found. */
Datum
braid_sql_xa_findings(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsi = (ReturnSetInfo *) fcinfo->resultinfo;
	XaFinding f;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; braid_xa_node_read_finding(i, &f); i++)
	{
		char gid[BRAID_GID_LEN];
		Datum v[8];
		bool n[8] = {false};

		if (f.dbid != MyDatabaseId)
			continue;
		v[0] = CStringGetTextDatum(braid_gid_format(&f.gid, gid));
		v[1] = ObjectIdGetDatum(f.serverid);
		v[2] = time_or_null(f.prepared, &n[2]);
		v[3] = CStringGetTextDatum(finding_name(f.state));
		v[4] = braid_xa_text_or_null(f.error, &n[4]);
		v[5] = Int64GetDatum(f.locks);
		n[5] = f.locks < 0;
		v[6] = Int32GetDatum(f.xid_age);
		v[7] = time_or_null(f.seen, &n[7]);
		tuplestore_putvalues(rsi->setResult, rsi->setDesc, v, n);
	}
	return (Datum) 0;
}

/* xa_sweep(server oid, timeout_ms int) returns bool: was it swept? */
Datum
braid_sql_xa_sweep(PG_FUNCTION_ARGS)
{
	Oid serverid = PG_GETARG_OID(0);
	int timeout_ms = PG_GETARG_INT32(1);
	uint64 request = braid_xa_node_request_sweep(MyDatabaseId, serverid);

	if (request == 0)
		PG_RETURN_BOOL(false);
	PG_RETURN_BOOL(braid_xa_node_wait_sweep(serverid, request, timeout_ms));
}
