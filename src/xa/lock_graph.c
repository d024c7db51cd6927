/*
 * lock_graph.c
 *	  Who waits for whom over several servers.
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "xa/lock_graph.h"

#define NAME_LEN 96
#define EDGE_NAME_LEN (2 * NAME_LEN + 32)

typedef struct NameEntry
{
	char name[NAME_LEN]; /* key */
	int node;
} NameEntry;

XaLockGraph *
braid_xa_lock_graph_create(MemoryContext parent, uint64 coordinator)
{
	MemoryContext context =
		AllocSetContextCreate(parent, "braid lock graph", ALLOCSET_DEFAULT_SIZES);
	XaLockGraph *graph = MemoryContextAllocZero(context, sizeof(XaLockGraph));
	HASHCTL ctl = {0};

	graph->context = context;
	graph->coordinator = coordinator;
	graph->maxnodes = 64;
	graph->nodes = MemoryContextAlloc(context, graph->maxnodes * sizeof(XaLockNode));
	ctl.hcxt = context;
	ctl.keysize = NAME_LEN;
	ctl.entrysize = sizeof(NameEntry);
	graph->names =
		hash_create("braid lock graph names", 64, &ctl, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	ctl.keysize = EDGE_NAME_LEN;
	ctl.entrysize = EDGE_NAME_LEN;
	graph->edge_names =
		hash_create("braid lock graph edges", 64, &ctl, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	return graph;
}

void
braid_xa_lock_graph_free(XaLockGraph *graph)
{
	MemoryContextDelete(graph->context);
}

/* ---------------------------------------------------------------- nodes */

int
braid_xa_lock_graph_find(XaLockGraph *graph, int node)
{
	while (graph->nodes[node].parent != node)
		node = graph->nodes[node].parent = graph->nodes[graph->nodes[node].parent].parent;
	return node;
}

static int
make_node(XaLockGraph *graph)
{
	XaLockNode *node;

	if (graph->nnodes == graph->maxnodes)
	{
		graph->maxnodes *= 2;
		graph->nodes = repalloc(graph->nodes, graph->maxnodes * sizeof(XaLockNode));
	}
	node = &graph->nodes[graph->nnodes];
	memset(node, 0, sizeof(XaLockNode));
	node->parent = graph->nnodes;
	return graph->nnodes++;
}

/* An origin and a gid say more to a reader than the other names. */
static void
note_name(XaLockGraph *graph, XaLockNode *node, const char *name)
{
	XaOrigin origin;

	if (name[0] == XA_NAME_LOCAL)
		return;
	if (!node->label || name[0] == XA_NAME_GID)
		node->label = pstrdup(name + 1);
	if (name[0] != XA_NAME_ORIGIN || !braid_xa_origin_parse(name + 1, &origin))
		return;
	if (node->origin.pid == 0 || origin.started < node->origin.started)
		node->origin = origin;
	if (origin.coordinator == graph->coordinator)
		node->ours = origin;
}

static int
node_of_name(XaLockGraph *graph, const char *name)
{
	NameEntry *entry;
	bool found;

	entry = hash_search(graph->names, name, HASH_ENTER, &found);
	if (!found)
	{
		entry->node = make_node(graph);
		note_name(graph, &graph->nodes[entry->node], name);
	}
	return braid_xa_lock_graph_find(graph, entry->node);
}

static int
unite(XaLockGraph *graph, int a, int b)
{
	XaLockNode *into = &graph->nodes[a];
	XaLockNode *from = &graph->nodes[b];

	if (a == b)
		return a;
	from->parent = a;
	if (from->origin.pid != 0 &&
		(into->origin.pid == 0 || from->origin.started < into->origin.started))
		into->origin = from->origin;
	if (from->ours.pid != 0)
		into->ours = from->ours;
	if (from->label && (!into->label || strncmp(from->label, "braid:", 6) == 0))
		into->label = from->label;
	return a;
}

void
braid_xa_lock_graph_same(XaLockGraph *graph, const char *name, const char *other)
{
	MemoryContext old = MemoryContextSwitchTo(graph->context);
	int node = node_of_name(graph, name);

	(void) unite(graph, node, node_of_name(graph, other));
	MemoryContextSwitchTo(old);
}

/* The node with these names, separated by spaces; *first is the first one. */
static int
node_of_names(XaLockGraph *graph, const char *names, char **first)
{
	char *copy = pstrdup(names);
	char *rest = NULL;
	int node = -1;

	*first = copy;
	for (char *name = strtok_r(copy, " ", &rest); name; name = strtok_r(NULL, " ", &rest))
	{
		int n = node_of_name(graph, name);

		node = node < 0 ? n : unite(graph, node, n);
	}
	return node;
}

/* ---------------------------------------------------------------- edges */

/* The same for the same wait, however often it is looked at. */
static void
edge_name(const XaLockEdge *edge, char *name)
{
	snprintf(name, EDGE_NAME_LEN, "%s %s %s", edge->waiter_local, edge->blocker_local, edge->since);
}

static char *
text_or_empty(const char *column)
{
	return pstrdup(column ? column : "");
}

/* Of a prepared branch, the gid says which transaction it is of. */
static void
add_gid(XaLockGraph *graph, const char *local, const char *gid)
{
	char name[BRAID_GID_LEN + 1];
	BraidGid parsed;

	if (!gid || !braid_gid_parse(gid, &parsed))
		return;
	name[0] = XA_NAME_GID;
	braid_gid_format_transaction(&parsed, name + 1);
	braid_xa_lock_graph_same(graph, local, name);
}

void
braid_xa_lock_graph_add(XaLockGraph *graph, Oid serverid, const char *server, char *const *columns)
{
	MemoryContext old = MemoryContextSwitchTo(graph->context);
	XaLockEdge *edge = palloc0(sizeof(XaLockEdge));
	const char *waiter = columns[XA_WAITS_WAITER];
	const char *blocker = columns[XA_WAITS_BLOCKER];
	char name[EDGE_NAME_LEN];

	/* What comes from elsewhere may be anything. */
	if (waiter && blocker && waiter[0] == XA_NAME_LOCAL && blocker[0] == XA_NAME_LOCAL)
	{
		edge->serverid = serverid;
		edge->server = pstrdup(server);
		edge->waiter = node_of_names(graph, waiter, &edge->waiter_local);
		edge->blocker = node_of_names(graph, blocker, &edge->blocker_local);
		edge->waiter_pid = atoi(text_or_empty(columns[XA_WAITS_WAITER_PID]));
		edge->blocker_pid = atoi(text_or_empty(columns[XA_WAITS_BLOCKER_PID]));
		edge->since = text_or_empty(columns[XA_WAITS_SINCE]);
		edge->age_ms = strtoi64(text_or_empty(columns[XA_WAITS_AGE]), NULL, 10);
		edge->lock = text_or_empty(columns[XA_WAITS_LOCK]);
		add_gid(graph, edge->blocker_local, columns[XA_WAITS_BLOCKER_GID]);
		edge_name(edge, name);
		(void) hash_search(graph->edge_names, name, HASH_ENTER, NULL);
		graph->edges = lappend(graph->edges, edge);
	}
	MemoryContextSwitchTo(old);
}

bool
braid_xa_lock_graph_has(XaLockGraph *graph, const XaLockEdge *edge)
{
	char name[EDGE_NAME_LEN];

	edge_name(edge, name);
	return hash_search(graph->edge_names, name, HASH_FIND, NULL) != NULL;
}

void
braid_xa_lock_graph_finish(XaLockGraph *graph)
{
	MemoryContext old = MemoryContextSwitchTo(graph->context);
	ListCell *lc;

	foreach (lc, graph->edges)
	{
		XaLockEdge *edge = lfirst(lc);
		XaLockNode *node;

		edge->waiter = braid_xa_lock_graph_find(graph, edge->waiter);
		edge->blocker = braid_xa_lock_graph_find(graph, edge->blocker);
		node = &graph->nodes[edge->waiter];
		node->edges = lappend(node->edges, edge);
	}
	MemoryContextSwitchTo(old);
}
