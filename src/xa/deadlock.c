/*
 * deadlock.c
 *	  Finds and breaks deadlocks over several servers; part of the resolver.
 *
 * NOTES
 *	  A detection begins only when a global transaction of this database has been
 *	  open for deadlock_timeout and waits at this moment.  Then all participants
 *	  are asked, and this server, who has waited for so long, and for whom
 *	  (lock_waits.c).  A participant that does not answer soon is left out: its
 *	  edges can be missed, but nothing else goes wrong.  It is not asked again
 *	  before it has answered, so it delays one detection and not all.
 *
 *	  The answers are of different moments, so that a cycle in them need not have
 *	  existed: one wait can have ended before another one began.  When there is
 *	  a cycle, all are therefore asked once more after the last answer, and
 *	  only waits that are in both collections count.  The same wait (same start)
 *	  at both times has lasted from the first collection to the second, so there
 *	  is a moment between them at which all waits of the cycle were there; and
 *	  whoever waits releases nothing.  So the deadlock is real.  If somebody
 *	  else has broken it by the time of the cancellation, the victim is in
 *	  another statement by then, and is let go.
 *
 *	  A cycle of processes of one server is left to the detector of that server.
 *	  A cycle that goes through two branches of one transaction is never one to
 *	  it, even on one server.
 *
 *	  The victim is the youngest global transaction of the cycle.  Every
 *	  coordinator that sees the cycle comes to the same result, and the one whose
 *	  transaction it is cancels it.  If that one does not see the whole cycle,
 *	  because it does not know all of the servers, nothing happens; so after a
 *	  grace, counted from the youngest wait, the next youngest is taken as well,
 *	  and so on.
 *
 *	  The same collections answer braid.lock_waits, through shared memory.
 */
#include "postgres.h"

#include <limits.h>

#include "catalog/pg_type.h"
#include "common/failpoint.h"
#include "common/query.h"
#include "common/shmem.h"
#include "common/wait.h"
#include "common/worker.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "xa/deadlock.h"
#include "xa/errand.h"
#include "xa/lock_graph.h"
#include "xa/report.h"
#include "xa/session.h"
#include "xa/settings.h"
#include "xa/statistics.h"
#include "xa/transaction.h"

PG_FUNCTION_INFO_V1(braid_sql_xa_lock_waits);

#define MIN_PAUSE_MS 10
#define MAX_PAUSE_MS 1000
#define ANSWER_LIMIT_MS 1000 /* for the participants of a collection */
#define GRACE_MS 5000		 /* see choose_victim(); and 2 * deadlock_timeout */
#define MAX_SHOWN 1024		 /* edges, of all databases */
#define MAX_SHOWING 64		 /* databases */
#define SHOW_LIMIT_MS 5000

typedef enum DetectorState
{
	DETECTOR_IDLE,
	DETECTOR_FIRST,	 /* collects: --cycle--> SECOND, --none--> IDLE */
	DETECTOR_SECOND, /* collects once more; acts --> IDLE */
	DETECTOR_SHOW	 /* collects for braid.lock_waits --> IDLE */
} DetectorState;

static DetectorState state = DETECTOR_IDLE;
static uint32 this_round = 0; /* grows with each collection */
static TimestampTz collection_began;
static int missing; /* participants that have not answered */
static TimestampTz answers_until;
static TimestampTz next_look = 0;
static XaLockGraph *graph = NULL;	/* of this collection */
static XaLockGraph *earlier = NULL; /* SECOND: of the first one */

/* ---------------------------------------------------------------- shared memory */

typedef struct ShownEdge
{
	Oid dbid; /* InvalidOid: free */
	Oid serverid;
	int waiter_pid;
	int blocker_pid;
	int64 age_ms;
	char waiter[BRAID_GID_LEN];
	char blocker[BRAID_GID_LEN];
	char lock[128];
} ShownEdge;

typedef struct Showing
{
	Oid dbid; /* InvalidOid: free */
	uint64 requests;
	uint64 done; /* requests that a collection has answered */
} Showing;

typedef struct ShownWaits
{
	LWLock lock; /* guards all that follows */
	Showing showing[MAX_SHOWING];
	ShownEdge edges[MAX_SHOWN];
} ShownWaits;

static ShownWaits *shown = NULL;

/* Resolver: the requests that the collection under way answers. */
static uint64 requests_seen;

static Size
shown_size(void)
{
	return sizeof(ShownWaits);
}

static void
shown_init(void *area)
{
	braid_shmem_init_lock(&((ShownWaits *) area)->lock);
}

