/*
 * dedup.c
 *	  Keys of de-duplication: a message whose key was sent before is not sent again.
 *
 * NOTES
 *	  Each key is a row in the open one of three tables, which has a unique index: who sends the same
 *	  key at the same time waits there for the other one to end.  In the other tables
 *	  all is committed, because another one is opened only while nobody writes
 *	  (rotate_keys in rotate.sql): there a look is enough.  Each is open for a window's time and
 *	  emptied a window's time after that, so that a key is known for one to two windows, and
 *	  nothing is ever deleted.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "topic/catalog.h"
#include "topic/dedup.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#define MAX_KEY_BYTES 1024

typedef struct KeyPlans
{
	Oid segment; /* key: that messages' keys go to */
	SPIPlanPtr look;
	SPIPlanPtr insert;
} KeyPlans;

static HTAB *plans = NULL;

static SPIPlanPtr
prepare(const char *sql, int nargs, Oid *types)
{
	SPIPlanPtr plan = SPI_prepare(sql, nargs, types);

	if (plan == NULL || SPI_keepplan(plan) != 0)
		elog(ERROR, "SPI_prepare returned %s for \"%s\"", SPI_result_code_string(SPI_result), sql);
	return plan;
}

static KeyPlans *
find_plans(const BraidTopic *topic)
{
	Oid types[] = {TEXTOID, INT8OID};
	Oid segment = topic->key_tables[topic->key_segment];
	KeyPlans *p;
	SPIPlanPtr look;
	SPIPlanPtr insert;

	if (plans == NULL)
	{
		HASHCTL ctl = {.keysize = sizeof(Oid), .entrysize = sizeof(KeyPlans)};

		plans = hash_create("braid keys of de-duplication", 16, &ctl, HASH_ELEM | HASH_BLOBS);
	}
	p = hash_search(plans, &segment, HASH_FIND, NULL);
	if (p)
		return p;
	look = prepare(psprintf("SELECT id FROM " BRAID_TOPIC_SCHEMA ".%s WHERE key "
							"OPERATOR(pg_catalog.=) $1 ORDER BY id LIMIT 1",
							braid_topic_keys_name(topic->id)),
				   1, types);
	insert = prepare(psprintf("INSERT INTO " BRAID_TOPIC_SCHEMA ".%s (key, id, segment) "
							  "VALUES ($1, $2, %d) ON CONFLICT DO NOTHING",
							  braid_topic_key_segment_name(topic->id, topic->key_segment),
							  topic->key_segment),
					 2, types);
	p = hash_search(plans, &segment, HASH_ENTER, NULL);
	p->look = look;
	p->insert = insert;
	return p;
}

/* Under a snapshot of now, whatever the transaction's isolation is. */
static void
run(SPIPlanPtr plan, Datum *args, bool read_only)
{
	Snapshot now = RegisterSnapshot(GetLatestSnapshot());
	int rc = SPI_execute_snapshot(plan, args, NULL, now, InvalidSnapshot, read_only, false, 1);

	UnregisterSnapshot(now);
	if (rc < 0)
		elog(ERROR, "SPI_execute_snapshot returned %s", SPI_result_code_string(rc));
}

static int64
claim(const BraidTopic *topic, Datum *args, int64 id)
{
	KeyPlans *p = find_plans(topic);

	for (;;)
	{
		bool isnull;

		/* So that keys of the running command are seen. */
		CommandCounterIncrement();
		run(p->look, args, true);
		if (SPI_processed == 1)
			return DatumGetInt64(
				SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
		run(p->insert, args, false);
		if (SPI_processed == 1)
			return id;
		CHECK_FOR_INTERRUPTS(); /* it was committed just now */
	}
}

/* Locks the open table, of the topic as it is now: see open_segment() in send.c. */
static BraidTopic *
lock_segment(BraidTopic *topic)
{
	for (;;)
	{
		Oid view = topic->view;
		Oid segment = topic->has_keys ? topic->key_tables[topic->key_segment] : InvalidOid;
		Relation rel = OidIsValid(segment) ? try_table_open(segment, RowExclusiveLock) : NULL;

		topic = braid_topic_get(view);
		if (rel)
			table_close(rel, NoLock);
		if (rel && topic->has_keys && topic->key_tables[topic->key_segment] == segment)
			return topic;
		if (!topic->has_keys)
			ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
							errmsg("the topic does not de-duplicate messages any more")));
		CHECK_FOR_INTERRUPTS();
	}
}

int64
braid_dedup_claim(BraidTopic *topic, struct varlena *key, int64 id)
{
	Datum args[] = {PointerGetDatum(key), Int64GetDatum(id)};
	Oid user;
	int security;

	if (VARSIZE_ANY_EXHDR(key) > MAX_KEY_BYTES)
		ereport(ERROR, (errcode(ERRCODE_STRING_DATA_RIGHT_TRUNCATION),
						errmsg("key of de-duplication is too long"),
						errdetail("It may have %d bytes; a hash of what is longer serves as well.",
								  MAX_KEY_BYTES)));
	topic = lock_segment(topic);
	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, security | SECURITY_LOCAL_USERID_CHANGE);
	SPI_connect();
	id = claim(topic, args, id);
	SPI_finish();
	SetUserIdAndSecContext(user, security);
	return id;
}
