/*
 * identity.c
 *	  Replica identities of the captured tables.
 *
 * NOTES
 *	  A retraction needs the whole old row, so captured tables have REPLICA
 *	  IDENTITY FULL.  ALTER TABLE takes ACCESS EXCLUSIVE on the table: when it
 *	  has it, all transactions that wrote the table with less have ended, and
 *	  are visible in the snapshot under which the new view is populated.
 *
 *	  What was before is kept in braid_internal.sources, and comes back when no
 *	  view is left.  The worker must not take back what a CREATE that has not
 *	  committed relies on: a claim holds ROW EXCLUSIVE on that table until its
 *	  end, the worker takes EXCLUSIVE, and only then reads the definitions.
 *
 *	  If the worker finds a table without FULL, because it is a new partition or
 *	  somebody has altered it, it sets it again and forgets the table's frontier.
 *	  Whoever wrote with less had ended when the worker got its lock, so all of
 *	  that is visible in the snapshot under which the views are rebuilt.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "capture/capture.h"
#include "capture/identity.h"
#include "capture/source.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "common/compat.h"
#include "common/name.h"
#include "common/superuser.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "stream/stream.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#define CLAIM_LOCK_TIMEOUT "5s"
#define RESTORE_LOCK_TIMEOUT "50ms"

static Oid
sources_relid(void)
{
	return get_relname_relid("sources", get_namespace_oid("braid_internal", false));
}

List *
braid_capture_members(Oid relid)
{
	List *leaves = NIL;
	ListCell *lc;

	if (get_rel_relkind(relid) != RELKIND_PARTITIONED_TABLE)
		return list_make1_oid(relid);
	foreach (lc, find_all_inheritors(relid, NoLock, NULL))
		if (get_rel_relkind(lfirst_oid(lc)) != RELKIND_PARTITIONED_TABLE)
			leaves = lappend_oid(leaves, lfirst_oid(lc));
	return leaves;
}

/* The table's replica identity, and the name of its index if it is one. */
static char
current_identity(Oid relid, char **index)
{
	Relation rel = braid_capture_look_at(relid);
	char identity = rel->rd_rel->relreplident;
	Oid indexid = identity == REPLICA_IDENTITY_INDEX ? RelationGetReplicaIndex(rel) : InvalidOid;

	*index = OidIsValid(indexid) ? get_rel_name(indexid) : NULL;
	RelationClose(rel);
	return identity;
}

static void
remember(Oid relid, char identity, const char *index)
{
	braid_superuser_execute(psprintf("INSERT INTO braid_internal.sources VALUES (%u, '%c', %s)",
									 relid, identity, index ? quote_literal_cstr(index) : "NULL"));
}

/*
 * Returns whether anything had to be changed.  The worker comes without a lock:
 * until it has one the table can have been dropped.
 */
static bool
claim_member(Oid relid)
{
	char *index;
	char identity;

	if (braid_stream_is(relid)) /* its rows only come */
		return false;
	identity = current_identity(relid, &index);
	if (identity == REPLICA_IDENTITY_FULL)
		return false;
	LockRelationOid(relid, AccessExclusiveLock);
	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid)))
		return false;
	braid_superuser_execute(
		psprintf("ALTER TABLE ONLY %s REPLICA IDENTITY FULL", braid_relation_name(relid)));
	remember(relid, identity, index);
	return true;
}

void
braid_capture_claim(Oid relid)
{
	List *members = braid_capture_members(relid);
	ListCell *lc;

	LockRelationOid(sources_relid(), RowExclusiveLock);
	SPI_connect();
	foreach (lc, members)
	{
		Oid member = lfirst_oid(lc);
		char *index;

		if (!braid_stream_is(member) && current_identity(member, &index) != REPLICA_IDENTITY_FULL &&
			!braid_compat_is_relation_owner(member, GetUserId()))
			ereport(
				ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of table \"%s\" to set its replica identity",
						get_rel_name(member)),
				 errdetail(
					 "A continuous view needs REPLICA IDENTITY FULL on the tables that it reads."),
				 errhint("Ask the owner to run: ALTER TABLE %s REPLICA IDENTITY FULL.",
						 braid_relation_name(member))));
		if (claim_member(member))
			ereport(
				NOTICE,
				(errmsg("replica identity of table \"%s\" was set to FULL", get_rel_name(member)),
				 errdetail(
					 "Updates and deletes now write the whole old row to WAL, until the last continuous view or changefeed on the table is dropped.")));
	}
	SPI_finish();
}

bool
braid_identity_lock_claims(void)
{
	return ConditionalLockRelationOid(sources_relid(), ExclusiveLock);
}

static bool
is_captured(Oid relid)
{
	return braid_source_next_member(relid);
}

static const char *
identity_clause(char identity, const char *index)
{
	if (identity == REPLICA_IDENTITY_NOTHING)
		return "NOTHING";
	if (identity == REPLICA_IDENTITY_INDEX && index)
		return psprintf("USING INDEX %s", quote_identifier(index));
	return "DEFAULT";
}

/* In a subtransaction: false if the table or its index cannot be had. */
static bool
restore_member(Oid relid, char identity, const char *index)
{
	MemoryContext old_context = CurrentMemoryContext;
	ResourceOwner old_owner = CurrentResourceOwner;
	volatile bool done = false;

	BeginInternalSubTransaction(NULL);
	PG_TRY();
	{
		if (get_rel_relkind(relid) != '\0')
			SPI_execute(psprintf("ALTER TABLE ONLY %s REPLICA IDENTITY %s",
								 braid_relation_name(relid), identity_clause(identity, index)),
						false, 0);
		SPI_execute(psprintf("DELETE FROM braid_internal.sources WHERE relation = %u", relid),
					false, 0);
		ReleaseCurrentSubTransaction();
		done = true;
	}
	PG_CATCH();
	{
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old_context);
	CurrentResourceOwner = old_owner;
	return done;
}

bool
braid_identity_restore(void)
{
	bool all_done = true;
	SPITupleTable *rows;
	uint64 nrows;

	SPI_execute("SELECT relation::oid, identity, identity_index FROM braid_internal.sources", false,
				0);
	rows = SPI_tuptable;
	nrows = SPI_processed;
	(void) set_config_option("lock_timeout", RESTORE_LOCK_TIMEOUT, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
	for (uint64 i = 0; i < nrows; i++)
	{
		bool isnull;
		Oid relid = DatumGetObjectId(SPI_getbinval(rows->vals[i], rows->tupdesc, 1, &isnull));
		char identity = DatumGetChar(SPI_getbinval(rows->vals[i], rows->tupdesc, 2, &isnull));
		char *index = SPI_getvalue(rows->vals[i], rows->tupdesc, 3);

		if (!is_captured(relid))
			all_done &= restore_member(relid, identity, index);
	}
	return all_done;
}

void
braid_identity_claim_members(void)
{
	ListCell *lc;
	ListCell *lc2;

	(void) set_config_option("lock_timeout", CLAIM_LOCK_TIMEOUT, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
	foreach (lc, braid_source_next_list())
	{
		BraidSource *source = lfirst(lc);
		bool changed = false;

		foreach (lc2, source->members)
			changed |= claim_member(lfirst_oid(lc2));
		if (!changed)
			continue;
		ereport(LOG, (errmsg("replica identity of table \"%s\" was set to FULL",
							 get_rel_name(source->relid)),
					  errdetail("The continuous views on it are rebuilt.")));
		SPI_execute(
			psprintf("DELETE FROM braid_internal.frontiers WHERE relation = %u", source->relid),
			false, 0);
	}
}
