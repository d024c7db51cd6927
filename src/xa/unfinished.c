/*
 * unfinished.c
 *	  Committed transactions of this session that it did not see finished.
 *
 * NOTES
 *	  With braid.xa_commit_wait off, or after a wait that was cut short, a
 *	  transaction is committed while some servers do not show it yet.  Other
 *	  sessions can be told so; this one shall find its own changes.  So its next
 *	  access to such a server waits, before the remote transaction has a snapshot.
 *
 *	  Usually there is nothing to remember, and the look costs a comparison.
 */
#include "postgres.h"

#include "common/wait.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/timestamp.h"
#include "xa/node.h"
#include "xa/settings.h"
#include "xa/transaction.h"
#include "xa/unfinished.h"

#define MAX_UNFINISHED 32
#define LEFT_POLL_MS 20 /* looks at what was left to recovery */

typedef struct Unfinished
{
	int slot;
	BraidGid gid;
	uint64 recycled;
	TimestampTz decided; /* or a little later */
} Unfinished;

static Unfinished unfinished[MAX_UNFINISHED];
static int nunfinished = 0;

/* Is a branch left to be done: on the server, or (InvalidOid) on any? */
static bool
is_unfinished(const Unfinished *u, Oid serverid)
{
	XaTransaction t;
	XaNode node;

	(void) braid_xa_transaction_read(u->slot, &t);
	if (t.state == XA_FREE || !braid_gid_same_transaction(&t.gid, &u->gid))
	{
		/*
		 * A slot is given up when all is done.  But if slots have been taken
		 * away since, only a complete sweep that began after the decision tells.
		 */
		return u->recycled != braid_xa_transaction_recycled(NULL) &&
			   !(braid_xa_node_find(serverid, &node) && node.clean &&
				 node.clean_before >= u->decided);
	}
	for (int i = 0; i < t.nbranches; i++)
		if ((!OidIsValid(serverid) || t.branches[i].serverid == serverid) &&
			t.branches[i].state != XA_BRANCH_DONE)
			return true;
	return false;
}

static void
forget_finished(void)
{
	int n = 0;

	for (int i = 0; i < nunfinished; i++)
		if (is_unfinished(&unfinished[i], InvalidOid))
			unfinished[n++] = unfinished[i];
	nunfinished = n;
}

bool
braid_xa_unfinished_has_room(void)
{
	if (nunfinished == MAX_UNFINISHED)
		forget_finished();
	return nunfinished < MAX_UNFINISHED;
}

void
braid_xa_unfinished_remember(int slot, const BraidGid *gid, uint64 recycled)
{
	if (nunfinished < MAX_UNFINISHED)
		unfinished[nunfinished++] = (Unfinished){slot, *gid, recycled, GetCurrentTimestamp()};
}

static void
raise_unfinished(const Unfinished *u, Oid serverid)
{
	char gid[BRAID_GID_LEN];

	ereport(
		ERROR,
		(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		 errmsg("transaction \"%s\" of this session is not yet finished on server \"%s\"",
				braid_gid_format_transaction(&u->gid, gid), GetForeignServer(serverid)->servername),
		 errdetail("It is committed, but its changes cannot be seen there yet."),
		 errhint("Try again later; see braid.transactions.")));
}

static void
await(const Unfinished *u, Oid serverid)
{
	TimestampTz deadline =
		TimestampTzPlusMilliseconds(GetCurrentTimestamp(), braid_xa_finish_timeout);

	for (;;)
	{
		/* In this order: the end of a branch is seen or sets the latch. */
		bool watched = braid_xa_transaction_watch(u->slot, &u->gid, serverid, MyLatch);
		long left;

		if (!is_unfinished(u, serverid))
			break;
		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);
		if (left <= 0)
			raise_unfinished(u, serverid);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | WL_TIMEOUT,
						 watched ? left : Min(left, LEFT_POLL_MS),
						 braid_wait_begin(BRAID_WAIT_OWN_COMMIT));
		braid_wait_end();
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	(void) braid_xa_transaction_watch(u->slot, &u->gid, serverid, NULL);
}

void
braid_xa_unfinished_await(Oid serverid)
{
	if (nunfinished == 0)
		return;
	for (int i = 0; i < nunfinished; i++)
		if (is_unfinished(&unfinished[i], serverid))
			await(&unfinished[i], serverid);
	forget_finished();
}
