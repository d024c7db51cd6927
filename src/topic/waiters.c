/*
 * waiters.c
 *	  Those who wait for messages, and how they are woken.
 *
 * NOTES
 *	  Waiters stand in queues, one for each group of a topic that somebody waits in.
 *	  Queues are in buckets, by the hash of database and topic.  A sender looks,
 *	  after its commit has become visible, whether the bucket has a queue, without
 *	  a lock, and that is all if nobody waits:
 *
 *		sender:  become visible; full barrier; read nqueues
 *		waiter:  enlist, nqueues + 1; full barrier; take a snapshot, look; sleep
 *
 *	  Either the sender reads nqueues after it was raised, and then finds the waiter,
 *	  or it read it before, and then it was visible before the waiter's snapshot was
 *	  taken.
 *
 *	  Who is woken is taken out of the queue, so that what comes next wakes somebody
 *	  else: a message costs as many wake-ups as there are groups, not waiters.
 *	  A waiter that was woken owes it to the others to look.  If it does not (it was
 *	  cancelled, or its time was over), or has found something else, another one is
 *	  woken in its stead.  One that looked and found nothing owes nothing: somebody
 *	  has the message, and wakes others when his transaction ends and there is more.
 *
 *	  The locks of the buckets are leaves.  What runs at the end of a transaction
 *	  does not throw.
 */
#include "postgres.h"

#include "commands/async.h"
#include "common/hashfn.h"
#include "common/shmem.h"
#include "common/wait.h"
#include "common/xact.h"
#include "lib/ilist.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/spin.h"
#include "tcop/utility.h"
#include "topic/waiters.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define NBUCKETS 256

/* Who waits looks now and then by himself: see wake_for_prepared(). */
#define LOOK_AGAIN_MS 5000

/* Guarded by the lock of its bucket. */
typedef struct Queue
{
	dlist_node node; /* in the bucket, or in the list of free ones */
	Oid dbid;
	int topic;
	int group;
	dlist_head waiters; /* the longest waiting first */
} Queue;

/* One for each process that can have a transaction, by its place in the array of PGPROCs. */
typedef struct Waiter
{
	dlist_node node;	  /* in the queue; guarded by the bucket's lock, as are queue and parts */
	Queue *queue;		  /* NULL: is not in any */
	Latch *latch;		  /* written by its process, before it is in a queue */
	BraidParts parts;	  /* that it waits for */
	bool each;			  /* written likewise */
	pg_atomic_uint64 due; /* partitions that it was woken for and has not looked at */
} Waiter;

typedef struct Bucket
{
	LWLock lock;
	pg_atomic_uint32 nqueues;
	pg_atomic_uint32 prepared; /* a transaction that sent to one of its topics was prepared */
	dlist_head queues;		   /* lock */
} Bucket;

typedef struct Waiting
{
	slock_t mutex;	 /* guards free */
	dlist_head free; /* queues */
	Bucket buckets[NBUCKETS];
	Queue *queues;	 /* MaxBackends, as each waiter is in at most one */
	Waiter *waiters; /* MaxBackends */
} Waiting;

static Waiting *waiting = NULL;

/* This process, while it waits. */
static struct
{
	bool is_enlisted;
	int topic;
	int group;
	BraidParts parts;
	bool each;
	BraidParts looking_for; /* was woken for these, and is looking */
} mine;

/* What this transaction is going to wake others for. */
typedef struct Wake
{
	int topic;
	int group; /* 0: all */
	BraidParts parts;
	int n;
	struct Wake *next;
} Wake;

static Wake *sent = NULL; /* in TopTransactionContext, as are those of at_end */
static Wake *at_end = NULL;

static ProcessUtility_hook_type previous_utility = NULL;

/* ---------------------------------------------------------------- shared memory */

static Size
waiting_size(void)
{
	return MAXALIGN(sizeof(Waiting)) + MaxBackends * MAXALIGN(sizeof(Queue)) +
		   MaxBackends * MAXALIGN(sizeof(Waiter));
}

