/*
 * promise.c
 *	  What is owed to a reader of a view: own, strict, not older than braid.read_max_age.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xlog.h"
#include "read/freshness.h"
#include "read/promise.h"
#include "read/session.h"
#include "read/transaction.h"
#include "utils/lsyscache.h"

bool
braid_promise_is_made(const RosterView *v)
{
	return braid_roster_mode(v) != READ_EVENTUAL || braid_read_max_age > 0;
}

/*
 * A parallel worker does not know what its session has committed; a snapshot of
 * somebody else may be older than that.
 */
static bool
has_own(const RosterView *v)
{
	if (IsParallelWorker())
		return false;
	if (braid_read_transaction_is_foreign() && braid_read_session_commits() > 0)
		return false;
	return v->commits >= braid_read_session_commits();
}

bool
braid_promise_is_open(const RosterView *v)
{
	ReadMode mode = braid_roster_mode(v);

	return mode == READ_STRICT || braid_read_max_age > 0 || (mode == READ_OWN && !has_own(v));
}

void
braid_promise_check_server(const RosterView *v)
{
	bool strict = braid_roster_mode(v) == READ_STRICT;

	if (!RecoveryInProgress() || (!strict && braid_read_max_age == 0))
		return;
	ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					errmsg("continuous view \"%s\" cannot be read with braid.%s on a standby",
						   get_rel_name(v->view), strict ? "read = strict" : "read_max_age"),
					errdetail("What the primary has committed is not known here."),
					strict ? errhint("Read it on the primary, or set braid.read to eventual.")
						   : errhint("Read it on the primary, or set braid.read_max_age to 0.")));
}

/* Whether all is there already, without asking for it. */
static bool
is_kept(List *oids)
{
	bool wants_own = false;
	ListCell *lc;

	foreach (lc, oids)
	{
		RosterView *v = braid_roster_find(lfirst_oid(lc));
		ReadMode mode = v ? braid_roster_mode(v) : READ_EVENTUAL;

		if (mode == READ_STRICT)
			return false;
		wants_own |= mode == READ_OWN && !has_own(v);
	}
	if (wants_own &&
		(IsParallelWorker() || !braid_freshness_has(oids, braid_read_session_last_commit())))
		return false;
	return braid_read_max_age == 0 || braid_freshness_is_young(oids);
}

void
braid_promise_keep(List *oids)
{
	if (!is_kept(oids))
		braid_freshness_wait(oids);
}
