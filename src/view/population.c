/*
 * population.c
 *	  Views that are populated beside the capture worker: what processes share.
 *
 * NOTES
 *	  An entry belongs to the capture worker of its database, which opens and
 *	  closes it.  The process that populates only moves it from STARTING on, and
 *	  sets the figures.  When it ends without having said DONE it has failed,
 *	  whatever the reason was.
 *
 *	  A capture worker that dies leaves processes behind, whose work nobody will
 *	  take up.  They are told to end when it exits, and its successor waits for
 *	  them to have ended before it does anything: so there are never two that
 *	  write the same state.
 */
#include "postgres.h"

#include <signal.h>

#include "common/shmem.h"
#include "common/wait.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "view/population.h"

#define MAX_POPULATIONS 64
#define END_NAP_MS 10

typedef struct Population
{
	/* Populations.lock guards these. */
	PopulationState state;
	bool abandoned; /* the capture worker has gone: free it at the end */
	Oid dbid;
	int view;
	int64 token;
	int pid; /* while RUNNING; its entry is its own as long */
	TimestampTz started;

	/* Written by the populating process alone. */
	pg_atomic_uint32 steps;
	pg_atomic_uint32 step; /* from 1; 0: not begun */
	pg_atomic_uint64 blocks_total;
	pg_atomic_uint64 blocks_done;
	pg_atomic_uint64 rows_estimated;
	pg_atomic_uint64 rows_done;
} Population;

typedef struct Populations
{
	LWLock lock;
	Population entries[MAX_POPULATIONS];
} Populations;

static Populations *shared = NULL;

/* Populating process: its own. */
static Population *mine = NULL;

static Size
shared_size(void)
{
	return sizeof(Populations);
}

static void
shared_init(void *area)
{
	Populations *p = area;

	braid_shmem_init_lock(&p->lock);
	for (int i = 0; i < MAX_POPULATIONS; i++)
	{
		pg_atomic_init_u32(&p->entries[i].steps, 0);
		pg_atomic_init_u32(&p->entries[i].step, 0);
		pg_atomic_init_u64(&p->entries[i].blocks_total, 0);
		pg_atomic_init_u64(&p->entries[i].blocks_done, 0);
		pg_atomic_init_u64(&p->entries[i].rows_estimated, 0);
		pg_atomic_init_u64(&p->entries[i].rows_done, 0);
	}
}

static const BraidShmemArea shared_area = {"braid populations", shared_size, shared_init,
										   (void **) &shared};

void
braid_population_init(void)
{
	braid_shmem_register(&shared_area);
}

/* ---------------------------------------------------------------- capture worker */

/* The caller holds the lock. */
static int
find_free(void)
{
	for (int i = 0; i < MAX_POPULATIONS; i++)
		if (shared->entries[i].state == POPULATION_FREE)
			return i;
	return POPULATION_NO_SLOT;
}

static void
reset_figures(Population *p)
{
	pg_atomic_write_u32(&p->steps, 0);
	pg_atomic_write_u32(&p->step, 0);
	pg_atomic_write_u64(&p->blocks_total, 0);
	pg_atomic_write_u64(&p->blocks_done, 0);
	pg_atomic_write_u64(&p->rows_estimated, 0);
	pg_atomic_write_u64(&p->rows_done, 0);
}

int
braid_population_open(int view, int64 token)
{
	int slot;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	slot = find_free();
	if (slot != POPULATION_NO_SLOT)
	{
		Population *p = &shared->entries[slot];

		p->state = POPULATION_STARTING;
		p->abandoned = false;
		p->dbid = MyDatabaseId;
		p->view = view;
		p->token = token;
		p->pid = 0;
		p->started = GetCurrentTimestamp();
		reset_figures(p);
	}
	LWLockRelease(&shared->lock);
	return slot;
}

PopulationState
braid_population_state(int slot)
{
	PopulationState state;

	LWLockAcquire(&shared->lock, LW_SHARED);
	state = shared->entries[slot].state;
	LWLockRelease(&shared->lock);
	return state;
}

void
braid_population_fail(int slot)
{
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	if (shared->entries[slot].state == POPULATION_STARTING)
		shared->entries[slot].state = POPULATION_FAILED;
	LWLockRelease(&shared->lock);
}

/* The caller holds the lock exclusively. */
static void
abandon(Population *p)
{
	if (p->state != POPULATION_RUNNING)
	{
		p->state = POPULATION_FREE;
		return;
	}
	p->abandoned = true;
	kill(p->pid, SIGTERM);
}

void
braid_population_close(int slot)
{
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	abandon(&shared->entries[slot]);
	LWLockRelease(&shared->lock);
}