static void
waiting_init(void *area)
{
	Waiting *w = area;

	SpinLockInit(&w->mutex);
	dlist_init(&w->free);
	for (int i = 0; i < NBUCKETS; i++)
	{
		braid_shmem_init_lock(&w->buckets[i].lock);
		pg_atomic_init_u32(&w->buckets[i].nqueues, 0);
		pg_atomic_init_u32(&w->buckets[i].prepared, 0);
		dlist_init(&w->buckets[i].queues);
	}
	w->queues = (Queue *) ((char *) area + MAXALIGN(sizeof(Waiting)));
	w->waiters = (Waiter *) ((char *) w->queues + MaxBackends * MAXALIGN(sizeof(Queue)));
	for (int i = 0; i < MaxBackends; i++)
	{
		dlist_push_tail(&w->free, &w->queues[i].node);
		pg_atomic_init_u64(&w->waiters[i].due, 0);
	}
}

static const BraidShmemArea area = {"braid waiters", waiting_size, waiting_init,
									(void **) &waiting};

static Bucket *
bucket_of(int topic)
{
	return &waiting->buckets[murmurhash32(MyDatabaseId * 31 + topic) % NBUCKETS];
}

static Waiter *
my_waiter(void)
{
	int i = (int) (MyProc - ProcGlobal->allProcs);

	Assert(i >= 0 && i < MaxBackends);
	return &waiting->waiters[i];
}

/* ---------------------------------------------------------------- queues */

static Queue *
take_free_queue(void)
{
	Queue *q;

	SpinLockAcquire(&waiting->mutex);
	q = dlist_container(Queue, node, dlist_pop_head_node(&waiting->free));
	SpinLockRelease(&waiting->mutex);
	return q;
}

/* The caller holds the bucket's lock, as for all that follow here. */
static Queue *
find_queue(Bucket *b, int topic, int group)
{
	dlist_iter it;
	Queue *q;

	dlist_foreach (it, &b->queues)
	{
		q = dlist_container(Queue, node, it.cur);
		if (q->dbid == MyDatabaseId && q->topic == topic && q->group == group)
			return q;
	}
	q = take_free_queue();
	q->dbid = MyDatabaseId;
	q->topic = topic;
	q->group = group;
	dlist_init(&q->waiters);
	dlist_push_tail(&b->queues, &q->node);
	pg_atomic_fetch_add_u32(&b->nqueues, 1);
	return q;
}

/* Takes a waiter out of its queue, and the queue away if it was the last. */
static void
take_out(Bucket *b, Waiter *w)
{
	Queue *q = w->queue;

	w->queue = NULL;
	dlist_delete(&w->node);
	if (!dlist_is_empty(&q->waiters))
		return;
	dlist_delete(&q->node);
	pg_atomic_fetch_sub_u32(&b->nqueues, 1);
	SpinLockAcquire(&waiting->mutex);
	dlist_push_head(&waiting->free, &q->node);
	SpinLockRelease(&waiting->mutex);
}

static void
wake_waiter(Bucket *b, Waiter *w, BraidParts parts)
{
	Latch *latch = w->latch;

	take_out(b, w);
	pg_atomic_fetch_or_u64(&w->due, parts);
	SetLatch(latch);
}

/*
 * Those of a queue that n messages in these partitions are for: one for each
 * message, or (whatever n is) one for each partition.
 */
static void
wake_queue(Bucket *b, Queue *q, BraidParts parts, int n)
{
	BraidParts left = parts;
	dlist_mutable_iter it;

	dlist_foreach_modify (it, &q->waiters)
	{
		Waiter *w = dlist_container(Waiter, node, it.cur);
		BraidParts hit = w->parts & (w->each ? parts : left);

		if (hit == 0)
			continue;
		if (!w->each && w->parts == BRAID_ALL_PARTS)
			hit &= -hit; /* leave the other partitions to others */
		left &= ~hit;
		wake_waiter(b, w, w->each ? parts : hit);
		if (w->each ? --n <= 0 : left == 0)
			break;
	}
}

static void
wake_all_of_queue(Bucket *b, Queue *q)
{
	dlist_mutable_iter it;

	dlist_foreach_modify (it, &q->waiters)
	{
		Waiter *w = dlist_container(Waiter, node, it.cur);

		wake_waiter(b, w, w->parts);
	}
}

