/*
 * gap.c
 *	  Rows of streams that a view may have missed.
 *
 * NOTES
 *	  A view on tables is made anew if it does not know what it has missed.  One on
 *	  streams cannot be, and goes on with what it has.  That must not be silent:
 *	  each time is counted in braid_internal.view_states, by the commit that lets
 *	  the view go on, and so not twice.
 *
 *		slot lost, fail-over		the stream has no frontier in the cycle
 *		restored from a dump		so it is, and there is no stored state, but rows
 *		broken, paused				the stored state says so when REFRESH or resume() ends it
 *		another plan				the fingerprint: rows were computed by the old one
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "view/gap.h"
#include "view/passing.h"

/* Once for each time that the view is being rebuilt. */
void
braid_gap_note(const KeptView *v, const char *reason)
{
	if (!braid_passing_is_read(&v->def))
		return;
	SPI_execute(psprintf("UPDATE braid_internal.view_states SET gaps = gaps + 1, "
						 "last_gap = clock_timestamp(), gap_reason = %s WHERE id = %d AND "
						 "(state <> 'rebuilding' OR last_gap IS NULL OR last_gap < since)",
						 quote_literal_cstr(reason), v->def.id),
				false, 0);
	if (SPI_processed > 0)
		ereport(WARNING,
				(errmsg("continuous view \"%s\" goes on, and may lack rows of streams: %s",
						get_rel_name(v->def.view), reason),
				 errhint("See the columns gaps, last_gap and gap_reason of braid.views.")));
}

void
braid_gap_look(const KeptView *v)
{
	ListCell *lc;

	foreach (lc, v->plan->streams)
		if (!braid_capture_source(lfirst_oid(lc))->has_frontier)
			braid_gap_note(v, "the replication slot was lost");
}
