/*
 * difference.h
 *	  The query that finds how a view differs from what it should be.
 */
#ifndef BRAID_DIFFERENCE_H
#define BRAID_DIFFERENCE_H

#include "view/definition.h"
#include "view/plan.h"

/*
 * SELECT of whether it is missing (or surplus), and the row as jsonb; of about
 * this share (0 to 1) of the rows only, which the seed chooses.
 */
extern char *braid_difference_query(ViewDefinition *def, ViewPlan *plan, double sample, int64 seed);

#endif /* BRAID_DIFFERENCE_H */
