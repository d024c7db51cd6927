/*
 * definition.h
 *	  What is stored of a continuous view, and finding it.
 */
#ifndef BRAID_DEFINITION_H
#define BRAID_DEFINITION_H

#include "nodes/parsenodes.h"

typedef struct ViewDefinition
{
	int id;
	Oid view;		   /* what the user sees */
	Oid query;		   /* ordinary view: what the user has defined */
	bool has_schedule; /* set by braid_definition_find(): recomputed as a whole */
} ViewDefinition;

/* False if the relation is not a continuous view. */
extern bool braid_definition_find(Oid view, ViewDefinition *def);

/* The same, or error 42809. */
extern void braid_definition_get(Oid view, ViewDefinition *def);

/* Finds the query of an id; InvalidOid if it is missing. */
extern void braid_definition_resolve(ViewDefinition *def);

/* Name of the state table of a node. */
extern char *braid_definition_state_name(int id, int node);
extern char *braid_definition_query_name(int id);

/* Oids of the state tables of a view, as far as they exist. */
extern List *braid_definition_states(int id);

/* Oid of a relation by its qualified name in braid_internal; InvalidOid if there is none. */
extern Oid braid_definition_part(const char *qualified_name);

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

/* Makes states and query parts of the view, so that none goes without the others. */
extern void braid_definition_bind(const ViewDefinition *def);

/* Oid of braid_internal.views; InvalidOid if the extension is not installed. */
extern Oid braid_definition_catalog(void);

/* search_path = pg_catalog, pg_temp until the returned level is ended by AtEOXact_GUC. */
extern int braid_definition_fix_search_path(void);

#endif /* BRAID_DEFINITION_H */
