/*
 * policy.h
 *	  Row-level security of the tables that a view reads.
 */
#ifndef BRAID_POLICY_H
#define BRAID_POLICY_H

#include "view/plan.h"

/*
 * Puts the conditions under which the role sees rows into the plan, and into its
 * fingerprint.  Raises an error if they are not of a kind that can be followed.
 * The conditions live in the current memory context.
 */
extern void braid_policy_apply(ViewPlan *plan, Oid role);

/* A table's condition over the alias d of its delta, under the names of its columns. */
extern char *braid_policy_text(ViewNode *table);

#endif /* BRAID_POLICY_H */
