/*
 * definitions.c
 *	  What the consumer wants of tables, and when it has to be asked again.
 *
 * NOTES
 *	  Definitions are loaded into a new set of sources (source.c).  The relations that
 *	  they stand on are watched by relation cache invalidation, and so are roles, since
 *	  what owners may read is a part of them.
 */
#include "postgres.h"

#include "access/xact.h"
#include "capture/capture.h"
#include "capture/decoder.h"
#include "capture/definitions.h"
#include "capture/identity.h"
#include "capture/source.h"
#include "capture/stored.h"
#include "executor/spi.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

/* What the definitions stand on, and whether one of these changed since they were loaded. */
static List *watched = NIL;
static MemoryContext watched_context;
static bool has_changed = false;

static bool load_pending = false;	 /* the consumer wants to load again */
static bool restore_pending = false; /* some replica identity is to be restored */

const char *
braid_capture_want(Oid relid, Bitmapset *attnums)
{
	braid_capture_watch(relid);
	return braid_source_want(relid, attnums);
}

void
braid_capture_want_log(Oid relid)
{
	braid_capture_watch(relid);
	braid_source_want_log(relid);
}

void
braid_capture_want_deletes(Oid relid)
{
	braid_source_want_deletes(relid);
}

bool
braid_capture_tells_deletes(Oid relid)
{
	return braid_source_next_tells_deletes(relid);
}

void
braid_capture_tie(Oid a, Oid b)
{
	braid_source_tie(a, b);
}

Relation
braid_capture_look_at(Oid relid)
{
	Relation rel = RelationIdGetRelation(relid);

	if (!RelationIsValid(rel))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("relation with OID %u does not exist", relid)));
	return rel;
}

void
braid_capture_load_again(void)
{
	load_pending = true;
}

void
braid_capture_watch(Oid relid)
{
	MemoryContext old = MemoryContextSwitchTo(watched_context);

	watched = list_append_unique_oid(watched, relid);
	MemoryContextSwitchTo(old);
}

static void
note_invalidation(Datum arg, Oid relid)
{
	if (braid_decoder_is_flushing())
		return;
	if (!OidIsValid(relid) || list_member_oid(watched, relid))
		has_changed = true;
}

/* Roles and their members: what the owners of definitions may read has changed. */
static void
note_role_change(Datum arg, int cacheid, uint32 hash)
{
	if (!braid_decoder_is_flushing())
		has_changed = true;
}

void
braid_definitions_setup(void)
{
	watched_context =
		AllocSetContextCreate(TopMemoryContext, "braid watched relations", ALLOCSET_SMALL_SIZES);
	CacheRegisterRelcacheCallback(note_invalidation, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHOID, note_role_change, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, note_role_change, (Datum) 0);
}

bool
braid_definitions_have_changed(void)
{
	return has_changed;
}

void
braid_definitions_note_change(void)
{
	has_changed = true;
}

void
braid_definitions_note_pending(void)
{
	has_changed |= restore_pending || load_pending;
}

bool
braid_definitions_load(bool (*load)(void))
{
	bool locked;
	bool needed;

	has_changed = false;
	load_pending = false;
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	SPI_connect();
	locked = braid_identity_lock_claims(); /* before the snapshot: see identity.c */
	PushActiveSnapshot(GetTransactionSnapshot());
	MemoryContextReset(watched_context);
	watched = NIL;
	braid_source_begin_set();
	needed = load();
	braid_identity_claim_members();
	restore_pending = !locked || !braid_identity_restore();
	braid_stored_end();
	return needed;
}