static const BraidShmemArea area = {"braid xa lock waits", shown_size, shown_init,
									(void **) &shown};

/* This database's entry; the caller holds the lock exclusively.  NULL: too many. */
static Showing *
my_showing(void)
{
	Showing *unused = NULL;

	for (int i = 0; i < MAX_SHOWING; i++)
	{
		Showing *s = &shown->showing[i];

		if (s->dbid == MyDatabaseId)
			return s;
		if (!unused && (!OidIsValid(s->dbid) || s->requests == s->done))
			unused = s;
	}
	if (unused)
	{
		memset(unused, 0, sizeof(*unused));
		unused->dbid = MyDatabaseId;
	}
	return unused;
}

static bool
is_show_requested(void)
{
	bool requested = false;

	LWLockAcquire(&shown->lock, LW_SHARED);
	for (int i = 0; i < MAX_SHOWING; i++)
	{
		Showing *s = &shown->showing[i];

		if (s->dbid == MyDatabaseId && s->requests != s->done)
		{
			requests_seen = s->requests;
			requested = true;
		}
	}
	LWLockRelease(&shown->lock);
	return requested;
}

static void
show_edge(ShownEdge *to, const XaLockEdge *edge)
{
	const char *waiter = graph->nodes[edge->waiter].label;
	const char *blocker = graph->nodes[edge->blocker].label;

	to->dbid = MyDatabaseId;
	to->serverid = edge->serverid;
	to->waiter_pid = edge->waiter_pid;
	to->blocker_pid = edge->blocker_pid;
	to->age_ms = edge->age_ms;
	strlcpy(to->waiter, waiter ? waiter : "", sizeof(to->waiter));
	strlcpy(to->blocker, blocker ? blocker : "", sizeof(to->blocker));
	strlcpy(to->lock, edge->lock, sizeof(to->lock));
}

/* Publishes the edges of the graph; what does not fit is left out. */
static void
show_graph(void)
{
	ListCell *lc = list_head(graph->edges);

	LWLockAcquire(&shown->lock, LW_EXCLUSIVE);
	for (int i = 0; i < MAX_SHOWN; i++)
	{
		ShownEdge *to = &shown->edges[i];

		if (to->dbid == MyDatabaseId)
			to->dbid = InvalidOid;
		if (OidIsValid(to->dbid) || !lc)
			continue;
		show_edge(to, lfirst(lc));
		lc = lnext(graph->edges, lc);
	}
	my_showing()->done = requests_seen;
	LWLockRelease(&shown->lock);
}

static uint64
request_show(void)
{
	Showing *s;
	uint64 request = 0;

	LWLockAcquire(&shown->lock, LW_EXCLUSIVE);
	s = my_showing();
	if (s)
		request = ++s->requests;
	LWLockRelease(&shown->lock);
	braid_worker_wake(braid_xa_resolver_kind, MyDatabaseId);
	return request;
}

static bool
is_shown(uint64 request)
{
	bool done = false;

	LWLockAcquire(&shown->lock, LW_SHARED);
	for (int i = 0; i < MAX_SHOWING; i++)
		done |= shown->showing[i].dbid == MyDatabaseId && shown->showing[i].done >= request;
	LWLockRelease(&shown->lock);
	return done;
}

/* Waits until the resolver has answered; throws 55000 if it does not in time. */
static void
wait_shown(uint64 request)
{
	TimestampTz limit = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), SHOW_LIMIT_MS);

	while (request == 0 || !is_shown(request))
	{
		if (request == 0 || GetCurrentTimestamp() >= limit)
			ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
							errmsg("the resolver of this database does not answer"),
							errhint("See braid.participants.")));
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | WL_TIMEOUT, 10,
						 braid_wait_begin(BRAID_WAIT_LOCK_WAITS));
		braid_wait_end();
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* xa_lock_waits(): one row for each edge. */
Datum
braid_sql_xa_lock_waits(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsi = (ReturnSetInfo *) fcinfo->resultinfo;
	ShownEdge *copy = palloc(sizeof(shown->edges));

	wait_shown(request_show());
	LWLockAcquire(&shown->lock, LW_SHARED);
	memcpy(copy, shown->edges, sizeof(shown->edges));
	LWLockRelease(&shown->lock);
	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < MAX_SHOWN; i++)
	{
		ShownEdge *e = &copy[i];
		Datum v[7];
		bool n[7] = {false};

		if (e->dbid != MyDatabaseId)
			continue;
		v[0] = ObjectIdGetDatum(e->serverid);
		n[0] = !OidIsValid(e->serverid);
		v[1] = Int32GetDatum(e->waiter_pid);
		v[2] = braid_xa_text_or_null(e->waiter, &n[2]);
		v[3] = Int32GetDatum(e->blocker_pid);
		n[3] = e->blocker_pid == 0;
		v[4] = braid_xa_text_or_null(e->blocker, &n[4]);
		v[5] = braid_xa_text_or_null(e->lock, &n[5]);
		v[6] = Int64GetDatum(e->age_ms);
		tuplestore_putvalues(rsi->setResult, rsi->setDesc, v, n);
	}
	pfree(copy);
	return (Datum) 0;
}

