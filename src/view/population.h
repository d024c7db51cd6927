/*
 * population.h
 *	  Views that are populated beside the capture worker: what processes share.
 */
#ifndef BRAID_POPULATION_H
#define BRAID_POPULATION_H

#define POPULATION_NO_SLOT (-1)

/*
 * States of a population:
 *
 *	FREE --open--> STARTING --attach--> RUNNING --commit--> DONE
 *	  ^                |                   |                 |
 *	  |                +------ gone -------+---> FAILED      |
 *	  +------------------------ close ------------+----------+
 */
typedef enum PopulationState
{
	POPULATION_FREE,
	POPULATION_STARTING, /* a worker is wanted */
	POPULATION_RUNNING,
	POPULATION_DONE, /* committed */
	POPULATION_FAILED
} PopulationState;

/* Capture worker: a new population; POPULATION_NO_SLOT if there is no room. */
extern int braid_population_open(int view, int64 token);
extern PopulationState braid_population_state(int slot);

/* Capture worker: its process never came to life. */
extern void braid_population_fail(int slot);

/* Capture worker: that it is done with; ends the process if it runs. */
extern void braid_population_close(int slot);

/*
 * Capture worker, when it starts and when it ends: ends all populations of this
 * database, and waits until their processes have ended if that is wanted.
 */
extern void braid_population_end_all(bool wait);

/* Populating process: makes the population its own.  False if it is not wanted any more. */
extern bool braid_population_attach(int slot, int64 token, int *view);
extern void braid_population_set_done(void);

/* Populating process: progress, for braid.progress. */
extern void braid_population_report_steps(int steps);
extern void braid_population_report_step(int64 rows_estimated);
extern void braid_population_report_blocks(uint64 done, uint64 total);
extern void braid_population_report_rows(uint64 rows);

extern void braid_population_init(void);

#endif /* BRAID_POPULATION_H */