/* Returns whether any is left. */
static bool
abandon_all(void)
{
	bool any = false;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < MAX_POPULATIONS; i++)
	{
		Population *p = &shared->entries[i];

		if (p->state == POPULATION_FREE || p->dbid != MyDatabaseId)
			continue;
		abandon(p);
		any |= p->state != POPULATION_FREE;
	}
	LWLockRelease(&shared->lock);
	return any;
}

void
braid_population_end_all(bool wait)
{
	while (abandon_all() && wait)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, END_NAP_MS,
						 braid_wait_begin(BRAID_WAIT_POPULATION_END));
		braid_wait_end();
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* ---------------------------------------------------------------- populating process */

/* After the transaction has been rolled back, if it was open. */
static void
detach(int code, Datum arg)
{
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	if (mine->pid == MyProcPid)
	{
		mine->state = mine->abandoned ? POPULATION_FREE : POPULATION_FAILED;
		mine->pid = 0;
	}
	LWLockRelease(&shared->lock);
}

bool
braid_population_attach(int slot, int64 token, int *view)
{
	Population *p = &shared->entries[slot];
	bool wanted;

	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	wanted = p->state == POPULATION_STARTING && p->token == token;
	if (wanted)
	{
		p->state = POPULATION_RUNNING;
		p->pid = MyProcPid;
		*view = p->view;
		mine = p;
	}
	LWLockRelease(&shared->lock);
	if (wanted)
		on_shmem_exit(detach, 0);
	return wanted;
}

void
braid_population_set_done(void)
{
	LWLockAcquire(&shared->lock, LW_EXCLUSIVE);
	mine->state = mine->abandoned ? POPULATION_FREE : POPULATION_DONE;
	mine->pid = 0;
	LWLockRelease(&shared->lock);
}

void
braid_population_report_steps(int steps)
{
	pg_atomic_write_u32(&mine->steps, steps);
}

void
braid_population_report_step(int64 rows_estimated)
{
	pg_atomic_write_u64(&mine->rows_estimated, rows_estimated);
	pg_atomic_write_u64(&mine->rows_done, 0);
	pg_atomic_write_u64(&mine->blocks_total, 0);
	pg_atomic_write_u64(&mine->blocks_done, 0);
	pg_atomic_write_u32(&mine->step, pg_atomic_read_u32(&mine->step) + 1);
}

void
braid_population_report_blocks(uint64 done, uint64 total)
{
	pg_atomic_write_u64(&mine->blocks_total, total);
	pg_atomic_write_u64(&mine->blocks_done, done);
}

void
braid_population_report_rows(uint64 rows)
{
	pg_atomic_write_u64(&mine->rows_done, rows);
}

/* ---------------------------------------------------------------- progress */

static const char *
phase_name(PopulationState state, uint32 step)
{
	switch (state)
	{
		case POPULATION_STARTING:
			return "starting";
		case POPULATION_RUNNING:
			return step == 0 ? "locking" : "reading";
		case POPULATION_DONE:
			return "following";
		default:
			return "failed";
	}
}

static void
put_population(ReturnSetInfo *result, Population *p)
{
	uint32 step = pg_atomic_read_u32(&p->step);
	Datum values[10];
	bool nulls[10] = {0};

	values[0] = Int32GetDatum(p->view);
	values[1] = CStringGetTextDatum(phase_name(p->state, step));
	values[2] = Int32GetDatum(step);
	values[3] = Int32GetDatum(pg_atomic_read_u32(&p->steps));
	values[4] = Int64GetDatum(pg_atomic_read_u64(&p->blocks_done));
	values[5] = Int64GetDatum(pg_atomic_read_u64(&p->blocks_total));
	values[6] = Int64GetDatum(pg_atomic_read_u64(&p->rows_done));
	values[7] = Int64GetDatum(pg_atomic_read_u64(&p->rows_estimated));
	values[8] = TimestampTzGetDatum(p->started);
	values[9] = Int32GetDatum(p->pid);
	nulls[9] = p->pid == 0;
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

PG_FUNCTION_INFO_V1(braid_sql_populations);

/* braid_internal.populations_now(): those of this database. */
Datum
braid_sql_populations(PG_FUNCTION_ARGS)
{
	Population copy[MAX_POPULATIONS];

	InitMaterializedSRF(fcinfo, 0);
	LWLockAcquire(&shared->lock, LW_SHARED);
	memcpy(copy, shared->entries, sizeof(copy));
	LWLockRelease(&shared->lock);
	for (int i = 0; i < MAX_POPULATIONS; i++)
		if (copy[i].state != POPULATION_FREE && copy[i].dbid == MyDatabaseId)
			put_population((ReturnSetInfo *) fcinfo->resultinfo, &copy[i]);
	return (Datum) 0;
}