/* ---------------------------------------------------------------- search */

/*
 * The shortest cycle through a node, by breadth-first search over the edges of
 * nodes that are not removed and, if there is an earlier graph, over those that
 * are in it too.  A list of edges, NIL if there is none.
 */
static List *
find_cycle(int start)
{
	XaLockEdge **reached_by = palloc0(graph->nnodes * sizeof(XaLockEdge *));
	int *queue = palloc(graph->nnodes * sizeof(int));
	int head = 0;
	int tail = 0;
	List *cycle = NIL;
	ListCell *lc;

	queue[tail++] = start;
	while (head < tail && !reached_by[start])
	{
		foreach (lc, graph->nodes[queue[head++]].edges)
		{
			XaLockEdge *edge = lfirst(lc);

			if (reached_by[edge->blocker] || graph->nodes[edge->blocker].removed ||
				(earlier && !braid_xa_lock_graph_has(earlier, edge)))
				continue;
			reached_by[edge->blocker] = edge;
			if (edge->blocker != start)
				queue[tail++] = edge->blocker;
		}
	}
	for (XaLockEdge *edge = reached_by[start]; edge;
		 edge = edge->waiter == start ? NULL : reached_by[edge->waiter])
		cycle = lcons(edge, cycle);
	return cycle;
}

/*
 * Does some server see the cycle as one of its own processes?  Each process then
 * waits for another one, and that itself, not a sister of it, waits in turn.
 */
static bool
is_local_cycle(List *cycle)
{
	XaLockEdge *last = llast(cycle);
	ListCell *lc;

	foreach (lc, cycle)
	{
		XaLockEdge *edge = lfirst(lc);

		if (strcmp(last->blocker_local, edge->waiter_local) != 0)
			return false;
		last = edge;
	}
	return true;
}

/* The youngest first; nodes without an origin last. */
static int
compare_youth(const void *a, const void *b)
{
	const XaOrigin *x = &graph->nodes[*(const int *) a].origin;
	const XaOrigin *y = &graph->nodes[*(const int *) b].origin;

	if ((x->pid != 0) != (y->pid != 0))
		return x->pid != 0 ? -1 : 1;
	if (x->started != y->started)
		return x->started > y->started ? -1 : 1;
	if (x->coordinator != y->coordinator)
		return x->coordinator > y->coordinator ? -1 : 1;
	return y->pid - x->pid;
}

/* The transactions that can be victims, the youngest first; *n is their number. */
static int *
candidates(int *n)
{
	int *nodes = palloc(graph->nnodes * sizeof(int));

	*n = 0;
	for (int i = 0; i < graph->nnodes; i++)
		if (braid_xa_lock_graph_find(graph, i) == i && graph->nodes[i].origin.pid != 0)
			nodes[(*n)++] = i;
	qsort(nodes, *n, sizeof(int), compare_youth);
	return nodes;
}

static bool
has_cycle(void)
{
	int n;
	int *nodes = candidates(&n);

	for (int i = 0; i < n; i++)
	{
		List *cycle = find_cycle(nodes[i]);

		if (cycle != NIL && !is_local_cycle(cycle))
			return true;
	}
	return false;
}

/* ---------------------------------------------------------------- victim */

static void
append_end(StringInfo s, int pid, int node)
{
	const char *label = graph->nodes[node].label;

	if (pid == 0)
		appendStringInfoString(s, "a prepared transaction");
	else
		appendStringInfo(s, "process %d", pid);
	if (label)
		appendStringInfo(s, " of global transaction \"%s\"", label);
}

/* The cycle as the detail of an error, in the manner of PostgreSQL's own. */
static char *
describe_cycle(List *cycle)
{
	StringInfoData s;
	ListCell *lc;

	initStringInfo(&s);
	foreach (lc, cycle)
	{
		XaLockEdge *edge = lfirst(lc);

		if (s.len > 0)
			appendStringInfoChar(&s, '\n');
		if (OidIsValid(edge->serverid))
			appendStringInfo(&s, "On server \"%s\", ", edge->server);
		else
			appendStringInfoString(&s, "On the coordinator, ");
		append_end(&s, edge->waiter_pid, edge->waiter);
		appendStringInfo(&s, " waits for %s; blocked by ", edge->lock);
		append_end(&s, edge->blocker_pid, edge->blocker);
		appendStringInfoChar(&s, '.');
	}
	return s.data;
}

