/*
 * text.h
 *	  Pieces of the SQL of nodes.
 *
 * Lists of columns begin with a comma each, to stand behind something else.
 */
#ifndef BRAID_TEXT_H
#define BRAID_TEXT_H

#include "lib/stringinfo.h"
#include "view/node.h"

/*
 * Names of the ephemeral relations that hold deltas: of a table, of a view
 * (columns w, c<attnum>), of a node; and the last with rows added up.
 */
extern char *braid_node_table_delta_name(Oid relid);
extern char *braid_node_view_delta_name(int view_id);
extern char *braid_node_delta_name(ViewNode *node);
extern char *braid_node_net_name(ViewNode *node);

/* ", alias.c1, alias.c2, ...". */
extern char *braid_text_columns(const char *alias, int ncolumns);

/* ", c1, c2, ..." */
extern char *braid_text_names(int ncolumns);

/* ", alias.k1, alias.k2, ...": of keys. */
extern char *braid_text_keys(const char *alias, int nkeys);

/* ", k1, k2, ..." and ", i1.c1 AS k1, i1.c2 AS k2, ...". */
extern char *braid_text_key_names(int nkeys);
extern char *braid_text_key_targets(int nkeys);

/* "SELECT ... AS c1, ... AS c2 FROM from s": of groups or sessions, whatever has their columns. */
extern char *braid_text_outputs(ViewNode *node, const char *from);

/* Of some columns only: ", alias.c2, alias.c5". */
extern char *braid_text_some_columns(const char *alias, Bitmapset *columns);

/* The numbers of all columns. */
extern Bitmapset *braid_text_all_columns(ViewNode *node);

/* ", alias.c1 AS c<first>, alias.c2 AS c<first + 1>, ...". */
extern char *braid_text_renamed_columns(const char *alias, int ncolumns, int first);

/* ", NULL::type AS c<first>, ..." of the types of these columns. */
extern char *braid_text_nulls(ViewNode *node, int first);

/* A list without its first comma; it may be empty. */
extern const char *braid_text_list(const char *columns);

/* A text of values that is the same if they are the same. */
extern char *braid_text_image(const char *alias, Bitmapset *columns);

/* Numbers of the columns of alias that stand in a condition. */
extern Bitmapset *braid_text_columns_in(const char *condition, const char *alias);

/*
 * A node's select with the inputs' texts in place of the tokens.  weight is put
 * in place of $1; if it is NULL there is no column w.
 */
extern char *braid_text_fill(ViewNode *node, char **inputs, const char *weight);

/*
 * For statements that read the deltas of a node's inputs more than once: what
 * stands before their SELECT, "WITH ... " or nothing, and under it the texts of
 * an input.
 */
extern char *braid_text_with_deltas(ViewNode *node);
extern char *braid_text_shared_delta(ViewNode *input);
extern char *braid_text_shared_old(ViewNode *input);

/*
 * SELECT of some columns of a FROM item, a delta, with weights added up for rows
 * that are the same in all of them: n, not zero, and the columns.
 */
extern char *braid_text_net(ViewNode *node, Bitmapset *columns, const char *delta);

/* Whether values that are equal are the same, so that GROUP BY loses nothing. */
extern bool braid_text_is_exact(NodeColumn *column);

extern uint64 braid_text_hash(const char *text);

#endif /* BRAID_TEXT_H */
