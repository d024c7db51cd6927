/*
 * fast_team.h
 *	  Groups of a large delta of a stream, made by several processes.
 */
#ifndef BRAID_FAST_TEAM_H
#define BRAID_FAST_TEAM_H

#include "view/fast_group.h"

/* Whether there are others who could help with so many rows. */
extern bool braid_fast_team_has_helpers(int64 nrows);

/* Whether others are to help with about so many rows, and can do what is asked of them. */
extern bool braid_fast_team_is_wanted(FastTask *task, int64 nrows);

/* As braid_fast_task_run(). */
extern bool braid_fast_team_run(FastTask *task);

extern void braid_fast_team_init(void);

#endif /* BRAID_FAST_TEAM_H */
