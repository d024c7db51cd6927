/*
 * state.h
 *	  The tables in which a view's stateful nodes keep their rows.
 */
#ifndef BRAID_STATE_H
#define BRAID_STATE_H

#include "view/plan.h"

/* Makes them as superuser, within SPI, and gives them to the current user. */
extern void braid_state_make(ViewPlan *plan);
extern void braid_state_make_one(ViewNode *node);

/* Whether there are tables with the columns that the plan wants. */
extern bool braid_state_fits(ViewPlan *plan);

/* Whether all of the tables have an index, which a restore makes last. */
extern bool braid_state_are_indexed(List *tables);

#endif /* BRAID_STATE_H */
