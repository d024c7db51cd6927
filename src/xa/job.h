/*
 * job.h
 *	  What a session with a participant has its connections do.
 *
 * A job is one command and what is to be done with its result.  Some are queued
 * for whichever connection is idle first, others are sent at once on the control
 * connection.
 */
#ifndef BRAID_XA_JOB_H
#define BRAID_XA_JOB_H

#include "lib/ilist.h"
#include "xa/gid.h"
#include "xa/session.h"

typedef struct XaJob XaJob;

typedef struct XaJobKind
{
	/* The command of a queued job; allocated. */
	char *(*command)(XaSession *s, const XaJob *job);

	/* Takes the result; false if the job was queued again, and goes on. */
	bool (*end)(XaSession *s, BraidConnection *c, XaJob *job, PGresult *r);

	/* It will not be done; NULL: nobody minds. */
	void (*give_up)(XaSession *s, XaJob *job, const char *reason);
} XaJobKind;

struct XaJob
{
	dlist_node node; /* in XaSession.jobs */
	const XaJobKind *kind;
	int attempts;

	/* What it is about, as its kind needs it. */
	uint64 number; /* of the request that it answers */
	BraidGid gid;
	int slot; /* of the transaction */
	bool commit;
	bool asking;  /* the gid is unknown: what became of it? */
	char xid[24]; /* of the branch */
};

extern XaJob *braid_xa_job_make(const XaJobKind *kind);

/* For any connection, behind all others or in front of them. */
extern void braid_xa_job_queue(XaSession *s, XaJob *job);
extern void braid_xa_job_queue_first(XaSession *s, XaJob *job);

/* Is the participant ready and the control connection idle? */
extern bool braid_xa_job_may_send(XaSession *s);

/* Sends it on the control connection, which must be idle. */
extern void braid_xa_job_send(XaSession *s, XaJob *job, const char *sql);

/* Ends a job that will not be done. */
extern void braid_xa_job_give_up(XaSession *s, XaJob *job, const char *reason);

#endif /* BRAID_XA_JOB_H */
