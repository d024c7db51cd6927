/*
 * fast_program.h
 *	  What is done with messages of a stream, and what came of it, for other processes.
 */
#ifndef BRAID_FAST_PROGRAM_H
#define BRAID_FAST_PROGRAM_H

#include "lib/stringinfo.h"
#include "view/fast_group.h"

/* The task as text; its rows have been opened. */
extern char *braid_fast_program_write(FastTask *task);

/*
 * A task made from the text, in the current memory context, with that much memory for
 * groups.  Where messages come from is for the caller to say.
 */
extern FastTask *braid_fast_program_read(const char *text, Size limit);

/* Appends a group, with all that it points to. */
extern void braid_fast_program_put(StringInfo s, FastTask *task, uint32 group);

/* Combines the group that is at the cursor with the task's. False: there is no memory for it. */
extern bool braid_fast_program_take(StringInfo s, FastTask *task);

#endif /* BRAID_FAST_PROGRAM_H */
