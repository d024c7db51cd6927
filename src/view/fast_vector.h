/*
 * fast_vector.h
 *	  Simple expressions over integers, a column at a time.
 */
#ifndef BRAID_FAST_VECTOR_H
#define BRAID_FAST_VECTOR_H

#include "view/fast_rows.h"

typedef struct FastVectorResult
{
	const Datum *values;
	const bool *nulls; /* NULL: there are none */
} FastVectorResult;

/* An expression over columns that can be computed for all rows at once; NULL if it cannot. */
extern FastVector *braid_fast_vector(FastRows *rows, Expr *expr);

/* False: some row needs to be looked at by itself. */
extern bool braid_fast_vector_compute(FastVector *v, int nrows, FastVectorResult *result);

#endif /* BRAID_FAST_VECTOR_H */
