/*
 * plan.h
 *	  A view's query, taken apart into a graph of nodes.
 */
#ifndef BRAID_PLAN_H
#define BRAID_PLAN_H

#include "nodes/parsenodes.h"
#include "parser/parse_node.h"
#include "view/node.h"
#include "view/options.h"

/* The watermark that a view is to have. */
typedef struct PlanTime
{
	const TimeOptions *options;
	Query *sources; /* SELECT of its expressions, one for each table */
} PlanTime;

typedef struct ViewPlan
{
	List *nodes; /* ViewNode, inputs before their readers */
	ViewNode *top;
	ViewNode *watermark; /* NULL if the view has none */
	List *tables;		 /* oids of captured tables, each once */
	List *views;		 /* ids of the continuous views that it reads, each once */
	List *streams;		 /* those of the tables that are streams */
	List *heeded_tables; /* and those of whose changes something is made, */
	List *heeded_views;	 /* and of the views; see passing.c */
	List *watched;		 /* oids of ordinary views in between */
	bool is_recomputed;	 /* as a whole, on a schedule */
	bool is_ageing;		 /* of a recomputed one: the result can change while its tables do not */
	bool is_limited;	 /* visible has a LIMIT: the top's delta is not that of the view */
	char *visible;		 /* SELECT of what the user sees, from the state tables */
	char *fingerprint;	 /* of the states, and of visible; changes when these do */
} ViewPlan;

/*
 * Takes an analyzed query apart, or raises an error that says what cannot be
 * kept up to date and where it is.  pstate has the source text; it is NULL for
 * a query that was accepted before.  The query is scribbled on.  Names in the
 * texts are right for search_path = pg_catalog, pg_temp, which must be set.
 * id is that of the view; state tables are braid_internal.state_<id>_<number>.
 * time is NULL for a view without a watermark.
 */
extern ViewPlan *braid_plan_make(Query *query, int id, const PlanTime *time, ParseState *pstate);

/*
 * The same for a view that is recomputed as a whole: any query that reads at
 * least one table or view that can be followed, so that it is known when nothing
 * has changed.
 */
extern ViewPlan *braid_plan_recompute(Query *query, int id, ParseState *pstate);

/* The states also depend on what this says. */
extern void braid_plan_add_to_fingerprint(ViewPlan *plan, const char *text);

/* Whether plans with these fingerprints keep the same states, and show the same of them. */
extern bool braid_plan_same_states(const char *a, const char *b);
extern bool braid_plan_same_visible(const char *a, const char *b);

/* Columns of a table that the plan needs. */
extern Bitmapset *braid_plan_columns(ViewPlan *plan, Oid relid);

/* Tells all nodes on the table the name of its delta's weight column. */
extern void braid_plan_set_weight(ViewPlan *plan, Oid relid, const char *weight);

#endif /* BRAID_PLAN_H */
