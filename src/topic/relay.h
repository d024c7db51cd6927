/*
 * relay.h
 *	  Relays: topics of other servers, whose messages come into topics here.
 */
#ifndef BRAID_RELAY_H
#define BRAID_RELAY_H

#include "access/xlogdefs.h"
#include "nodes/pg_list.h"
#include "topic/topic.h"

/* What a relay is, as braid_internal.relays has it. */
typedef struct BraidRelay
{
	int id;
	NameData name;
	char *source; /* topic there, as written */
	NameData server;
	int target; /* topic here */
	int batch_rows;
	int batch_bytes;
	int64 target_limit; /* bytes; 0: none */
	bool paused;
	bool dropped; /* to be removed, once the source knows */
} BraidRelay;

/* How it stands, as braid_internal.relay_states has it. */
typedef struct BraidRelayState
{
	char *start;   /* where to begin; NULL: it has begun */
	char *stopped; /* why it was stopped; NULL: it was not */

	/* Which topic it is that it reads, where it has begun. */
	int64 system;
	Oid database;
	int topic;
} BraidRelayState;

/* The newest row of braid_internal.relay_positions for a partition. */
typedef struct BraidRelayPosition
{
	int part;
	int64 number;
	char *position;
	uint32 timeline;
	XLogRecPtr lsn;
	int64 confirmed;
	int64 last_id; /* 0: none */
	int64 messages;
	int64 bytes;
	int64 looped;
} BraidRelayPosition;

/* ---- relay_definition.c; all in a transaction, as superuser */

/* BraidRelay, in the current memory context. */
extern List *braid_relay_list(void);

extern void braid_relay_read_state(int relay, BraidRelayState *state);

/* BraidRelayPosition, one for each partition. */
extern List *braid_relay_read_positions(int relay);

/* It has begun: at these positions, of this topic. */
extern void braid_relay_write_begin(int relay, const BraidRelayState *state, List *positions);

extern void braid_relay_write_position(int relay, const BraidRelayPosition *p);

/* It has stopped, until somebody resumes it. */
extern void braid_relay_write_stop(int relay, const char *reason, const char *advice);

extern void braid_relay_remove(int relay);

/*
 * Keeps everybody else from changing the relay until the transaction ends.  What it
 * is and how it stands is to be read thereafter.
 */
extern void braid_relay_lock(int relay);
extern bool braid_relay_try_lock(int relay);

/* Empties the table of positions that is not needed; in no transaction.  Does not wait. */
extern void braid_relay_rotate_positions(void);

/* For the worker, at commit: something about a relay has changed. */
extern void braid_relay_tell_change(void);

/*
 * For the worker: whether anything that relays depend on may have changed since it last
 * expected changes, which it does in a transaction, before it reads definitions.
 */
extern void braid_relay_watch(void);
extern bool braid_relay_has_changed(void);
extern void braid_relay_expect_changes(void);

extern void braid_relay_command_init(void);

/* A topic is about to be dropped: so are relays to it, or 2BP01 is raised. */
extern void braid_relay_target_dropped(int topic, bool cascade);

/* Kind of the worker; see common/worker.h. */
extern int braid_relay_worker_kind;

extern void braid_relay_worker_main(void);

extern void braid_relay_init(void);

/* ---- relay_identity.c */

/* What tells a topic from all others, wherever they are, in the path of a message. */
extern uint64 braid_relay_identity(int topic);

extern uint32 braid_relay_timeline(void);

/* Where WAL ends, after all that is visible in a snapshot taken before; it is durable then. */
extern XLogRecPtr braid_relay_flush(void);

/* Whether this server's history has this place in it: it has not been before it, or elsewhere. */
extern bool braid_relay_remembers(uint32 timeline, XLogRecPtr lsn);

/* The last id that was given to a message of the topic, some of which have been sent. */
extern int64 braid_relay_last_id(const BraidTopic *topic);

#endif /* BRAID_RELAY_H */
