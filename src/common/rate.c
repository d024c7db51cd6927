/*
 * rate.c
 *	  How many there were in the last minute, in shared memory, without a lock.
 */
#include "postgres.h"

#include "common/rate.h"

#define MINUTE 60

void
braid_rate_init(BraidRate *r)
{
	for (int i = 0; i < BRAID_RATE_SECONDS; i++)
		pg_atomic_init_u64(&r->seconds[i], 0);
}

void
braid_rate_reset(BraidRate *r)
{
	for (int i = 0; i < BRAID_RATE_SECONDS; i++)
		pg_atomic_write_u64(&r->seconds[i], 0);
}

/* Seconds of the clock that never is set back. */
static uint32
second_of(instr_time t)
{
	return (uint32) INSTR_TIME_GET_DOUBLE(t);
}

void
braid_rate_add(BraidRate *r, instr_time now, uint32 n)
{
	uint32 second = second_of(now);
	pg_atomic_uint64 *slot = &r->seconds[second % BRAID_RATE_SECONDS];
	uint64 there = pg_atomic_read_u64(slot);

	/* The first one in a second begins it; of two that try, one is second. */
	while (there >> 32 != second)
		if (pg_atomic_compare_exchange_u64(slot, &there, (uint64) second << 32 | n))
			return;
	pg_atomic_fetch_add_u64(slot, n);
}

uint64
braid_rate_last_minute(BraidRate *r)
{
	instr_time now;
	uint64 sum = 0;

	INSTR_TIME_SET_CURRENT(now);
	for (int i = 0; i < BRAID_RATE_SECONDS; i++)
	{
		uint64 slot = pg_atomic_read_u64(&r->seconds[i]);
		uint32 age = second_of(now) - (uint32) (slot >> 32);

		if (age >= 1 && age <= MINUTE)
			sum += slot & PG_UINT32_MAX;
	}
	return sum;
}
