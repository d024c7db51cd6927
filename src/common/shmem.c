/*
 * shmem.c
 *	  Shared memory of the modules: each registers its area in its init function.
 */
#include "postgres.h"

#include "common/shmem.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"

#define MAX_AREAS 32

static const BraidShmemArea *areas[MAX_AREAS];
static int nareas = 0;

/* One tranche for all of braid's locks, made by the postmaster. */
static int tranche = 0;

static shmem_request_hook_type prev_shmem_request = NULL;
static shmem_startup_hook_type prev_shmem_startup = NULL;

void
braid_shmem_register(const BraidShmemArea *area)
{
	Assert(process_shared_preload_libraries_in_progress);
	Assert(nareas < MAX_AREAS);
	areas[nareas++] = area;
}

void
braid_shmem_init_lock(LWLock *lock)
{
	if (tranche == 0)
	{
		tranche = LWLockNewTrancheId();
		LWLockRegisterTranche(tranche, "braid");
	}
	LWLockInitialize(lock, tranche);
}

static void
request_areas(void)
{
	if (prev_shmem_request)
		prev_shmem_request();
	for (int i = 0; i < nareas; i++)
		RequestAddinShmemSpace(MAXALIGN(areas[i]->size()));
}

static void
start_areas(void)
{
	if (prev_shmem_startup)
		prev_shmem_startup();

	/* After a crash the segment is a new one, and so is the tranche. */
	tranche = 0;
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	for (int i = 0; i < nareas; i++)
	{
		Size size = areas[i]->size();
		bool found;
		void *area = ShmemInitStruct(areas[i]->name, size, &found);

		if (!found)
		{
			memset(area, 0, size);
			areas[i]->init(area);
		}
		*areas[i]->pointer = area;
	}
	LWLockRelease(AddinShmemInitLock);
}

void
braid_shmem_init(void)
{
	prev_shmem_request = shmem_request_hook;
	shmem_request_hook = request_areas;
	prev_shmem_startup = shmem_startup_hook;
	shmem_startup_hook = start_areas;
}
