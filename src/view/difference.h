/*
 * difference.h
 *	  The query that finds how a view differs from what it should be.
 */
#ifndef BRAID_DIFFERENCE_H
#define BRAID_DIFFERENCE_H

#include "view/definition.h"

/* SELECT of whether it is missing (or surplus), and the row as jsonb. */
extern char *braid_difference_query(ViewDefinition *def);

#endif /* BRAID_DIFFERENCE_H */
