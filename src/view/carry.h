/*
 * carry.h
 *	  Closed groups go over to the states of a new plan.
 */
#ifndef BRAID_CARRY_H
#define BRAID_CARRY_H

#include "view/draft.h"

/* A hash of an expression over a draft's inputs, whatever their columns' numbers; 0: unknown. */
extern uint64 braid_carry_image(Draft *draft, Node *expression);

/*
 * Copies the watermark, and the groups that it has closed, from the states of one
 * plan to those of another that are new; within SPI, as the owner of both.
 * Returns the watermark as text, in the current memory context, if there are groups
 * whose new columns stay null; else NULL.
 */
extern char *braid_carry_over(ViewPlan *from, ViewPlan *to);

#endif /* BRAID_CARRY_H */
