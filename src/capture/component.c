/*
 * component.c
 *	  Tables that take part in a cycle all or none.
 *
 * NOTES
 *	  Tables that are read together by some view are tied (source.c): they and
 *	  their views are a component.  Components have nothing to do with each other,
 *	  so a cycle may leave one out.  It does so for two reasons:
 *
 *	  - One of its tables, or something of its views, cannot be locked just now.
 *	  - It is slow, and rests.  The views of a cycle are shown by one commit, so
 *		that what comes to a fast one while a slow one is merged waits until that
 *		has been merged once more:
 *
 *			slow  |----------|----------|----------|
 *			fast  |-         |-         |-         |
 *			        ^ comes             ^ is shown
 *
 *		So who was slow leaves the next cycle to the others, as if its tables could
 *		not be locked:
 *
 *			slow  |----------| |----------| |----------|
 *			fast  |-         |-|-         |-|-         |
 *			        ^ comes    ^ is shown
 *
 *		That is short, and so it costs little and has no more to do when it goes on.
 *		A longer rest would: where time goes with the number of rows, all wait
 *		longer for it then than they have won.  Nobody rests who is alone, or for
 *		whom somebody waits.
 *
 *	  What is known of a component is kept in its representative.
 */
#include "postgres.h"

#include "capture/component.h"
#include "storage/lmgr.h"

#define SLOW_MS 20	 /* less is no reason to rest */
#define BUSY_MS 5000 /* since its last news a component counts as one that is followed */

/* Somebody else has news now and then, who would have to wait. */
static bool
others_are_busy(BraidSource *component, TimestampTz now)
{
	ListCell *lc;

	foreach (lc, braid_source_list())
	{
		BraidSource *s = lfirst(lc);

		if (s->tie == NULL && s != component && !TimestampDifferenceExceeds(s->news, now, BUSY_MS))
			return true;
	}
	return false;
}

/*
 * A leaf partition can be truncated on its own, without a lock on the root
 * that would conflict: so each is locked.
 */
static bool
lock_source(BraidSource *source, bool (*lock)(BraidSource *source))
{
	ListCell *lc;

	if (!ConditionalLockRelationOid(source->relid, AccessShareLock))
		return false;
	foreach (lc, source->members)
		if (!ConditionalLockRelationOid(lfirst_oid(lc), AccessShareLock))
			return false;
	return lock(source);
}

static bool
any_is_to_rest(void)
{
	ListCell *lc;

	foreach (lc, braid_source_list())
		if (((BraidSource *) lfirst(lc))->rests)
			return true;
	return false;
}

/*
 * Who waits for a table that has rested may have asked while it had its turn: so
 * that counts for the next time when it would rest, and not for the next cycle.
 */
static void
begin_cycle(bool (*is_waited_for)(void))
{
	bool may_rest = !any_is_to_rest() || !is_waited_for();
	ListCell *lc;

	foreach (lc, braid_source_list())
	{
		BraidSource *source = lfirst(lc);

		source->rests &= may_rest;
		source->locked = true;
		source->cost = 0;
	}
}

List *
braid_component_lock(bool (*lock)(BraidSource *source), bool (*is_waited_for)(void), int *nresting)
{
	List *locked_out = NIL;
	List *resting = NIL;
	ListCell *lc;

	begin_cycle(is_waited_for);
	foreach (lc, braid_source_list())
	{
		BraidSource *source = lfirst(lc);
		BraidSource *component = braid_source_representative(source);

		if (component->locked && !component->rests)
			component->locked = lock_source(source, lock);
	}
	foreach (lc, braid_source_list())
	{
		BraidSource *source = lfirst(lc);
		BraidSource *component = braid_source_representative(source);

		source->locked = component->locked && !component->rests;
		if (component->rests)
			resting = lappend_oid(resting, source->relid);
		else if (!source->locked)
			locked_out = lappend_oid(locked_out, source->relid);
	}
	*nresting = list_length(resting);
	return list_concat(locked_out, resting);
}

void
braid_component_note_news(BraidSource *source)
{
	braid_source_representative(source)->news = GetCurrentTimestamp();
}

void
braid_capture_charge(Oid relid, int64 microseconds)
{
	BraidSource *source = braid_source_find(relid);

	if (source)
		braid_source_representative(source)->cost += microseconds;
}

void
braid_component_end_cycle(void)
{
	TimestampTz now = GetCurrentTimestamp();
	ListCell *lc;

	foreach (lc, braid_source_list())
	{
		BraidSource *s = lfirst(lc);

		s->rests = !s->rests && s->cost > SLOW_MS * 1000 && others_are_busy(s, now);
	}
}
