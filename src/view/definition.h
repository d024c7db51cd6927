/*
 * definition.h
 *	  What is stored of a continuous view, and finding it.
 */
#ifndef BRAID_DEFINITION_H
#define BRAID_DEFINITION_H

#include "nodes/parsenodes.h"
#include "storage/lockdefs.h"
#include "view/options.h"

typedef struct ViewDefinition
{
	int id;
	Oid view;		   /* what the user sees */
	Oid query;		   /* ordinary view: what the user has defined */
	Oid time;		   /* ordinary view: the expressions of the watermark, if there are any */
	bool has_schedule; /* set by braid_definition_find(): recomputed as a whole */
	bool paused;	   /* the same */
	ContinuousOptions *options; /* the same */
} ViewDefinition;

/* False if the relation is not a continuous view. */
extern bool braid_definition_find(Oid view, ViewDefinition *def);

/*
 * The view that a state or a query is bound to.  False if the relation is none:
 * at the price of one look-up for relations outside of braid_internal.
 */
extern bool braid_definition_find_by_part(Oid part, ViewDefinition *def);

/* Whether an index of a state is one by which that is kept, and not one of a user's; by name. */
extern bool braid_definition_is_own_index(const char *state, const char *index);

/* The table of an index by which a state is kept; InvalidOid for other indexes. */
extern Oid braid_definition_table_of_key(Oid index);

/* As braid_definition_find(), or error 42809. */
extern void braid_definition_get(Oid view, ViewDefinition *def);

/*
 * What is being made to take the place of the view with this id.  False if
 * nothing is.
 */
extern bool braid_definition_find_replacement(int id, ViewDefinition *def);

/* Finds query and watermark of an id; InvalidOid if they are missing. */
extern void braid_definition_resolve(ViewDefinition *def);

/*
 * Locks what the user sees.  False if it has been dropped: who looks at a view
 * without a lock can find out only when he has one.
 */
extern bool braid_definition_lock(const ViewDefinition *def, LOCKMODE mode);

/* Name of the state table of a node. */
extern char *braid_definition_state_name(int id, int node);
extern char *braid_definition_query_name(int id);
extern char *braid_definition_time_name(int id);

/* Oids of the state tables of a view, as far as they exist. */
extern List *braid_definition_states(int id);

/* Oid of a relation by its qualified name in braid_internal; InvalidOid if there is none. */
extern Oid braid_definition_part(const char *qualified_name);

/* Number of columns of a relation, and its owner; 42P01 if it is dropped meanwhile. */
extern int braid_definition_natts(Oid relid);
extern Oid braid_definition_owner(Oid relid);

/* Copy of the query of an ordinary view, from its rule. */
extern Query *braid_definition_query(Oid view);

/* What a view stands on, also by way of other views; each once. */
typedef struct ViewInputs
{
	List *tables;	  /* oids */
	List *continuous; /* ids of continuous views, its own not included */
	List *views;	  /* oids of all views that were looked into */
} ViewInputs;

/* Takes no locks. */
extern void braid_definition_inputs(const ViewDefinition *def, ViewInputs *inputs);

/* Whether the view reads its states: a restore puts what it shows into its place late. */
extern bool braid_definition_is_shown(const ViewDefinition *def);

/*
 * Makes states and query parts of the view, so that none goes without the others.
 * False if some are just being dropped.
 */
extern bool braid_definition_bind(const ViewDefinition *def);

/* The contrary, for all that is part of the view. */
extern void braid_definition_unbind(const ViewDefinition *def);

/* The same for one part, and the contrary. */
extern bool braid_definition_bind_part(Oid part, Oid view);
extern void braid_definition_unbind_part(Oid part, Oid view);

/* Oid of braid_internal.views; InvalidOid if the extension is not installed. */
extern Oid braid_definition_catalog(void);

#endif /* BRAID_DEFINITION_H */
