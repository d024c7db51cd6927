/*
 * roster.c
 *	  The continuous views of the database, as this backend knows them.
 *
 * NOTES
 *	  Every statement of every session asks whether it reads a view, so the answer
 *	  must cost no more than a look into a hash table for each relation, and nothing
 *	  where there are no views.  The table is filled from the catalogs when it is
 *	  first asked for, and again after an invalidation of one of them, or of a view
 *	  that was looked into.  Without the extension any invalidation of a relation
 *	  makes us look whether it is there now, which costs one look-up.
 */
#include "postgres.h"

#include "read/roster.h"
#include "read/statement.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"

static HTAB *entries = NULL;
static MemoryContext context = NULL; /* of all that follows */
static List *views = NIL;			 /* RosterView */
static List *looked_into = NIL;		 /* oids of relations whose change matters */
static bool any_not_live = false;

static bool up_to_date = false;
static bool invalidated = false;	 /* since it was begun to fill the table */
static Oid definitions = InvalidOid; /* the catalogs */
static Oid states = InvalidOid;

static void
note_invalidation(Datum arg, Oid relid)
{
	if (!OidIsValid(relid) || !OidIsValid(definitions) || relid == definitions || relid == states ||
		list_member_oid(looked_into, relid))
	{
		up_to_date = false;
		invalidated = true;
	}
}

static void
set_up(void)
{
	HASHCTL ctl = {.keysize = sizeof(Oid), .entrysize = sizeof(RosterView)};

	if (entries != NULL)
		return;
	context = AllocSetContextCreate(TopMemoryContext, "braid views", ALLOCSET_SMALL_SIZES);
	entries = hash_create("braid views", 16, &ctl, HASH_ELEM | HASH_BLOBS);
	CacheRegisterRelcacheCallback(note_invalidation, (Datum) 0);
}

static void
forget_all(void)
{
	HASH_SEQ_STATUS scan;
	RosterView *v;

	hash_seq_init(&scan, entries);
	while ((v = hash_seq_search(&scan)) != NULL)
	{
		v->is_there = false;
		v->was_looked_into = false;
		v->tables = v->ids = NIL;
	}
	views = looked_into = NIL;
	any_not_live = false;
	MemoryContextReset(context);
}

static void
enter(ViewStanding *standing)
{
	bool found;
	RosterView *v = hash_search(entries, &standing->view, HASH_ENTER, &found);

	if (!found)
	{
		v->commits = 0;
		v->warned = 0;
		v->was_looked_into = false;
		v->tables = v->ids = NIL;
	}
	v->is_there = true;
	v->standing = standing;
	v->option = braid_read_mode_of(standing->read);
	if (v->option != READ_DEFAULT && v->option != READ_EVENTUAL)
		braid_read_watch_statements();
	any_not_live |= standing->state != VIEW_LIVE;
	views = lappend(views, v);
}

/* Anew if an invalidation comes while the catalogs are read. */
static void
fill(void)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	ListCell *lc;
	List *standings;

	do
	{
		forget_all();
		invalidated = false;
		braid_view_catalogs(&definitions, &states);
		standings = braid_view_standings();
	} while (invalidated);
	foreach (lc, standings)
		if (!((ViewStanding *) lfirst(lc))->is_replacement)
			enter(lfirst(lc));
	up_to_date = true;
	MemoryContextSwitchTo(old);
}

bool
braid_roster_update(void)
{
	if (up_to_date)
		return views != NIL;
	set_up();
	fill();
	return views != NIL;
}

RosterView *
braid_roster_find(Oid view)
{
	RosterView *v = hash_search(entries, &view, HASH_FIND, NULL);

	return v && v->is_there ? v : NULL;
}

List *
braid_roster_list(void)
{
	return views;
}

void
braid_roster_look_into(RosterView *v)
{
	MemoryContext old;
	List *others;

	if (v->was_looked_into)
		return;
	old = MemoryContextSwitchTo(context);
	braid_view_inputs(v->view, &v->tables, &v->ids, &others);
	looked_into = list_concat_unique_oid(looked_into, others);
	v->was_looked_into = true;
	MemoryContextSwitchTo(old);
}

RosterView *
braid_roster_not_live(RosterView *v)
{
	ListCell *lc;

	if (!any_not_live)
		return NULL;
	if (v->standing->state != VIEW_LIVE)
		return v;
	braid_roster_look_into(v);
	foreach (lc, views)
	{
		RosterView *other = lfirst(lc);

		if (other->standing->state != VIEW_LIVE && list_member_int(v->ids, other->standing->id))
			return other;
	}
	return NULL;
}

const char *
braid_roster_error(const RosterView *v)
{
	const char *error = v->standing->state == VIEW_BROKEN ? v->standing->error : NULL;

	return error && braid_view_error_is_visible(v->view) ? error : NULL;
}

ReadMode
braid_roster_mode(const RosterView *v)
{
	if (braid_read_mode != READ_DEFAULT)
		return braid_read_mode;
	return v->option == READ_DEFAULT ? READ_EVENTUAL : v->option;
}
