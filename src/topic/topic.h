/*
 * topic.h
 *	  Topics: what a topic is, where its messages are, and how one is sent.
 */
#ifndef BRAID_TOPIC_H
#define BRAID_TOPIC_H

#include "access/transam.h"
#include "common/frontier.h"
#include "datatype/timestamp.h"
#include "nodes/parsenodes.h"

/* Columns of a topic's segments. */
typedef enum MessageColumn
{
	MESSAGE_ID = 1,
	MESSAGE_XID, /* of the sender, widened: see braid_topic_xid() */
	MESSAGE_SENT_AT,
	MESSAGE_SEGMENT,
	MESSAGE_PART,
	MESSAGE_PRIORITY,
	MESSAGE_DELIVER_AT,
	MESSAGE_KEY,
	MESSAGE_HEADERS,
	MESSAGE_DEDUP_KEY,
	MESSAGE_PATH, /* topics that it was relayed from, see relay_apply.c */
	MESSAGE_PAYLOAD,
	MESSAGE_NCOLUMNS = MESSAGE_PAYLOAD
} MessageColumn;

/* Columns of a segment's only index. */
typedef enum MessageIndexColumn
{
	MESSAGE_INDEX_PART = 1,
	MESSAGE_INDEX_XID,
	MESSAGE_INDEX_ID,
	MESSAGE_INDEX_NCOLUMNS = 3
} MessageIndexColumn;

/*
 * The part of rows that are no messages but ticks: a snapshot that was taken by the
 * sender of the message with this id.  It is in column key, as pg_snapshot
 * writes it, and its xmax in column xid.
 */
#define BRAID_TICK_PART (-1)
#define BRAID_TICK_EVERY 1000 /* ids */

#define BRAID_MAX_PARTITIONS 1024
#define BRAID_MAX_SEGMENTS 32

typedef struct BraidTopic
{
	int id;
	Oid view;
	Oid payload; /* type: jsonb, text or bytea */
	int npartitions;
	uint64 generation; /* how often it was restored from a dump */
	bool notify;
	bool has_keys; /* of de-duplication */
	int nsegments;
	int segment;	 /* which one new messages go to */
	Oid *tables;	 /* the segments */
	Oid *indexes;	 /* of these */
	Oid ids;		 /* sequence */
	int key_segment; /* the same for the keys of de-duplication, if there are any */
	int nkey_segments;
	Oid *key_tables;
} BraidTopic;

/*
 * The topic that the view is, as it is now; for braid_topic_get() anything else is an
 * error (42809).  In a transaction; valid until its end, while what is in
 * it may be overtaken once locks were taken.
 */
extern BraidTopic *braid_topic_find(Oid view);
extern BraidTopic *braid_topic_get(Oid view);
extern BraidTopic *braid_topic_by_id(int id); /* NULL if it was dropped */

/* Raise 42501: unless the current user has the privilege (ACL_INSERT, ACL_SELECT); unless he owns it. */
extern void braid_topic_require(BraidTopic *topic, AclMode mode);
extern void braid_topic_require_owner(BraidTopic *topic);

/* After something about the topic has changed in the catalog: for all, at commit. */
extern void braid_topic_invalidate(Oid view);

/* ---- transaction ids and snapshots, as columns and positions have them */

/*
 * Each restore from a dump begins a new generation, in the upper 16 bits: so what was
 * dumped is older than all that comes, and positions go on from where they were.
 */
extern uint64 braid_topic_xid(const BraidTopic *topic, FullTransactionId xid);

/* What is visible in the snapshot, without the running transaction. */
extern void braid_topic_frontier(const BraidTopic *topic, Snapshot snapshot, BraidFrontier *f);

/* ---- those who read topics */

typedef struct BraidTopicFollower
{
	/* The running transaction has sent n messages to a partition; may be NULL. */
	void (*sent)(BraidTopic *topic, int part, int n);

	/* Whether messages are held back; lowers *xid to the first that is wanted; may be NULL. */
	bool (*holds)(int topic, uint64 *xid);
	/* Before a topic is dropped: clears up, or raises 2BP01 if it may not cascade. */
	void (*drop)(int topic, bool cascade);

	/* Now and then in the worker, in a transaction of its own; may be NULL. */
	void (*tidy)(void);
} BraidTopicFollower;

/* In init functions. */
extern void braid_topic_register(const BraidTopicFollower *follower);

extern void braid_topic_init(void);

#include "topic/message.h"

#endif /* BRAID_TOPIC_H */
