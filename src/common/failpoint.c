/*
 * failpoint.c
 *	  Fault injection at named points: wait, error or crash.
 *
 * NOTES
 *	  The table is in shared memory, so that a test can arm a point in a
 *	  background worker.  A crash is SIGKILL to the process itself, to which the
 *	  postmaster answers with a restart of the whole server: what a test sees is
 *	  what an operator sees after the out-of-memory killer.
 */
#include "postgres.h"

#include <signal.h>

#include "common/failpoint.h"
#include "common/shmem.h"
#include "common/wait.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/spin.h"
#include "utils/builtins.h"
#include "utils/wait_event.h"

PG_FUNCTION_INFO_V1(braid_sql_failpoint_set);
PG_FUNCTION_INFO_V1(braid_sql_failpoint_waiting);

#ifdef BRAID_FAILPOINTS

#define MAX_FAILPOINTS 16

typedef enum FailpointAction
{
	FAILPOINT_OFF,
	FAILPOINT_WAIT,
	FAILPOINT_ERROR,
	FAILPOINT_CRASH
} FailpointAction;

typedef struct Failpoint
{
	char name[NAMEDATALEN];
	FailpointAction action;
	int pid;	 /* 0: any process */
	int waiting; /* processes that wait here now */
} Failpoint;

typedef struct FailpointTable
{
	pg_atomic_uint32 narmed; /* read without the lock */
	slock_t mutex;			 /* guards points */
	Failpoint points[MAX_FAILPOINTS];
} FailpointTable;

static FailpointTable *table = NULL;

static Size
table_size(void)
{
	return sizeof(FailpointTable);
}

static void
table_init(void *area)
{
	FailpointTable *t = area;

	pg_atomic_init_u32(&t->narmed, 0);
	SpinLockInit(&t->mutex);
}

static const BraidShmemArea area = {"braid failpoints", table_size, table_init, (void **) &table};

void
braid_failpoint_init(void)
{
	braid_shmem_register(&area);
}

bool
braid_failpoint_any_armed(void)
{
	return table && pg_atomic_read_u32(&table->narmed) > 0;
}

/* The caller holds the mutex. */
static Failpoint *
find_point(const char *name)
{
	for (int i = 0; i < MAX_FAILPOINTS; i++)
		if (strcmp(table->points[i].name, name) == 0)
			return &table->points[i];
	return NULL;
}

/* What to do at this point in this process; counts waiting by delta. */
static FailpointAction
look_up(const char *name, int delta)
{
	FailpointAction action = FAILPOINT_OFF;
	Failpoint *p;

	SpinLockAcquire(&table->mutex);
	p = find_point(name);
	if (p)
	{
		if (p->pid == 0 || p->pid == MyProcPid)
			action = p->action;
		if (action == FAILPOINT_WAIT || delta < 0)
			p->waiting += delta;
	}
	SpinLockRelease(&table->mutex);
	return action;
}

/*
 * Until the point is disarmed; counted as waiting already.  The death of the
 * postmaster ends it too: where no error may be raised no process may exit
 * either, and goes on.
 */
static void
wait_at_point(const char *name, bool may_throw)
{
	elog(DEBUG1, "waiting at failpoint \"%s\"", name);
	while (look_up(name, 0) == FAILPOINT_WAIT)
	{
		int rc = WaitLatch(NULL, WL_TIMEOUT | WL_POSTMASTER_DEATH, 5,
						   braid_wait_begin(BRAID_WAIT_FAILPOINT));

		braid_wait_end();
		if (may_throw && INTERRUPTS_PENDING_CONDITION())
		{
			/* Whoever leaves by an error does not wait any more. */
			(void) look_up(name, -1);
			CHECK_FOR_INTERRUPTS();
			if (look_up(name, +1) != FAILPOINT_WAIT)
				return;
		}
		if (rc & WL_POSTMASTER_DEATH)
		{
			if (may_throw)
				proc_exit(1);
			break;
		}
	}
	(void) look_up(name, -1);
}

void
braid_failpoint_reach(const char *name, bool may_throw)
{
	switch (look_up(name, +1))
	{
		case FAILPOINT_OFF:
			break;
		case FAILPOINT_WAIT:
			wait_at_point(name, may_throw);
			break;
		case FAILPOINT_ERROR:
			if (may_throw)
				ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
								errmsg("failpoint \"%s\" was reached", name)));
			break;
		case FAILPOINT_CRASH:
			elog(LOG, "crashing at failpoint \"%s\"", name);
			kill(MyProcPid, SIGKILL);
			pg_usleep(10 * USECS_PER_SEC);
			break;
	}
}

static FailpointAction
parse_action(const char *s)
{
	if (strcmp(s, "off") == 0)
		return FAILPOINT_OFF;
	if (strcmp(s, "wait") == 0)
		return FAILPOINT_WAIT;
	if (strcmp(s, "error") == 0)
		return FAILPOINT_ERROR;
	if (strcmp(s, "crash") == 0)
		return FAILPOINT_CRASH;
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("failpoint action \"%s\" does not exist", s),
					errhint("Actions are off, wait, error and crash.")));
}

/* failpoint_set(name text, action text, pid int) */
Datum
braid_sql_failpoint_set(PG_FUNCTION_ARGS)
{
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	FailpointAction action = parse_action(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	int pid = PG_GETARG_INT32(2);
	Failpoint *p;
	bool full = false;

	if (strlen(name) == 0 || strlen(name) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("failpoint name must have between 1 and %d bytes", NAMEDATALEN - 1)));
	SpinLockAcquire(&table->mutex);
	p = find_point(name);
	if (!p)
		p = find_point("");
	if (!p)
		full = true;
	else
	{
		bool was_armed = p->name[0] != '\0' && p->action != FAILPOINT_OFF;

		strlcpy(p->name, name, NAMEDATALEN);
		p->action = action;
		p->pid = pid;
		if (!was_armed && action != FAILPOINT_OFF)
			pg_atomic_fetch_add_u32(&table->narmed, 1);
		else if (was_armed && action == FAILPOINT_OFF)
			pg_atomic_fetch_sub_u32(&table->narmed, 1);
	}
	SpinLockRelease(&table->mutex);
	if (full)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("no more than %d failpoints can be set", MAX_FAILPOINTS)));
	PG_RETURN_VOID();
}

/* failpoint_waiting(name text) returns int */
Datum
braid_sql_failpoint_waiting(PG_FUNCTION_ARGS)
{
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Failpoint *p;
	int waiting = 0;

	SpinLockAcquire(&table->mutex);
	p = find_point(name);
	if (p)
		waiting = p->waiting;
	SpinLockRelease(&table->mutex);
	PG_RETURN_INT32(waiting);
}

#else /* release build */

void
braid_failpoint_init(void)
{
}

static void
not_compiled_in(void)
{
	ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					errmsg("this build of braid has no failpoints"),
					errhint("Build it with \"make FAILPOINTS=1\" to test faults.")));
}

Datum
braid_sql_failpoint_set(PG_FUNCTION_ARGS)
{
	not_compiled_in();
	PG_RETURN_VOID();
}

Datum
braid_sql_failpoint_waiting(PG_FUNCTION_ARGS)
{
	not_compiled_in();
	PG_RETURN_INT32(0);
}

#endif
