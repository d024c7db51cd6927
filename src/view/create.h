/*
 * create.h
 *	  Making, dropping and rebuilding continuous views.
 */
#ifndef BRAID_CREATE_H
#define BRAID_CREATE_H

#include "nodes/parsenodes.h"
#include "nodes/primnodes.h"
#include "parser/parse_node.h"
#include "view/definition.h"
#include "view/options.h"

/*
 * Makes a view of an analyzed query, which is scribbled on.  Names of columns
 * may be given.  Returns InvalidOid if it exists and that is no error.
 */
extern Oid braid_create(RangeVar *name, List *column_names, Query *query,
						const ContinuousOptions *options, bool if_not_exists, ParseState *pstate);

/* Asks for the view to be populated anew; its owner may. */
extern void braid_create_again(Oid view);

/* Gives the parts of the view the owner that the view has. */
extern void braid_create_follow_owner(Oid view);

/* The same for the new name of a column. */
extern void braid_create_follow_column(Oid view, const char *name);

/* Puts the states of the view into a tablespace; its owner may, as for tables. */
extern void braid_create_move(Oid view, const char *tablespace);

/* For alter.c, within SPI: steps of making a view. */
extern int braid_create_next_id(void);
extern void braid_create_claim_tables(List *tables);

/* The query as an ordinary view, owned by the current user. */
extern void braid_create_query(int id, const char *query_text);

/* The fingerprint of the plan that the view has now; the current user is its owner. */
extern char *braid_create_fingerprint(const ViewDefinition *def);

#endif /* BRAID_CREATE_H */
