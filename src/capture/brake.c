/*
 * brake.c
 *	  Writers are slowed when continuous views fall behind.
 *
 * NOTES
 *	  With braid.max_lag a transaction that has written to a captured table waits
 *	  before it commits, if the capture worker is further behind than that: the
 *	  longer the further, and never longer than MAX_DELAY_MS.  Below twice the
 *	  limit writers and worker come to a balance; beyond it, as when no worker
 *	  runs at all, writers are slow but go on.
 *
 *	  It waits before the commit, since nobody can be interrupted after it, and so
 *	  with the locks that it has.  Nothing is asked of a transaction that wrote
 *	  nothing, and little if the worker keeps up: what it has written is looked at
 *	  only when there is a reason to wait.  Of tables PostgreSQL counts that for its
 *	  statistics: with track_counts off only writers of streams wait.
 */
#include "postgres.h"

#include "access/xact.h"
#include "capture/brake.h"
#include "capture/doorbell.h"
#include "catalog/pg_class.h"
#include "common/compat.h"
#include "common/wait.h"
#include "common/xact.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "stream/stream.h"
#include "utils/guc.h"
#include "utils/relcache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#define MAX_DELAY_MS 1000
#define LOOK_MS 20 /* between looks whether the worker has come nearer */

static char *max_lag_text = NULL;

/* At most one of them is set. */
static int max_ms = 0;
static int max_kb = 0;

/* ---------------------------------------------------------------- the setting */

static bool
parse_limit(const char *text, int *ms, int *kb)
{
	int plain;

	*ms = *kb = 0;
	if (parse_int(text, &plain, 0, NULL))
		return plain == 0;
	if (parse_int(text, ms, GUC_UNIT_MS, NULL))
		return *ms >= 0;
	*ms = 0;
	return parse_int(text, kb, GUC_UNIT_KB, NULL) && *kb >= 0;
}

static bool
check_limit(char **text, void **extra, GucSource source)
{
	int ms;
	int kb;

	if (parse_limit(*text, &ms, &kb))
		return true;
	GUC_check_errhint("Give a time, such as \"10s\", or an amount of WAL, such as \"1GB\"; 0 is "
					  "no limit.");
	return false;
}

static void
assign_limit(const char *text, void *extra)
{
	(void) parse_limit(text, &max_ms, &max_kb);
}

/* ---------------------------------------------------------------- waiting */

/* How far the worker is beyond the limit, in parts of the limit; 0 if it is not. */
static double
excess(void)
{
	double lag = max_ms > 0 ? braid_doorbell_lag_ms() : braid_doorbell_lag_bytes() / 1024.0;
	double limit = max_ms > 0 ? max_ms : max_kb;

	return Max(lag / limit - 1, 0);
}

/*
 * What the worker wants of a table is known by a few bits of its oid; tables
 * without whole old rows are none of those.
 */
static bool
is_captured(Oid relid)
{
	Relation rel;
	bool full;

	if (!braid_doorbell_may_capture(relid))
		return false;
	rel = RelationIdGetRelation(relid);
	if (!RelationIsValid(rel))
		return false;
	full = rel->rd_rel->relreplident == REPLICA_IDENTITY_FULL;
	RelationClose(rel);
	return full;
}

static void
wait_before_commit(double beyond)
{
	long delay = Max((long) (MAX_DELAY_MS * Min(beyond, 1)), 1);
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), delay);
	long left = delay;

	do
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 Min(left, LOOK_MS), braid_wait_begin(BRAID_WAIT_CAPTURE_LAG));
		braid_wait_end();
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);
	} while (left > 0 && excess() > 0);
}

static void
before_commit(XactEvent event)
{
	double beyond;

	if (max_ms == 0 && max_kb == 0)
		return;
	if (event != XACT_EVENT_PRE_COMMIT && event != XACT_EVENT_PRE_PREPARE)
		return;
	if (!TransactionIdIsValid(GetTopTransactionIdIfAny()))
		return;
	beyond = excess();
	if (beyond > 0 && (braid_compat_has_written(is_captured) ||
					   braid_stream_has_written(braid_doorbell_may_capture)))
		wait_before_commit(beyond);
}

void
braid_brake_init(void)
{
	DefineCustomStringVariable(
		"braid.max_lag",
		"Slows transactions that write to tables of continuous views when these are further behind.",
		"A time, such as \"10s\", or an amount of WAL, such as \"1GB\". Each transaction waits at "
		"most a second. 0 slows nobody.",
		&max_lag_text, "0", PGC_SUSET, 0, check_limit, assign_limit, NULL);
	braid_xact_register(BRAID_XACT_LAST, before_commit);
}
