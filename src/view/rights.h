/*
 * rights.h
 *	  What the owner of a view has to be allowed.
 */
#ifndef BRAID_RIGHTS_H
#define BRAID_RIGHTS_H

#include "view/plan.h"

/* Raises an error unless the current user may run the query. */
extern void braid_rights_check_query(Query *query);

/*
 * Raises an error unless the role may read all that the plan reads.  Puts the
 * conditions under which it sees rows into the plan: see policy.h.
 */
extern void braid_rights_apply(ViewPlan *plan, Oid role);

#endif /* BRAID_RIGHTS_H */
