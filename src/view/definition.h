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
	Oid view;	/* what the user sees */
	Oid state;	/* table */
	Oid query;	/* ordinary view: what the user has defined */
	Oid source; /* the table it reads; InvalidOid if it cannot be told */
} ViewDefinition;

/* False if the relation is not a continuous view. */
extern bool braid_definition_find(Oid view, ViewDefinition *def);

/* The same, or error 42809. */
extern void braid_definition_get(Oid view, ViewDefinition *def);

/* Looks up the relations of an id; those missing are InvalidOid. */
extern void braid_definition_resolve(ViewDefinition *def);

extern char *braid_definition_state_name(int id);
extern char *braid_definition_query_name(int id);

/* Copy of the query of an ordinary view, from its rule. */
extern Query *braid_definition_query(Oid view);

/* Makes state and query parts of the view, so that none goes without the others. */
extern void braid_definition_bind(const ViewDefinition *def);

/* Oid of braid_internal.views; InvalidOid if the extension is not installed. */
extern Oid braid_definition_catalog(void);

/* search_path = pg_catalog, pg_temp until the returned level is ended by AtEOXact_GUC. */
extern int braid_definition_fix_search_path(void);

#endif /* BRAID_DEFINITION_H */
