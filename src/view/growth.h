/*
 * growth.h
 *	  Plans that were made when tables had other sizes.
 */
#ifndef BRAID_GROWTH_H
#define BRAID_GROWTH_H

#include "view/keeper.h"

/*
 * Whether the view's plans should be made anew, because something that its
 * statements read is several times as large as it was, or a fraction of it; or
 * because there are very many.  The tables are locked.
 */
extern bool braid_growth_makes_plans_old(KeptView *view);

#endif /* BRAID_GROWTH_H */
