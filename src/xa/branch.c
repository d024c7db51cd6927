/*
 * branch.c
 *	  The branches of this session's current global transaction.
 *
 * NOTES
 *	  postgres_fdw keeps one connection for each user mapping, and so one remote
 *	  transaction: that is a branch.  Only branches that write are kept here;
 *	  postgres_fdw ends the others by itself.
 *
 *	  A branch is enlisted by a tag in one of its statements (tag.h), which costs
 *	  nothing, or by a statement of its own, which costs a round trip.  Whether
 *	  tags arrive depends on the insides of postgres_fdw.  So tags are not
 *	  trusted before they were seen to arrive: the first tagged branch of a
 *	  session on each server is enlisted by a statement as well, and its answer
 *	  tells whether the participant knew the gid already.
 *
 *	  A branch stays noted when the subtransaction that wrote is rolled back.
 *	  The participant knows best whether there is something to prepare.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/compat.h"
#include "common/failpoint.h"
#include "common/xact.h"
#include "executor/spi.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "xa/branch.h"
#include "xa/node.h"
#include "xa/origin.h"
#include "xa/server.h"
#include "xa/statistics.h"
#include "xa/tag.h"
#include "xa/transaction.h"

/* In TopTransactionContext. */
static List *branches = NIL;

static bool enlisting = false;

/* What the session knows of a server's way to be enlisted. */
typedef struct EnlistMethod
{
	Oid serverid;	  /* key */
	SPIPlanPtr plan;  /* of the enlisting statement */
	bool tags_arrive; /* seen */
	bool tags_lost;	  /* seen */
	uint32 address;	  /* see braid_xa_server_address(), as of: */
	uint64 changes;

	/* The transaction that last used it, and where it found it. */
	LocalTransactionId accessed_in;
	uint32 accessed_at;
} EnlistMethod;

static HTAB *enlist_methods = NULL;

/* Counts changes of foreign servers. */
static uint64 server_changes = 1;

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

static XaBranch *
find_branch(Oid serverid, Oid userid, Oid umid)
{
	ListCell *lc;

	foreach (lc, branches)
	{
		XaBranch *b = lfirst(lc);

		if (b->umid == umid || (b->serverid == serverid && b->userid == userid))
			return b;
	}
	return NULL;
}

static EnlistMethod *
enlist_method(Oid serverid)
{
	EnlistMethod *method;
	bool found;

	if (!enlist_methods)
	{
		HASHCTL ctl = {0};

		ctl.keysize = sizeof(Oid);
		ctl.entrysize = sizeof(EnlistMethod);
		enlist_methods = hash_create("braid enlisting", 8, &ctl, HASH_ELEM | HASH_BLOBS);
	}
	method = hash_search(enlist_methods, &serverid, HASH_ENTER, &found);
	if (!found)
	{
		method->plan = NULL;
		method->changes = 0;
		method->accessed_in = InvalidLocalTransactionId;
		method->tags_arrive = method->tags_lost = false;
	}
	return method;
}

static void
note_server_change(Datum arg, int cacheid, uint32 hashvalue)
{
	server_changes++;
}

/* Where the server is by the catalog, which is read after a change only. */
static uint32
address_of(EnlistMethod *method)
{
	if (method->changes != server_changes)
	{
		method->changes = server_changes;
		method->address = braid_xa_server_address(method->serverid);
	}
	return method->address;
}

static void
raise_moved(Oid serverid)
{
	ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					errmsg("server \"%s\" was given another address during the transaction",
						   GetForeignServer(serverid)->servername),
					errhint("Run the transaction again.")));
}

void
braid_xa_branch_note_access(Oid serverid)
{
	EnlistMethod *method = enlist_method(serverid);

	if (method->accessed_in == braid_compat_lxid(MyProc))
		return;
	method->accessed_in = braid_compat_lxid(MyProc);
	method->accessed_at = address_of(method);
}

void
braid_xa_branches_check_addresses(void)
{
	ListCell *lc;

	AcceptInvalidationMessages();
	foreach (lc, branches)
	{
		XaBranch *b = lfirst(lc);

		if (address_of(enlist_method(b->serverid)) != b->address)
			raise_moved(b->serverid);
	}
}

/*
 * Waits until the server may be written to where this transaction uses it, and
 * returns that address.  The connection is to where the server was when the
 * transaction first used it, if only for reading.
 */
