/*
 * draft.h
 *	  A part of a query on its way to becoming a node.
 *
 * A draft is a SELECT under construction: inputs, conditions, and for each
 * expression of the query that it provides, what that is in terms of its inputs.
 * Closing it makes a BLOCK.  Until then another draft can absorb it, so that
 * subqueries without aggregates become part of their surroundings.
 */
#ifndef BRAID_DRAFT_H
#define BRAID_DRAFT_H

#include "view/plan.h"

/* Taking apart one view's query. */
typedef struct Planner
{
	ViewPlan *plan;
	int id;
	ParseState *pstate;	  /* NULL for a query that was accepted before */
	List *levels;		  /* Query, innermost first: for references to WITH queries */
	List *ctes;			  /* CteNode */
	const PlanTime *time; /* NULL: the view has no watermark */
	bool has_window;	  /* some group is by a window */
	List *sessions;		  /* SessionWindow */
} Planner;

/* An expression of the query, and what it is over the draft's inputs. */
typedef struct DraftEntry
{
	Node *original;
	Node *mapped;
} DraftEntry;

typedef struct Draft
{
	Planner *planner;
	List *rtable;  /* RangeTblEntry: inputs, and what depends on their rows alone */
	List *nodes;   /* ViewNode of each, or NULL */
	List *from;	   /* Node of the join tree over rtable */
	List *quals;   /* over rtable */
	List *pending; /* conditions of the query that contain subqueries */
	List *entries; /* DraftEntry */
} Draft;

extern Draft *braid_draft_new(Planner *planner);

/* Adds a node as an input; returns its index in rtable. */
extern int braid_draft_add_node(Draft *draft, ViewNode *node);

/* Adds something that depends on the inputs' rows alone, already mapped. */
extern int braid_draft_add_constant(Draft *draft, RangeTblEntry *rte);

/* A column of an input. */
extern Var *braid_draft_column(Draft *draft, int index, int column);

extern void braid_draft_provide(Draft *draft, Node *original, Node *mapped);

/* The same in place of what was provided for it. */
extern void braid_draft_override(Draft *draft, Node *original, Node *mapped);

/* Whether exactly this expression is provided. */
extern bool braid_draft_has(Draft *draft, Node *original);

/* Whether the draft provides all columns of its query that are in the expression. */
extern bool braid_draft_provides(Draft *draft, Node *expression);

/* The expression over the draft's inputs; an error if it needs what is not there. */
extern Node *braid_draft_map(Draft *draft, Node *expression);

/* Takes over inputs and conditions of another, whose mapped expressions are adapted. */
extern void braid_draft_absorb(Draft *draft, Draft *other, List *mapped);

/* Makes a node whose columns are these mapped expressions. */
extern ViewNode *braid_draft_close(Draft *draft, List *mapped);

/* Closes with all that the draft provides; a new draft over that provides the same. */
extern Draft *braid_draft_settle(Draft *draft);

/*
 * SQL of the draft, with tokens for inputs.  sort and limit are taken from the
 * query if it is not NULL; its sort clause refers to the targets.
 */
extern char *braid_draft_text(Draft *draft, List *targets, Query *like);

/* The same with the inputs' rows under S. */
extern char *braid_draft_visible(Draft *draft, List *targets, Query *like);

/* SQL of conditions over two nodes, whose columns are Vars of varno 1 and 2. */
extern char *braid_draft_condition(ViewNode *one, ViewNode *two, List *quals);

/* A new node, numbered and added to the plan. */
extern ViewNode *braid_draft_node(Planner *planner, NodeKind kind, List *inputs, int ncolumns);
extern void braid_draft_set_column(ViewNode *node, int column, Node *expression);

/* The name of the node's state table. */
extern void braid_draft_give_state(Planner *planner, ViewNode *node);

#endif /* BRAID_DRAFT_H */
