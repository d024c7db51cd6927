/*
 * statements.h
 *	  The SQL that makes a view and that keeps it up to date.
 *
 * Names in all of it are qualified for search_path = pg_catalog, pg_temp, which
 * must be set while it is generated and while it runs.
 */
#ifndef BRAID_STATEMENTS_H
#define BRAID_STATEMENTS_H

#include "view/query.h"

/* Ephemeral relations that the statements read. */
#define DELTA_NAME "delta"
#define GROUPS_NAME "groups"
#define REDO_NAME "redo"

/* All run in this order for a delta; NULL is not needed for the view. */
typedef struct MergeStatements
{
	char *groups;		   /* from delta: what changes, by key */
	char *inserted_groups; /* the same, if nothing went */
	char *redo;			   /* from groups, if it retracts: keys to recompute */
	char *merge;		   /* groups into the state */
	char *purge[2];		   /* if it retracts: groups without rows */
	char *remove[2];	   /* state of the keys in redo */
	char *recompute[2];	   /* and again from the table */

	char *clear;	/* instead of all these: all of the state, */
	char *populate; /* and again from the table */
} MergeStatements;

/* SELECT that makes all of the state from the table. */
extern char *braid_statement_state(ViewQuery *vq);

/* Column names of the key in the state table: "k1, k2". */
extern char *braid_statement_key_columns(ViewQuery *vq);

/* SELECT of what the user sees, from the state table. */
extern char *braid_statement_visible(ViewQuery *vq, const char *state, ParseState *pstate);

/* weight: name of the weight's column in the delta. */
extern MergeStatements *braid_statement_merge(ViewQuery *vq, const char *state, const char *weight);

#endif /* BRAID_STATEMENTS_H */
