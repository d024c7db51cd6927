/*
 * checkup.h
 *	  What participants say of themselves, for braid.doctor().
 */
#ifndef BRAID_XA_CHECKUP_H
#define BRAID_XA_CHECKUP_H

#include "postgres_ext.h"

/* ---- for the resolver of a database */

/* Number of the newest question about the server; 0: none. */
extern uint64 braid_xa_checkup_asked(Oid serverid);

/*
 * Answers all questions up to that number: with what the participant has said,
 * or with an error.
 */
extern void
braid_xa_checkup_answer(Oid serverid, uint64 question, const char *report, const char *error);

extern void braid_xa_checkup_init(void);

#endif /* BRAID_XA_CHECKUP_H */