/* n is 0 for all waiters. */
static void
wake(int topic, int group, BraidParts parts, int n)
{
	Bucket *b = bucket_of(topic);
	dlist_mutable_iter it;

	pg_memory_barrier();
	if (pg_atomic_read_u32(&b->nqueues) == 0)
		return;
	LWLockAcquire(&b->lock, LW_EXCLUSIVE);
	dlist_foreach_modify (it, &b->queues)
	{
		Queue *q = dlist_container(Queue, node, it.cur);

		if (q->dbid != MyDatabaseId || q->topic != topic || (group != 0 && q->group != group))
			continue;
		if (n == 0)
			wake_all_of_queue(b, q);
		else
			wake_queue(b, q, parts, n);
	}
	LWLockRelease(&b->lock);
}

/* ---------------------------------------------------------------- consumers */

static void
queue_up(void)
{
	Waiter *w = my_waiter();
	Bucket *b = bucket_of(mine.topic);

	LWLockAcquire(&b->lock, LW_EXCLUSIVE);
	w->parts = mine.parts;
	if (w->queue == NULL)
	{
		w->latch = MyLatch;
		w->each = mine.each;
		w->queue = find_queue(b, mine.topic, mine.group);
		dlist_push_tail(&w->queue->waiters, &w->node);
	}
	LWLockRelease(&b->lock);
	pg_memory_barrier();
}

void
braid_waiter_enlist(int topic, int group, BraidParts parts, bool each)
{
	braid_waiter_leave(0);
	braid_wait_prepare(BRAID_WAIT_MESSAGES);
	mine.topic = topic;
	mine.group = group;
	mine.parts = parts;
	mine.each = each;
	mine.looking_for = 0;
	mine.is_enlisted = true;
	queue_up();
}

void
braid_waiter_change_parts(BraidParts parts)
{
	Assert(mine.is_enlisted);
	if (parts == mine.parts)
		return;
	mine.parts = parts;
	queue_up();
}

bool
braid_waiter_sleep(TimestampTz until)
{
	Waiter *w = my_waiter();
	TimestampTz again = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), LOOK_AGAIN_MS);

	Assert(mine.is_enlisted);
	mine.looking_for = 0; /* it has looked */
	until = Min(until, again);
	while (pg_atomic_read_u64(&w->due) == 0)
	{
		long ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);

		if (ms <= 0)
			return until == again;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ms,
						 braid_wait_begin(BRAID_WAIT_MESSAGES));
		braid_wait_end();
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	mine.looking_for = pg_atomic_exchange_u64(&w->due, 0);
	queue_up();
	return true;
}

/* Does not throw. */
void
braid_waiter_leave(BraidParts found)
{
	Waiter *w;
	Bucket *b;
	BraidParts due;

	if (!mine.is_enlisted)
		return;
	mine.is_enlisted = false;
	w = my_waiter();
	b = bucket_of(mine.topic);
	LWLockAcquire(&b->lock, LW_EXCLUSIVE);
	if (w->queue != NULL)
		take_out(b, w);
	LWLockRelease(&b->lock);

	/* Nobody adds to it any more. */
	due = (pg_atomic_exchange_u64(&w->due, 0) | mine.looking_for) & ~found;
	mine.looking_for = 0;
	if (due != 0)
		wake(mine.topic, mine.group, due, 1);
}

void
braid_waiters_wake(int topic, int group, BraidParts parts, int n)
{
	wake(topic, group, parts, n);
}

void
braid_waiters_wake_all(int topic, int group)
{
	wake(topic, group, BRAID_ALL_PARTS, 0);
}

/* ---------------------------------------------------------------- transactions */

static void
note(Wake **list, int topic, int group, BraidParts parts, int n)
{
	Wake *w = *list;

	while (w != NULL && (w->topic != topic || w->group != group))
		w = w->next;
	if (w == NULL)
	{
		w = MemoryContextAllocZero(TopTransactionContext, sizeof(Wake));
		w->topic = topic;
		w->group = group;
		w->next = *list;
		*list = w;
	}
	w->parts |= parts;
	w->n = n > PG_INT32_MAX - w->n ? PG_INT32_MAX : w->n + n;
}

