/*
 * relay_link.h
 *	  The worker's dealings with one relay.
 */
#ifndef BRAID_RELAY_LINK_H
#define BRAID_RELAY_LINK_H

#include "common/connection.h"
#include "topic/relay.h"

typedef enum RelayStep
{
	RELAY_RESTS,	 /* -> OPENS, at retry_at; a paused one, and one that has stopped, stays */
	RELAY_OPENS,	 /* -> FETCHES, when the source has agreed */
	RELAY_FETCHES,	 /* a batch was asked for */
	RELAY_HOLDS_BACK /* -> FETCHES; the target is too large */
} RelayStep;

/* What a partition has brought. */
typedef struct RelayCount
{
	int64 last_id;
	int64 messages;
	int64 bytes;
	int64 looped;
} RelayCount;

typedef struct RelayLink
{
	MemoryContext context;
	BraidRelay relay;
	bool is_on; /* neither paused nor stopped */
	RelayStep step;
	BraidConnection connection;
	BraidConnectionOptions options;
	MemoryContext options_context; /* of what is read anew for each connection */
	bool is_proven;				   /* something was stored over this connection */
	TimestampTz retry_at;
	int retry_ms;

	/* As the source has said when the session was opened. */
	BraidRelayState state;
	bool begins; /* it is to begin at state.start */
	int encoding;
	uint64 source; /* identity of the topic there */
	uint64 target; /* and of the one here */
	char *payload; /* type of both */

	/* How far it has come: number is that of the last batch that was stored. */
	int64 number;
	int64 confirmed;
	uint32 timeline;
	XLogRecPtr lsn;
	int nparts;
	RelayCount *counts;
	TimestampTz looked_at; /* at the size of the target */
	bool is_large;

	PGresult *answer; /* to relay_open, while it is looked at */

	/* A batch that is not stored, perhaps since somebody else has the relay's lock. */
	PGresult *batch;
} RelayLink;

extern RelayLink *braid_relay_link_create(const BraidRelay *relay);
extern void braid_relay_link_forget(RelayLink *l);

/* The relay's definition, or something that it depends on, may have changed. */
extern void braid_relay_link_follow(RelayLink *l, const BraidRelay *relay);

/* Does what is due; returns the milliseconds until there may be something again. */
extern long braid_relay_link_tend(RelayLink *l);

/* Something has come over its connection. */
extern void braid_relay_link_advance(RelayLink *l);

/* ---- relay_apply.c */

/*
 * Stores a batch, and how far the relay has come with it, in a transaction.  False if
 * somebody has the relay's lock, or has changed it meanwhile: then nothing was done.
 */
extern bool braid_relay_apply(RelayLink *l, PGresult *batch);

/* Time, in ms, within which a source is to answer. */
extern int braid_relay_timeout;

#endif /* BRAID_RELAY_LINK_H */