static uint32
begin_at(Oid serverid)
{
	EnlistMethod *method;

	braid_xa_branch_note_access(serverid);
	method = enlist_method(serverid);
	if (address_of(method) != method->accessed_at)
		raise_moved(serverid);
	braid_xa_node_wait_ready(serverid, method->accessed_at);
	return method->accessed_at;
}

XaBranch *
braid_xa_branch_note_write(Oid serverid, Oid userid)
{
	MemoryContext old;
	XaBranch *b;
	uint32 address;
	Oid umid;

	if (enlisting)
		return NULL;

	/* InvalidOid is no user mapping's oid: look without the catalog first. */
	b = find_branch(serverid, userid, InvalidOid);
	if (b)
		return b;
	umid = GetUserMapping(userid, serverid)->umid;
	b = find_branch(serverid, userid, umid);
	if (b)
		return b;
	address = begin_at(serverid);
	if (list_length(branches) >= BRAID_XA_MAX_BRANCHES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a global transaction cannot write through more than %d user mappings",
						BRAID_XA_MAX_BRANCHES)));
	if (branches == NIL)
		braid_xa_stat_transaction_begins();
	old = MemoryContextSwitchTo(TopTransactionContext);
	b = palloc0(sizeof(XaBranch));
	b->umid = umid;
	b->serverid = serverid;
	b->userid = userid;
	b->address = address;
	b->number = list_length(branches);
	branches = lappend(branches, b);
	MemoryContextSwitchTo(old);
	(void) braid_xa_origin_open();
	return b;
}

/* An error within braid_xa_branch_enlist() that somebody has caught. */
static void
stop_enlisting(SubXactEvent event)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		enlisting = false;
}

bool
braid_xa_branch_may_tag(const XaBranch *branch)
{
	return !enlist_method(branch->serverid)->tags_lost;
}

bool
braid_xa_branch_is_enlisted(const XaBranch *branch)
{
	return branch->told || (branch->tagged && enlist_method(branch->serverid)->tags_arrive);
}

/* Prepares the enlisting statement; SPI must be connected. */
static void
prepare_plan(EnlistMethod *method)
{
	Oid types[1] = {TEXTOID};
	char *sql = psprintf("UPDATE %s SET gid = $1 RETURNING gid",
						 braid_xa_server_enlist_table(method->serverid));
	SPIPlanPtr plan = SPI_prepare(sql, 1, types);

	if (!plan)
		elog(ERROR, "SPI_prepare returned %s for \"%s\"", SPI_result_code_string(SPI_result), sql);
	SPI_keepplan(plan);
	method->plan = plan;
}

/* Learns from the answer whether a tag had arrived. */
static void
note_arrival(EnlistMethod *method, bool known_before)
{
	method->tags_arrive = known_before;
	method->tags_lost = !known_before;
	if (!known_before)
		ereport(LOG,
				(errmsg("branches on server \"%s\" are enlisted by statements of their own",
						GetForeignServer(method->serverid)->servername),
				 errdetail("Tags in statements do not arrive with this version of postgres_fdw.")));
}

void
braid_xa_branch_enlist(XaBranch *branch, const char *gid)
{
	EnlistMethod *method = enlist_method(branch->serverid);
	Oid userid;
	int sec_context;
	Datum args[1];
	int rc;

	/* As the user whose mapping the branch has: it finds that connection. */
	GetUserIdAndSecContext(&userid, &sec_context);
	SetUserIdAndSecContext(branch->userid, sec_context | SECURITY_LOCAL_USERID_CHANGE);
	enlisting = true;
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	if (!method->plan)
		prepare_plan(method);
	args[0] = CStringGetTextDatum(braid_xa_tag_format(gid, braid_xa_origin_open()));
	rc = SPI_execute_plan(method->plan, args, NULL, false, 0);
	if (rc != SPI_OK_UPDATE_RETURNING || SPI_processed != 1)
		ereport(ERROR, (errcode(ERRCODE_FDW_ERROR),
						errmsg("could not enlist branch \"%s\" on server \"%s\"", gid,
							   GetForeignServer(branch->serverid)->servername)));
	if (branch->tagged)
		note_arrival(method, SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1) != NULL);
	SPI_finish();
	PopActiveSnapshot();
	branch->told = branch->named = true;
	enlisting = false;
	SetUserIdAndSecContext(userid, sec_context);
}

void
braid_xa_branch_init(void)
{
	CacheRegisterSyscacheCallback(FOREIGNSERVEROID, note_server_change, 0);
	braid_xact_register_subxact(stop_enlisting);
}
