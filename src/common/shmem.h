/*
 * shmem.h
 *	  Shared memory of the modules: each registers its area in its init function.
 */
#ifndef BRAID_SHMEM_H
#define BRAID_SHMEM_H

#include "storage/lwlock.h"

typedef struct BraidShmemArea
{
	const char *name;		  /* unique; shown in pg_shmem_allocations */
	Size (*size)(void);		  /* called once MaxBackends is known */
	void (*init)(void *area); /* called once, on zeroed memory */
	void **pointer;			  /* set in every process */
} BraidShmemArea;

/* Only while shared_preload_libraries is processed; area must be static. */
extern void braid_shmem_register(const BraidShmemArea *area);

/* Initializes an LWLock that is part of an area; for init functions. */
extern void braid_shmem_init_lock(LWLock *lock);

extern void braid_shmem_init(void);

#endif /* BRAID_SHMEM_H */
