/*
 * topic.c
 *	  What a topic is, kept in each process that uses it.
 *
 * NOTES
 *	  Whoever sends or receives needs it each time.  An entry is given up when the relation cache
 *	  says that the topic's view has changed, which braid_topic_invalidate() makes it
 *	  say.  It may be in use then: it is freed when the transaction ends.
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_class.h"
#include "common/compat.h"
#include "common/name.h"
#include "common/xact.h"
#include "miscadmin.h"
#include "topic/catalog.h"
#include "topic/fence.h"
#include "topic/follow.h"
#include "topic/group.h"
#include "topic/position.h"
#include "topic/relay.h"
#include "topic/rotate.h"
#include "topic/topic.h"
#include "topic/view.h"
#include "topic/waiters.h"
#include "topic/work.h"
#include "utils/acl.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#define GENERATION_SHIFT 48
#define MAX_FOLLOWERS 8

typedef struct TopicEntry
{
	Oid view;			   /* key */
	BraidTopic *topic;	   /* NULL: not known */
	MemoryContext context; /* of the topic */
} TopicEntry;

static HTAB *entries = NULL;
static uint64 ninvalidations = 0;
static MemoryContext overtaken = NULL; /* contexts of topics that may still be in use */

static const BraidTopicFollower *followers[MAX_FOLLOWERS];
static int nfollowers = 0;

/* ---------------------------------------------------------------- the cache */

static void
give_up(TopicEntry *entry)
{
	if (entry->topic == NULL)
		return;
	MemoryContextSetParent(entry->context, overtaken);
	entry->topic = NULL;
	entry->context = NULL;
}

static void
note_invalidation(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS all;
	TopicEntry *entry;

	ninvalidations++;
	if (OidIsValid(relid))
	{
		entry = hash_search(entries, &relid, HASH_FIND, NULL);
		if (entry)
			give_up(entry);
		return;
	}
	hash_seq_init(&all, entries);
	while ((entry = hash_seq_search(&all)) != NULL)
		give_up(entry);
}

static void
free_overtaken(XactEvent event)
{
	if (overtaken && overtaken->firstchild && event != XACT_EVENT_PRE_COMMIT &&
		event != XACT_EVENT_PRE_PREPARE && event != XACT_EVENT_PARALLEL_PRE_COMMIT)
		MemoryContextDeleteChildren(overtaken);
}

static void
start_cache(void)
{
	HASHCTL ctl = {.keysize = sizeof(Oid), .entrysize = sizeof(TopicEntry)};

	overtaken =
		AllocSetContextCreate(TopMemoryContext, "braid overtaken topics", ALLOCSET_SMALL_SIZES);
	entries = hash_create("braid topics", 32, &ctl, HASH_ELEM | HASH_BLOBS);
	CacheRegisterRelcacheCallback(note_invalidation, (Datum) 0);
}

/* Reads the topic, again if anything was said to have changed meanwhile. */
static BraidTopic *
load(Oid view, MemoryContext context)
{
	MemoryContext caller = MemoryContextSwitchTo(context);
	BraidTopic *topic;
	uint64 before;

	do
	{
		before = ninvalidations;
		topic = braid_topic_load(view, 0);
		CHECK_FOR_INTERRUPTS();
	} while (before != ninvalidations);
	MemoryContextSwitchTo(caller);
	return topic;
}

BraidTopic *
braid_topic_find(Oid view)
{
	TopicEntry *entry;
	MemoryContext context;
	BraidTopic *topic;
	bool found;

	if (entries == NULL)
		start_cache();
	entry = hash_search(entries, &view, HASH_FIND, NULL);
	if (entry && entry->topic)
		return entry->topic;
	if (!OidIsValid(view) || get_rel_relkind(view) != RELKIND_VIEW)
		return NULL;

	context = AllocSetContextCreate(overtaken, "braid topic", ALLOCSET_SMALL_SIZES);
	topic = load(view, context);
	if (topic == NULL)
		return NULL;
	entry = hash_search(entries, &view, HASH_ENTER, &found);
	entry->topic = topic;
	entry->context = context;
	MemoryContextSetParent(context, TopMemoryContext);
	return topic;
}

