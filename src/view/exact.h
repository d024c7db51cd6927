/*
 * exact.h
 *	  Floats as exact numbers, whose sums do not depend on their order.
 */
#ifndef BRAID_EXACT_H
#define BRAID_EXACT_H

#include "utils/numeric.h"

/* In the current memory context. */
extern Numeric braid_exact(float8 x);
extern Numeric braid_exact_product(float8 x, float8 y);

/* x * 2 ^ exponent of a natural number, and its sign; the lowest word of x comes first. */
extern Numeric braid_exact_words(bool is_negative, const uint64 *x, int nwords, int exponent);

/*
 * From sums of these.  Errors: 22003 out of the range of floats; or, if it may
 * overflow, an infinity.
 */
extern float8 braid_exact_sum(Numeric sum, bool may_overflow);
extern float8 braid_exact_comoment(int64 n, Numeric x, Numeric y, Numeric xy, bool may_overflow);

#endif /* BRAID_EXACT_H */
