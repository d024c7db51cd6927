/*
 * take.h
 *	  Taking a query apart: the steps, one file for each.
 */
#ifndef BRAID_TAKE_H
#define BRAID_TAKE_H

#include "view/draft.h"

/*
 * A query as a draft and what it selects, over the draft's inputs.  keys, if not
 * NIL, are columns (resno of the target list) within whose equal values a LIMIT
 * counts.  The query is scribbled on.
 */
extern Draft *braid_take_query(Planner *planner, Query *query, List *limit_keys, List **targets);

/* The same as a node whose columns are what it selects. */
extern ViewNode *braid_take_node(Planner *planner, Query *query, List *limit_keys);

/* from.c: puts what is in FROM into the draft; conditions with subqueries are left pending. */
extern void braid_take_from(Draft *draft, Query *query);

/*
 * A LEFT JOIN of a draft over one node, whose columns are what it provides, with
 * a node; right_originals are what its columns stand for.
 */
extern Draft *
braid_take_left_join(Draft *left, ViewNode *right, List *right_originals, List *quals);

/* The same of one relation; vars are the columns of it that are used, in order. */
extern void braid_take_relation(Draft *draft, RangeTblEntry *rte, List *vars);

/* Whether a query or expression reads a table, a view or a WITH query. */
extern bool braid_take_reads_table(Node *node);

/* sublink.c: conditions of WHERE or HAVING; returns the draft to go on with. */
extern Draft *braid_take_conditions(Draft *draft, List *quals);

/* Provides all subqueries that stand in an expression and read tables. */
extern Draft *braid_take_sublinks(Draft *draft, Node *expression);

/* The same but for single values; returns whether there are such. */
extern bool braid_take_tied_sublinks(Draft **draft, Node *expression);

/* A condition as a list of conditions that must all hold. */
extern List *braid_take_split(Node *qual);

/*
 * decorrelate.c: changes a subquery so that it no longer refers to the query
 * around it, and returns the conditions between the two.  In these the columns of
 * the subquery have the number varno.  The columns added are junk-free targets
 * after the original ones; keys are their resnos, if the subquery computes
 * something for each of them.
 */
extern List *braid_take_decorrelate(Planner *planner, Query *sub, int varno, List **keys);

/*
 * For a subquery that always has a row: what a column is when it reads none, or
 * NULL if that is null; and the choice between that and the value, by a key.
 */
extern Node *braid_take_empty_value(Query *query, int resno);
extern Node *braid_take_or_empty(Node *key, Node *value, Node *empty);

/* Whether the node refers to the query level around it. */
extern bool braid_take_is_correlated(Node *node);

/* The subquery always has a row, even if it reads none: aggregates without GROUP BY. */
extern bool braid_take_always_has_row(Query *query);

/* grouping.c: GROUP BY and aggregates; DISTINCT. */
extern bool braid_take_is_grouped(Query *query);
extern Draft *braid_take_groups(Draft *draft, Query *query);
extern ViewNode *braid_take_distinct(Planner *planner, ViewNode *input);
extern void braid_take_check_key(Planner *planner, Node *key);

/* A group node over an input whose first columns are the keys. */
extern ViewNode *braid_take_group_node(Planner *planner, ViewNode *input, int nkeys);

/*
 * distinct.c: what a group with these aggregates is to read so that DISTINCT in
 * them, where it was in the way, is not needed; they are changed for that.
 */
extern ViewNode *
braid_take_distinct_arguments(Planner *planner, ViewNode *rows, int nkeys, List **aggregates);

/* windows.c: window functions, DISTINCT ON, and LIMIT for each key. */
extern Draft *braid_take_windows(Draft *draft, Query *query);
extern Draft *braid_take_distinct_on(Draft *draft, Query *query);
extern Draft *braid_take_limit(Draft *draft, Query *query, List *limit_keys);

/* setop.c: UNION, INTERSECT, EXCEPT. */
extern Draft *braid_take_set_operation(Planner *planner, Query *query);

#endif /* BRAID_TAKE_H */
