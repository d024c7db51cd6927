/*
 * work_claim.h
 *	  What the running transaction has taken, acknowledged and rejected.
 */
#ifndef BRAID_WORK_CLAIM_H
#define BRAID_WORK_CLAIM_H

#include "topic/work_window.h"

/* Makes room for n more claims, so that braid_work_claim() cannot fail. */
extern void braid_work_claims_reserve(int n);

/*
 * The transaction has changed an entry, which is TAKEN; with the window's lock.  It ends as
 * the entry says when the transaction does, and goes back to what it was before if this
 * subtransaction is rolled back.
 */
extern void braid_work_claim(WorkWindow *w, WorkArrays *a, WorkEntry *e);

/*
 * The entry that this transaction has claimed is to go on as another number, or to be done; a rollback
 * to before that undoes it.
 */
extern void braid_work_reclaim(WorkWindow *w, WorkArrays *a, WorkEntry *e, int64 next_number,
							   TimestampTz next_due);

/* Whether the entry is claimed by this transaction. */
extern bool braid_work_is_mine(WorkWindow *w, WorkArrays *a, const WorkEntry *e);

/* A message was copied: the entry, if it is still that number, is in work_carried after the commit. */
extern void
braid_work_claim_moved(WorkWindow *w, int group, int64 id, int64 number, TimestampTz due);

/* Messages that are in no window were carried for a group, to be loaded after the commit. */
extern void braid_work_claim_carried(int topic, int group, TimestampTz due, int64 number);

extern void braid_work_claim_init(void);

#endif /* BRAID_WORK_CLAIM_H */