void
braid_waiters_note_sent(int topic, BraidParts parts, int n)
{
	note(&sent, topic, 0, parts, n);
}

void
braid_waiters_wake_at_end(int topic, int group, BraidParts parts, int n)
{
	note(&at_end, topic, group, parts, n);
}

static void
wake_list(Wake *list)
{
	for (Wake *w = list; w != NULL; w = w->next)
		wake(w->topic, w->group, w->parts, w->n);
}

/* What it has sent and taken is somebody else's to finish. */
static void
note_prepared(Wake *list)
{
	for (Wake *w = list; w != NULL; w = w->next)
		pg_atomic_write_u32(&bucket_of(w->topic)->prepared, 1);
}

/* Runs after the transaction has become visible. */
static void
end_of_transaction(XactEvent event)
{
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	if (event == XACT_EVENT_COMMIT)
		wake_list(sent);
	else if (event == XACT_EVENT_PREPARE)
	{
		note_prepared(sent);
		note_prepared(at_end);
		at_end = NULL;
	}
	sent = NULL;
	braid_waiter_leave(0);
}

/* A wait that was ended by an error which somebody has caught. */
static void
end_of_subtransaction(SubXactEvent event)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		braid_waiter_leave(0);
}

static void
locks_released(bool is_commit)
{
	wake_list(at_end);
	at_end = NULL;
}

/*
 * A prepared transaction has ended, and nobody knows what it has sent: waiters for
 * topics of which one is known to have sent something look again.  After a restart
 * that is not known; those who wait look now and then by themselves.
 */
static void
wake_for_prepared(void)
{
	for (int i = 0; i < NBUCKETS; i++)
	{
		Bucket *b = &waiting->buckets[i];
		dlist_mutable_iter it;

		if (pg_atomic_read_u32(&b->prepared) == 0 || pg_atomic_read_u32(&b->nqueues) == 0)
			continue;
		LWLockAcquire(&b->lock, LW_EXCLUSIVE);
		dlist_foreach_modify (it, &b->queues)
		{
			Queue *q = dlist_container(Queue, node, it.cur);

			if (q->dbid == MyDatabaseId)
				wake_all_of_queue(b, q);
		}
		LWLockRelease(&b->lock);
	}
}

static void
utility(PlannedStmt *stmt, const char *text, bool read_only_tree, ProcessUtilityContext context,
		ParamListInfo params, QueryEnvironment *environment, DestReceiver *receiver,
		QueryCompletion *completion)
{
	ProcessUtility_hook_type next = previous_utility ? previous_utility : standard_ProcessUtility;
	bool ends_prepared = false;

	if (IsA(stmt->utilityStmt, TransactionStmt))
	{
		TransactionStmtKind kind = ((TransactionStmt *) stmt->utilityStmt)->kind;

		ends_prepared = kind == TRANS_STMT_COMMIT_PREPARED || kind == TRANS_STMT_ROLLBACK_PREPARED;
	}
	next(stmt, text, read_only_tree, context, params, environment, receiver, completion);
	if (ends_prepared)
	{
		pg_memory_barrier();
		wake_for_prepared();
	}
}

static void
messages_sent(BraidTopic *topic, int part, int n)
{
	braid_waiters_note_sent(topic->id, BRAID_PART(part), n);
	if (topic->notify)
	{
		char channel[NAMEDATALEN];

		/* The same again in a transaction is left out by the server. */
		snprintf(channel, sizeof(channel), "braid_topic_%d", topic->id);
		Async_Notify(channel, "");
	}
}

static const BraidTopicFollower follower = {.sent = messages_sent};

void
braid_waiters_init(void)
{
	braid_topic_register(&follower);
	braid_shmem_register(&area);
	braid_xact_register(BRAID_XACT_LAST, end_of_transaction);
	braid_xact_register_subxact(end_of_subtransaction);
	braid_xact_on_locks_released(locks_released);
	previous_utility = ProcessUtility_hook;
	ProcessUtility_hook = utility;
}
