/*
 * branch.c
 *	  The branches of this session's current global transaction.
 *
 * NOTES
 *	  postgres_fdw keeps one connection for each user mapping, and so one remote
 *	  transaction: that is a branch.  Only branches that write are kept here;
 *	  postgres_fdw ends the others by itself.
 *
 *	  A branch stays noted when the subtransaction that wrote is rolled back.
 *	  The participant knows best whether there is something to prepare.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/failpoint.h"
#include "executor/spi.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "xa/branch.h"
#include "xa/node.h"
#include "xa/server.h"
#include "xa/transaction.h"

/* In TopTransactionContext. */
static List *branches = NIL;

static bool enlisting = false;

/* Prepared enlisting statement of each server, for the life of the session. */
typedef struct EnlistPlan
{
	Oid			serverid;		/* key */
	SPIPlanPtr	plan;
} EnlistPlan;

static HTAB *enlist_plans = NULL;

List *
braid_xa_branches(void)
{
	return branches;
}

void
braid_xa_branches_forget(void)
{
	/* The memory goes with the transaction. */
	branches = NIL;
	enlisting = false;
}

bool
braid_xa_branch_enlisting(void)
{
	return enlisting;
}

static bool
is_noted(Oid serverid, Oid userid, Oid umid)
{
	ListCell   *lc;

	foreach(lc, branches)
	{
		XaBranch   *b = lfirst(lc);

		if (b->umid == umid || (b->serverid == serverid && b->userid == userid))
			return true;
	}
	return false;
}

void
braid_xa_branch_note_write(Oid serverid, Oid userid)
{
	MemoryContext old;
	XaBranch   *b;
	Oid			umid;

	/* InvalidOid is no user mapping's oid: look without the catalog first. */
	if (enlisting || is_noted(serverid, userid, InvalidOid))
		return;
	umid = GetUserMapping(userid, serverid)->umid;
	if (is_noted(serverid, userid, umid))
		return;
	braid_xa_node_wait_ready(serverid);
	if (list_length(branches) >= BRAID_XA_MAX_BRANCHES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a global transaction cannot write through more than %d user mappings",
						BRAID_XA_MAX_BRANCHES)));
	old = MemoryContextSwitchTo(TopTransactionContext);
	b = palloc(sizeof(XaBranch));
	b->umid = umid;
	b->serverid = serverid;
	b->userid = userid;
	branches = lappend(branches, b);
	MemoryContextSwitchTo(old);
}

/* The statement that enlists a branch on the server; SPI must be connected. */
static SPIPlanPtr
enlist_plan(Oid serverid)
{
	EnlistPlan *entry;
	bool		found;

	if (!enlist_plans)
	{
		HASHCTL		ctl = {0};

		ctl.keysize = sizeof(Oid);
		ctl.entrysize = sizeof(EnlistPlan);
		enlist_plans = hash_create("braid enlisting statements", 8, &ctl, HASH_ELEM | HASH_BLOBS);
	}
	entry = hash_search(enlist_plans, &serverid, HASH_ENTER, &found);
	if (!found)
		entry->plan = NULL;
	if (!entry->plan)
	{
		Oid			types[1] = {TEXTOID};
		char	   *sql = psprintf("UPDATE %s SET gid = $1", braid_xa_server_enlist_table(serverid));
		SPIPlanPtr	plan = SPI_prepare(sql, 1, types);

		if (!plan)
			elog(ERROR, "SPI_prepare returned %s for \"%s\"", SPI_result_code_string(SPI_result), sql);
		SPI_keepplan(plan);
		entry->plan = plan;
	}
	return entry->plan;
}

void
braid_xa_branch_enlist(const XaBranch *branch, const char *gid)
{
	Oid			userid;
	int			sec_context;
	Datum		args[1];
	int			rc;

	/* As the user whose mapping the branch has: it finds that connection. */
	GetUserIdAndSecContext(&userid, &sec_context);
	SetUserIdAndSecContext(branch->userid, sec_context | SECURITY_LOCAL_USERID_CHANGE);
	enlisting = true;
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	args[0] = CStringGetTextDatum(gid);
	rc = SPI_execute_plan(enlist_plan(branch->serverid), args, NULL, false, 0);
	if (rc != SPI_OK_UPDATE || SPI_processed != 1)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_ERROR),
				 errmsg("could not enlist branch \"%s\" on server \"%s\"",
						gid, GetForeignServer(branch->serverid)->servername)));
	SPI_finish();
	PopActiveSnapshot();
	enlisting = false;
	SetUserIdAndSecContext(userid, sec_context);
}