BraidTopic *
braid_topic_get(Oid view)
{
	BraidTopic *topic = braid_topic_find(view);
	char *name;

	if (topic)
		return topic;
	name = get_rel_name(view);
	if (name == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("relation with OID %u does not exist", view)));
	ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("\"%s\" is not a topic", name),
					errhint("See braid.topics, and braid.create_topic().")));
}

BraidTopic *
braid_topic_by_id(int id)
{
	BraidTopic *topic = braid_topic_load(InvalidOid, id);

	return topic ? braid_topic_find(topic->view) : NULL;
}

void
braid_topic_invalidate(Oid view)
{
	CacheInvalidateRelcacheByRelid(view);
}

/* ---------------------------------------------------------------- privileges */

void
braid_topic_require(BraidTopic *topic, AclMode mode)
{
	AclResult result = pg_class_aclcheck(topic->view, GetUserId(), mode);

	if (result != ACLCHECK_OK)
		aclcheck_error(result, OBJECT_VIEW, get_rel_name(topic->view));
}

void
braid_topic_require_owner(BraidTopic *topic)
{
	if (!braid_compat_is_relation_owner(topic->view, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_VIEW, get_rel_name(topic->view));
}

/* ---------------------------------------------------------------- transaction ids */

uint64
braid_topic_xid(const BraidTopic *topic, FullTransactionId xid)
{
	return (topic->generation << GENERATION_SHIFT) + U64FromFullTransactionId(xid);
}

void
braid_topic_frontier(const BraidTopic *topic, Snapshot snapshot, BraidFrontier *f)
{
	FullTransactionId mine = GetTopFullTransactionIdIfAny();
	uint64 shift = topic->generation << GENERATION_SHIFT;

	braid_frontier_from_snapshot(f, snapshot);
	f->xmin += shift;
	f->xmax += shift;
	for (int i = 0; i < f->nxip; i++)
		f->xip[i] += shift;
	if (FullTransactionIdIsValid(mine))
		braid_frontier_exclude(f, braid_topic_xid(topic, mine));
}

/* ---------------------------------------------------------------- followers */

void
braid_topic_register(const BraidTopicFollower *follower)
{
	Assert(nfollowers < MAX_FOLLOWERS);
	followers[nfollowers++] = follower;
}

void
braid_topic_tell_sent(BraidTopic *topic, int part, int n)
{
	for (int i = 0; i < nfollowers; i++)
		if (followers[i]->sent)
			followers[i]->sent(topic, part, n);
}

void
braid_topic_tell_drop(int topic, bool cascade)
{
	for (int i = 0; i < nfollowers; i++)
		if (followers[i]->drop)
			followers[i]->drop(topic, cascade);
}

void
braid_topic_tell_tidy(void (*run)(void (*tidy)(void)))
{
	for (int i = 0; i < nfollowers; i++)
		if (followers[i]->tidy)
			run(followers[i]->tidy);
}

bool
braid_topic_is_held(int topic, uint64 *xid)
{
	bool is_held = false;

	*xid = PG_UINT64_MAX;
	for (int i = 0; i < nfollowers; i++)
		if (followers[i]->holds && followers[i]->holds(topic, xid))
			is_held = true;
	return is_held;
}

char *
braid_topic_name(const BraidTopic *topic)
{
	char *name = get_rel_name(topic->view);

	return name ? name : psprintf("%d", topic->id);
}

void
braid_topic_init(void)
{
	braid_rotate_init();
	braid_topic_view_init();
	braid_xact_register(BRAID_XACT_LAST, free_overtaken);
	braid_waiters_init();
	braid_position_init();
	braid_group_init();
	braid_work_init();
	braid_member_init();
	braid_fence_init();
	braid_relay_init();
}
