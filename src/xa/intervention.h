/*
 * intervention.h
 *	  Participants: branches that somebody other than their coordinator finishes.
 */
#ifndef BRAID_XA_INTERVENTION_H
#define BRAID_XA_INTERVENTION_H

/*
 * Records, durably, that the current user is about to finish this prepared
 * branch.  Does nothing if there is none, or the user may not finish it: then
 * the command fails anyway.  everything: the user may finish branches of all
 * owners.  Commits the current transaction and begins another one, so not
 * within a transaction block.
 */
extern void
braid_xa_intervention_record(const char *gid, bool commit, bool everything, const char *who);

extern PGDLLEXPORT void braid_finisher_main(Datum arg);

#endif /* BRAID_XA_INTERVENTION_H */
