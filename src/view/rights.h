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
 * Raises an error unless the role may read all that the plan reads, and sees all
 * of its rows.
 */
extern void braid_rights_check_plan(ViewPlan *plan, Oid role);

#endif /* BRAID_RIGHTS_H */
