/*
 * keeper.h
 *	  The worker's side of continuous views: the consumer of capture.
 */
#ifndef BRAID_KEEPER_H
#define BRAID_KEEPER_H

#include "capture/capture.h"
#include "executor/spi.h"
#include "view/definition.h"
#include "view/statements.h"

#define SIZE_CLASSES 3 /* of deltas: small, medium, large */

typedef enum ViewState
{
	VIEW_POPULATING, /* new: -> LIVE, BROKEN */
	VIEW_LIVE,		 /* -> REBUILDING, BROKEN */
	VIEW_REBUILDING, /* the slot was lost or REFRESH: -> LIVE, BROKEN */
	VIEW_BROKEN		 /* an expression failed: -> REBUILDING, by REFRESH */
} ViewState;

/* Plans of one of the merge statements, made when first used. */
typedef struct StatementPlans
{
	SPIPlanPtr plans[SIZE_CLASSES];
} StatementPlans;

typedef struct KeptView
{
	ViewDefinition def;
	Oid owner;
	ViewState state;
	int rebuilds; /* requests that the next populate answers */
	int nsettings;
	char **settings;	  /* name and value in turn */
	char *problem;		  /* why it cannot be kept, found when loading */
	MergeStatements *sql; /* NULL while broken or postponed */
	struct
	{
		StatementPlans groups;
		StatementPlans inserted_groups;
		StatementPlans redo;
		StatementPlans merge;
		StatementPlans purge[2];
		StatementPlans remove[2];
		StatementPlans recompute[2];
	} plans;
} KeptView;

/* The view with this id, NULL if there is none. */
extern KeptView *braid_keeper_find(int id);

/*
 * Calls a function as the view's owner, restricted, under the view's settings,
 * in a subtransaction.  Returns NULL, or the message of an error that the
 * view's expressions or privileges have raised; other errors are thrown.
 */
typedef void (*KeeperAction)(KeptView *view, void *arg);
extern char *braid_keeper_try(KeptView *view, KeeperAction action, void *arg);

extern void braid_keeper_init(void);

#endif /* BRAID_KEEPER_H */
