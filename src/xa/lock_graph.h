/*
 * lock_graph.h
 *	  Who waits for whom over several servers.
 *
 * Edges come from the servers, with all the names by which their ends are known
 * (lock_waits.h).  Ends that share a name are one node.  Searching is
 * deadlock.c's.
 */
#ifndef BRAID_XA_LOCK_GRAPH_H
#define BRAID_XA_LOCK_GRAPH_H

#include "nodes/pg_list.h"
#include "utils/hsearch.h"
#include "xa/lock_waits.h"
#include "xa/origin.h"

/* A transaction: global, or local to one server. */
typedef struct XaLockNode
{
	int parent;		 /* union-find: itself, or closer to the one that stands for all */
	XaOrigin origin; /* the oldest of its names; pid 0: it is not a global one */
	XaOrigin ours;	 /* the one that this database coordinates; pid 0: none */
	char *label;	 /* its gid or origin, NULL: none */
	List *edges;	 /* of XaLockEdge: what it waits for */
	bool removed;	 /* from further searches */
} XaLockNode;

typedef struct XaLockEdge
{
	Oid serverid;		/* InvalidOid: this server */
	const char *server; /* its name */
	int waiter;			/* nodes */
	int blocker;
	char *waiter_local; /* first names */
	char *blocker_local;
	int waiter_pid;
	int blocker_pid; /* 0: prepared */
	char *since;
	int64 age_ms;
	char *lock;
} XaLockEdge;

typedef struct XaLockGraph
{
	MemoryContext context;
	uint64 coordinator; /* whose transactions are ours */
	HTAB *names;		/* to nodes */
	HTAB *edge_names;	/* see braid_xa_lock_graph_has() */
	XaLockNode *nodes;
	int nnodes;
	int maxnodes;
	List *edges;
} XaLockGraph;

/* An empty graph in a memory context of its own, child of the given one. */
extern XaLockGraph *braid_xa_lock_graph_create(MemoryContext parent, uint64 coordinator);
extern void braid_xa_lock_graph_free(XaLockGraph *graph);

/* Adds a row of braid_internal.lock_waits(), its columns as text or NULL. */
extern void
braid_xa_lock_graph_add(XaLockGraph *graph, Oid serverid, const char *server, char *const *columns);

/* Two names of one transaction. */
extern void braid_xa_lock_graph_same(XaLockGraph *graph, const char *name, const char *other);

/* To be called when all has been added, before nodes are looked at. */
extern void braid_xa_lock_graph_finish(XaLockGraph *graph);

/* Is the same wait for the same transaction also in this graph? */
extern bool braid_xa_lock_graph_has(XaLockGraph *graph, const XaLockEdge *edge);

/* The node that stands for all with which it was found to be one. */
extern int braid_xa_lock_graph_find(XaLockGraph *graph, int node);

#endif /* BRAID_XA_LOCK_GRAPH_H */
