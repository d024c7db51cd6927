/*
 * statistics.h
 *	  What the capture worker of each database has done, in shared memory.
 */
#ifndef BRAID_CAPTURE_STATISTICS_H
#define BRAID_CAPTURE_STATISTICS_H

#include "access/xlogdefs.h"
#include "nodes/pg_list.h"
#include "utils/timestamp.h"

/* Worker: once it is known that there are definitions, and when there are none any more. */
extern void braid_capture_stat_attach(void);
extern void braid_capture_stat_detach(void);

/* A cycle, in the order of these calls: it begins; its WAL, from there to there, was decoded; */
extern void braid_capture_stat_begin(void);
extern void braid_capture_stat_decoded(XLogRecPtr from, XLogRecPtr upto);

/* the deltas of the sources were applied, and are still there; */
extern void braid_capture_stat_applied(void);

/* it has committed.  advanced: it has brought something.  Logs it if it was slow. */
extern void braid_capture_stat_committed(bool advanced, int held_back);

/* There is nothing to do: all that is committed has been taken in. */
extern void braid_capture_stat_idle(void);

extern void braid_capture_stat_init(void);

#endif /* BRAID_CAPTURE_STATISTICS_H */
