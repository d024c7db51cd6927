/*
 * operators.h
 *	  What each kind of node does.
 *
 * follow: the inputs have been brought to S, and their deltas can be read; brings
 * the node to S and makes its delta, if braid_run_delta_is_read().  populate: the
 * inputs have been brought to S; makes the state from them, whatever it was.
 * Both run statements through run.h.  state_columns: "k1 int4, n int8, ..." for
 * CREATE TABLE; state_index: what follows CREATE: "UNIQUE INDEX %s ON %s (...)",
 * with the names of index and table filled in.
 */
#ifndef BRAID_OPERATORS_H
#define BRAID_OPERATORS_H

#include "parser/parse_node.h"
#include "view/node.h"

/* block.c, union.c: texts for node.c, with the inputs' texts put in */
extern char *braid_block_new(ViewNode *node);
extern char *braid_block_delta(ViewNode *node);
extern char *braid_union_new(ViewNode *node);
extern char *braid_union_delta(ViewNode *node);

/* outer.c, mark.c */
extern char *braid_outer_new(ViewNode *node);
extern char *braid_outer_delta(ViewNode *node);
extern char *braid_mark_new(ViewNode *node);
extern char *braid_mark_delta(ViewNode *node);

/*
 * aggregate.c: adds an aggregate, whose arguments, filter and so on are Vars of
 * varno 1 and varattno = column of i1, and returns the number of the column of
 * the group that is its result, from 1.  Sets accumulators, outputs, columns and
 * strategy.  pstate and location are for refusals.
 */
extern int braid_aggregate_add(ViewNode *group, Aggref *aggregate, ParseState *pstate);

/* Whether it is kept by exact sums of floats. */
extern bool braid_aggregate_is_of_floats(Aggref *aggregate);

/* Adds a key as a column of the group; returns its number. */
extern int braid_aggregate_add_key(ViewNode *group, int key);

/* Adds an expression over the state, if it is not there yet; returns its number. */
extern int braid_aggregate_add_output(ViewNode *group, char *text, NodeColumn column);

/* group.c */
extern void braid_group_follow(ViewNode *node);
extern void braid_group_populate(ViewNode *node);
extern void braid_group_begin(ViewNode *node); /* makes groups that always exist */
extern char *braid_group_new(ViewNode *node);
extern char *braid_group_difference(ViewNode *node); /* as braid_difference_query() */
extern char *braid_group_state_columns(ViewNode *node);
extern char *braid_group_state_index(ViewNode *node, const char *index);

/* session.c */
extern void braid_session_follow(ViewNode *node);
extern void braid_session_populate(ViewNode *node);
extern char *braid_session_new(ViewNode *node);
extern char *braid_session_difference(ViewNode *node); /* as braid_difference_query() */
extern char *braid_session_state_columns(ViewNode *node);
extern char *braid_session_state_index(ViewNode *node, const char *index);

/* Adds the start of the session, or its end, as a column; returns its number. */
extern int braid_session_add_start(ViewNode *node);
extern int braid_session_add_end(ViewNode *node);

/* Adds the latest event time that would belong to the session, by which it is closed. */
extern int braid_session_add_reach(ViewNode *node);

/* Of a session: by which closed ones are found, after CREATE; NULL if none are looked for. */
extern char *braid_session_closing_index(ViewNode *node, const char *index);

/* partition.c */
extern void braid_partition_follow(ViewNode *node);
extern void braid_partition_populate(ViewNode *node);
extern char *braid_partition_new(ViewNode *node);
extern char *braid_partition_state_columns(ViewNode *node);
extern char *braid_partition_state_index(ViewNode *node, const char *index);

/* rows.c */
extern void braid_rows_follow(ViewNode *node);
extern void braid_rows_populate(ViewNode *node);
extern char *braid_rows_new(ViewNode *node);
extern char *braid_rows_state_columns(ViewNode *node);
extern char *braid_rows_state_index(ViewNode *node, const char *index);

/*
 * match.c: conditions that match keys (the first nkeys columns of the first
 * input) with those of an ephemeral relation that has them as k1, ...  All that
 * match are found by two statements, with nulls false and true.
 */
/* "EXISTS (SELECT FROM relation r WHERE alias.<column>1 = r.k1 AND ...)" */
extern char *
braid_match_keys(ViewNode *node, const char *alias, char column, const char *relation, bool nulls);

/* "a.<column>1 = b.k1 AND ..." */
extern char *
braid_match_equal(ViewNode *node, const char *a, char column, const char *b, bool nulls);

/*
 * "a.<column>1 = b.k1 AND a.<column>2 IS NULL AND b.k2 IS NULL": of the rows of b
 * whose keys are null where there is a bit in nulls, from the lowest.
 */
extern char *
braid_match_pattern(ViewNode *node, const char *a, char column, const char *b, int64 nulls);

/* A number that has a bit for each key of alias that is null. */
extern char *braid_match_null_pattern(ViewNode *node, const char *alias);

/* "alias.<column>1 IS NULL OR ..." */
extern char *braid_match_any_null(ViewNode *node, const char *alias, char column);

/* "OPERATOR(schema.name)" */
extern char *braid_match_operator(Oid op);

/* The delta of a stateful node: from the relations before_<n> and after_<n>. */
extern char *braid_state_delta(ViewNode *node);

/* "c1 int4, c2 text" of columns, with a letter; types with typmod and collation. */
extern char *braid_column_definitions(NodeColumn *columns, int ncolumns, char letter);

/* The same of one: "c1 int4". */
extern char *braid_column_definition(NodeColumn *column, char letter, int number);

#endif /* BRAID_OPERATORS_H */
