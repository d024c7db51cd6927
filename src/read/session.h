/*
 * session.h
 *	  What this session has committed.
 */
#ifndef BRAID_READ_SESSION_H
#define BRAID_READ_SESSION_H

#include "access/xlogdefs.h"

/* How many transactions that have written something; 0 at first. */
extern uint64 braid_read_session_commits(void);

/* Where the record of the last of them ends; only if there is one. */
extern XLogRecPtr braid_read_session_last_commit(void);

/* The running transaction ends by committing a prepared one. */
extern void braid_read_session_commits_prepared(void);

extern void braid_read_session_init(void);

#endif /* BRAID_READ_SESSION_H */