/* How long the deadlock has lasted: as long as its youngest wait. */
static int64
age_of_cycle(List *cycle)
{
	int64 age = PG_INT64_MAX;
	ListCell *lc;

	foreach (lc, cycle)
		age = Min(age, ((XaLockEdge *) lfirst(lc))->age_ms);
	return age;
}

/*
 * The transaction of the cycle that this coordinator has to cancel now; -1:
 * none.  The youngest is due at once, each older one after one grace more.
 */
static int
choose_victim(List *cycle)
{
	int64 patience = DeadlockTimeout;
	int64 grace = 2 * DeadlockTimeout + GRACE_MS;
	int n = 0;
	int *nodes = palloc(list_length(cycle) * sizeof(int));
	ListCell *lc;

	foreach (lc, cycle)
		nodes[n++] = ((XaLockEdge *) lfirst(lc))->waiter;
	qsort(nodes, n, sizeof(int), compare_youth);
	for (int i = 0; i < n && graph->nodes[nodes[i]].origin.pid != 0; i++)
	{
		if (graph->nodes[nodes[i]].ours.pid != 0)
			return age_of_cycle(cycle) >= patience + i * grace ? nodes[i] : -1;
	}
	return -1;
}

/*
 * Is the session still in the statement that it was in when we began to ask?
 * If not, its wait has ended since the answers.  Without track_activities
 * nobody knows.
 */
static bool
is_in_same_statement(int pid)
{
	MemoryContext caller;
	Oid types[2] = {INT4OID, TIMESTAMPTZOID};
	Datum args[2] = {Int32GetDatum(pid), TimestampTzGetDatum(collection_began)};
	bool same;
	int rc;

	caller = braid_query_begin();
	rc = SPI_execute_with_args("SELECT FROM pg_catalog.pg_stat_activity WHERE pid = $1 AND "
							   "(state = 'active' AND query_start < $2 OR state = 'disabled')",
							   2, types, args, NULL, true, 1);
	if (rc != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_with_args returned %s", SPI_result_code_string(rc));
	same = SPI_processed == 1;
	braid_query_end(caller);
	return same;
}

static void
cancel_victim(List *cycle, int victim)
{
	char *detail = describe_cycle(cycle);
	const XaOrigin *ours = &graph->nodes[victim].ours;

	BRAID_FAILPOINT("xa-deadlock-cancel");
	if (!is_in_same_statement(ours->pid) || !braid_xa_origin_cancel(ours, detail))
		return;
	braid_xa_stat_count(XA_STAT_DEADLOCKS);
	ereport(LOG,
			(errcode(ERRCODE_T_R_DEADLOCK_DETECTED),
			 errmsg("deadlock over several servers detected: process %d is canceled", ours->pid),
			 errdetail_log("%s", detail)));
}

/*
 * Every cycle is broken at one transaction, by whoever is to do it.  Removing
 * the youngest, ours or not, leaves the cycles that it is not part of.
 */
static void
break_cycles(void)
{
	int n;
	int *nodes = candidates(&n);

	for (int i = 0; i < n; i++)
	{
		List *cycle = find_cycle(nodes[i]);
		int victim;

		if (cycle == NIL || is_local_cycle(cycle))
			continue;
		victim = choose_victim(cycle);
		if (victim >= 0)
			cancel_victim(cycle, victim);
		graph->nodes[nodes[i]].removed = true;
	}
}

/* ---------------------------------------------------------------- collect */

/* The waits on this server itself. */
static void
add_local_waits(int min_age_ms)
{
	MemoryContext caller;
	Oid types[1] = {INT4OID};
	Datum args[1] = {Int32GetDatum(min_age_ms)};
	int rc;

	caller = braid_query_begin();
	rc = SPI_execute_with_args("SELECT * FROM braid_internal.lock_waits($1)", 1, types, args, NULL,
							   false, 0);
	if (rc != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_with_args returned %s", SPI_result_code_string(rc));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		char *columns[XA_WAITS_NCOLUMNS];

		for (int c = 0; c < XA_WAITS_NCOLUMNS; c++)
			columns[c] = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, c + 1);
		braid_xa_lock_graph_add(graph, InvalidOid, "", columns);
	}
	braid_query_end(caller);
}

