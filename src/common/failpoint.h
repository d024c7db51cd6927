/*
 * failpoint.h
 *	  Fault injection at named points: wait, error or crash.
 *
 * Compiled in by -DBRAID_FAILPOINTS (make FAILPOINTS=1, as the tests do); a
 * release build has neither the points nor the table.  Points are armed by
 * braid_internal.failpoint_set() for one backend or for all.
 */
#ifndef BRAID_FAILPOINT_H
#define BRAID_FAILPOINT_H

#ifdef BRAID_FAILPOINTS

/*
 * BRAID_FAILPOINT(name): may wait, raise an error or kill this process.
 * BRAID_FAILPOINT_NOTHROW(name): the same where no error may be raised; the
 * action "error" is then ignored.
 */
#define BRAID_FAILPOINT(name)                                                                      \
	do                                                                                             \
	{                                                                                              \
		if (braid_failpoint_any_armed())                                                           \
			braid_failpoint_reach(name, true);                                                     \
	} while (0)
#define BRAID_FAILPOINT_NOTHROW(name)                                                              \
	do                                                                                             \
	{                                                                                              \
		if (braid_failpoint_any_armed())                                                           \
			braid_failpoint_reach(name, false);                                                    \
	} while (0)

extern bool braid_failpoint_any_armed(void);
extern void braid_failpoint_reach(const char *name, bool may_throw);
#else
#define BRAID_FAILPOINT(name) ((void) 0)
#define BRAID_FAILPOINT_NOTHROW(name) ((void) 0)
#endif

extern void braid_failpoint_init(void);

#endif /* BRAID_FAILPOINT_H */
