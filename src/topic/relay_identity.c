/*
 * relay_identity.c
 *	  Which topic a relay reads, and whether it is in the state that it was in.
 *
 * NOTES
 *	  A relay's position is made of transaction ids.  It means nothing to a source that
 *	  has lost some of its transactions, since their ids are given to others then:
 *	  these would be taken for consumed.  So
 *
 *	  - what is handed out is durable before.  Other sessions see a commit when it is
 *		durable, unless synchronous_commit is off; but ids of transactions that were
 *		rolled back, or have committed without waiting, count as well, and a
 *		crash could hand them out again.  Where there is a synchronous
 *		standby, all is there too, so that it can be promoted without a relay
 *		noticing;
 *
 *	  - a position comes with the place in WAL that all of it is before.  A
 *		server that was restored to a state before, or a standby that was promoted
 *		without having received all, has another timeline from an earlier place on.
 *		One whose files were copied back has the same timeline, but is not there
 *		yet; if it gets there before anybody asks, the group at the source tells,
 *		which counts how often it was moved.
 */
#include "postgres.h"

#include "access/timeline.h"
#include "access/xlog.h"
#include "catalog/pg_authid.h"
#include "common/hashfn.h"
#include "common/wal.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "replication/syncrep.h"
#include "topic/relay.h"
#include "utils/fmgroids.h"

uint64
braid_relay_identity(int topic)
{
	struct
	{
		uint64 system;
		uint32 database;
		int32 topic;
	} all = {GetSystemIdentifier(), MyDatabaseId, topic};

	return hash_bytes_extended((const unsigned char *) &all, sizeof(all), 0);
}

uint32
braid_relay_timeline(void)
{
	return GetWALInsertionTimeLine();
}

XLogRecPtr
braid_relay_flush(void)
{
	XLogRecPtr end = braid_wal_end();

	XLogFlush(end);

	/* Whoever cancels this wait gets to see it end, as with COMMIT. */
	HOLD_INTERRUPTS();
	SyncRepWaitForLSN(end, true);
	RESUME_INTERRUPTS();
	CHECK_FOR_INTERRUPTS();
	return end;
}

bool
braid_relay_remembers(uint32 timeline, XLogRecPtr lsn)
{
	TimeLineID now = GetWALInsertionTimeLine();
	ListCell *lc;

	if (lsn > GetXLogInsertRecPtr())
		return false;
	if (timeline == now)
		return true;
	foreach (lc, readTimeLineHistory(now))
	{
		TimeLineHistoryEntry *entry = lfirst(lc);

		if (entry->tli == timeline)
			return XLogRecPtrIsInvalid(entry->end) || lsn <= entry->end;
	}
	return false;
}

int64
braid_relay_last_id(const BraidTopic *topic)
{
	Oid userid;
	int sec_context;
	Datum last;

	/* Users have no right on the sequence. */
	GetUserIdAndSecContext(&userid, &sec_context);
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, sec_context | SECURITY_LOCAL_USERID_CHANGE);
	last = OidFunctionCall1(F_PG_SEQUENCE_LAST_VALUE, ObjectIdGetDatum(topic->ids));
	SetUserIdAndSecContext(userid, sec_context);
	return DatumGetInt64(last);
}
