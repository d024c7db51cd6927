/*
 * reference.h
 *	  What a view is compared with.
 */
#ifndef BRAID_REFERENCE_H
#define BRAID_REFERENCE_H

#include "view/definition.h"

/* A relation or a query in parentheses, for FROM. */
extern char *braid_reference(ViewDefinition *def);

#endif /* BRAID_REFERENCE_H */
