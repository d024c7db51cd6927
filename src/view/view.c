/*
 * view.c
 *	  Continuous views: puts the parts of the module into their places.
 */
#include "postgres.h"

#include "view/explain.h"
#include "view/fast.h"
#include "view/feed.h"
#include "view/follow.h"
#include "view/guard.h"
#include "view/keeper.h"
#include "view/options.h"
#include "view/populate.h"
#include "view/statement.h"
#include "view/statistics.h"
#include "view/verify.h"
#include "view/view.h"

void
braid_view_init(void)
{
	braid_statement_init();
	braid_guard_init();
	braid_keeper_init();
	braid_options_init();
	braid_populate_init();
	braid_verify_init();
	braid_explain_init();
	braid_follow_init();
	braid_fast_init();
	braid_feed_init();
	braid_view_stat_init();
}