/* Our own gids are known by their sessions, too. */
static void
add_own_gids(void)
{
	XaTransaction *t = palloc(sizeof(XaTransaction));

	for (int i = 0; braid_xa_transaction_read(i, t); i++)
	{
		XaOrigin origin = {.coordinator = t->gid.coordinator, .started = t->started, .pid = t->pid};
		char gid[BRAID_GID_LEN + 1];
		char name[BRAID_ORIGIN_LEN + 1];

		if (t->state != XA_ACTIVE || t->dbid != MyDatabaseId)
			continue;
		gid[0] = XA_NAME_GID;
		braid_gid_format_transaction(&t->gid, gid + 1);
		name[0] = XA_NAME_ORIGIN;
		braid_xa_origin_format(&origin, name + 1);
		braid_xa_lock_graph_same(graph, gid, name);
	}
	pfree(t);
}

static void
begin_collection(DetectorState why, List *sessions, uint64 coordinator)
{
	int min_age_ms = why == DETECTOR_SHOW ? 0 : DeadlockTimeout;
	ListCell *lc;

	state = why;
	this_round++;
	missing = 0;
	collection_began = GetCurrentTimestamp();
	graph = braid_xa_lock_graph_create(TopMemoryContext, coordinator);
	answers_until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ANSWER_LIMIT_MS);
	foreach (lc, sessions)
		if (braid_xa_errand_ask_waits(lfirst(lc), this_round, min_age_ms))
			missing++;
}

static void
end_collection(void)
{
	add_local_waits(state == DETECTOR_SHOW ? 0 : DeadlockTimeout);
	add_own_gids();
	braid_xa_lock_graph_finish(graph);
}

static void
forget_graphs(void)
{
	if (graph)
		braid_xa_lock_graph_free(graph);
	if (earlier)
		braid_xa_lock_graph_free(earlier);
	graph = earlier = NULL;
	state = DETECTOR_IDLE;
}

void
braid_xa_deadlock_receive(Oid serverid, const char *server, uint32 round, PGresult *r)
{
	if (state == DETECTOR_IDLE || round != this_round)
		return;
	missing--;
	if (!r || PQresultStatus(r) != PGRES_TUPLES_OK || PQnfields(r) != XA_WAITS_NCOLUMNS)
		return;
	for (int i = 0; i < PQntuples(r); i++)
	{
		char *columns[XA_WAITS_NCOLUMNS];

		for (int c = 0; c < XA_WAITS_NCOLUMNS; c++)
			columns[c] = PQgetisnull(r, i, c) ? NULL : PQgetvalue(r, i, c);
		braid_xa_lock_graph_add(graph, serverid, server, columns);
	}
}

/* ---------------------------------------------------------------- tend */

static long
pause_ms(void)
{
	return Min(Max(DeadlockTimeout / 2, MIN_PAUSE_MS), MAX_PAUSE_MS);
}

/* The collection is complete: what follows from it? */
static void
conclude(List *sessions, uint64 coordinator)
{
	end_collection();
	switch (state)
	{
		case DETECTOR_FIRST:
			if (has_cycle())
			{
				earlier = graph;
				BRAID_FAILPOINT("xa-deadlock-confirm");
				begin_collection(DETECTOR_SECOND, sessions, coordinator);
				return;
			}
			break;
		case DETECTOR_SECOND:
			break_cycles();
			break;
		case DETECTOR_SHOW:
			show_graph();
			break;
		case DETECTOR_IDLE:
			break;
	}
	forget_graphs();
}

long
braid_xa_deadlock_tend(List *sessions, uint64 coordinator)
{
	TimestampTz now = GetCurrentTimestamp();

	if (state == DETECTOR_IDLE)
	{
		if (is_show_requested())
			begin_collection(DETECTOR_SHOW, sessions, coordinator);
		else if (braid_xa_deadlock_detection && now >= next_look)
		{
			next_look = TimestampTzPlusMilliseconds(now, pause_ms());
			if (braid_xa_origin_someone_waits(DeadlockTimeout))
				begin_collection(DETECTOR_FIRST, sessions, coordinator);
		}
	}
	while (state != DETECTOR_IDLE && (missing <= 0 || now >= answers_until))
		conclude(sessions, coordinator);
	if (state != DETECTOR_IDLE)
		return TimestampDifferenceMilliseconds(now, answers_until) + 1;
	return braid_xa_deadlock_detection ? TimestampDifferenceMilliseconds(now, next_look) + 1
									   : LONG_MAX;
}

void
braid_xa_deadlock_init(void)
{
	braid_shmem_register(&area);
}
