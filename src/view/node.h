/*
 * node.h
 *	  A view's query as a graph of operators that follow their inputs' deltas.
 *
 * Every node has columns c1, c2, ..., and three SQL texts, each of which may
 * stand in FROM:
 *
 *		new		its rows under S, once its inputs were brought to S:  c1, c2, ...
 *		delta	what the cycle changed:								 w, c1, c2, ...
 *		old		its rows before the cycle, new less delta:			 w, c1, c2, ...
 *
 * w is a weight of +1 or -1: how often the row is to be counted.  Rows of old
 * and delta may cancel each other out.
 *
 * Stateful nodes keep their rows in a table.  In the texts of a node's own
 * statements its inputs are i1 and i2, their columns i1.c1 and so on.
 */
#ifndef BRAID_NODE_H
#define BRAID_NODE_H

#include "nodes/bitmapset.h"
#include "nodes/pg_list.h"
#include "nodes/primnodes.h"
#include "view/kind.h"

typedef struct NodeColumn
{
	Oid type;
	int32 typmod;
	Oid collation;
	const struct ColumnWindow *window; /* what tells the end of its window; NULL if it is none */
	const char *name;				   /* to users; NULL: it has none; "": not for them */
	uint64 image;					   /* of one over tables: what it is, see carry.c; else 0 */
} NodeColumn;

typedef struct ViewNode
{
	NodeKind kind;
	int number;	  /* from 1, unique in the view; inputs before their readers */
	List *inputs; /* ViewNode; one may be there twice */
	int ncolumns;
	NodeColumn *columns;
	Strategy strategy;

	/*
	 * A BLOCK or UNION whose delta is read once is part of its reader's
	 * statements; the delta of any other that is not a TABLE or VIEW is an
	 * ephemeral relation of the cycle.
	 */
	bool inlined;
	int nreaders;
	bool changed;		/* in this cycle: there is a delta, which may be empty */
	bool is_joined;		/* its delta is joined with other rows */
	bool is_netted;		/* in this cycle: the delta's rows have been added up */
	uint64 rows_hash;	/* the same for nodes with the same rows, in any plan */
	uint64 state_hash;	/* the same for nodes that keep the same state */
	bool is_single;		/* always has exactly one row */
	bool tells_deletes; /* TABLE, BLOCK: weights tell deletions, for a group above */
	bool are_told;		/* TABLE: weights of the table's delta do, for some view */
	bool is_stream;		/* TABLE: its rows are kept nowhere */
	bool is_passing;	/* has rows only in the cycle that brings them: see passing.c */
	bool is_streamed;	/* is changed by streams alone */

	/* TABLE, VIEW */
	Oid relid;
	int view_id;		 /* VIEW */
	AttrNumber *attnums; /* of c1, c2, ... */
	const char *weight;	 /* TABLE: name of the weight's column; NULL while unknown */
	Node *policy;		 /* TABLE: which rows of the delta may be seen; NULL: all */
	Bitmapset *policy_columns;

	/*
	 * BLOCK, PARTITION: a SELECT, not in parentheses, whose inputs are written
	 * as the tokens of braid_node_token(1), ... with the aliases i1, ...
	 * A BLOCK's begins with "SELECT $1 AS w, "; a PARTITION's with
	 * "SELECT i1.c1 AS k1, ... i1.c<nkeys> AS k<nkeys>, ".  QUERY: one of the
	 * stored query.
	 */
	char *select;
	char *definition; /* QUERY: what tells the query that select reads from others */

	/* OUTER, MARK: a condition over i1 and i2.  OUTER: all columns of i1, then of i2. */
	char *condition;
	bool is_full;
	MarkMode mark;
	char lookup[2]; /* of i1, i2: see lookup.c */

	/*
	 * GROUP, SESSION, PARTITION: the keys are the first columns of the input.  A
	 * SESSION's next one is the event time.
	 */
	int nkeys;
	char *state; /* stateful: qualified name of the table */

	/*
	 * GROUP, SESSION: state columns k1..., n (rows of the group), a1..., and of a
	 * SESSION first and last; its columns are outputs, expressions over these names.
	 */
	List *accumulators;	   /* Accumulator, see accumulator.h */
	List *outputs;		   /* char * */
	char *permanent_key;   /* "true", or "1, NULL": a group that always exists; or NULL */
	char *gap;			   /* SESSION: SQL of a constant */
	char path;			   /* GROUP: how the last delta was grouped, see fast.h; or 0 */
	struct FastNode *fast; /* GROUP: what fast.c knows of it */

	struct EventTime *time; /* GROUP by a window, DIVERT, CLOSE, WATERMARK; or NULL */
} ViewNode;

/* The name of the nth input in a text of ViewNode.select, from 1. */
extern char *braid_node_token(int nth);

/* The three texts; in parentheses, or a name. */
extern char *braid_node_new(ViewNode *node);
extern char *braid_node_delta(ViewNode *node);
extern char *braid_node_old(ViewNode *node);

extern bool braid_node_is_stateful(ViewNode *node);

/* The input of a node that has one. */
static inline ViewNode *
braid_node_input(ViewNode *node)
{
	return linitial(node->inputs);
}

/* A GROUP without GROUP BY: there is one group, which always exists, and its key is a constant. */
static inline bool
braid_node_is_one_group(ViewNode *node)
{
	return node->permanent_key && strcmp(node->permanent_key, "true") == 0;
}

#endif /* BRAID_NODE_H */
