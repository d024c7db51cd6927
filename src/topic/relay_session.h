/*
 * relay_session.h
 *	  What a session with a relay has handed out, at the source.
 */
#ifndef BRAID_RELAY_SESSION_H
#define BRAID_RELAY_SESSION_H

#include "lib/stringinfo.h"
#include "topic/group.h"
#include "topic/position.h"

/* A position in memory of its own. */
typedef struct RelayPlace
{
	MemoryContext context;
	BraidPosition position;
	int64 messages; /* that it was moved over */
} RelayPlace;

typedef struct RelayPart
{
	RelayPlace at;		/* what was read */
	RelayPlace durable; /* what the relay has stored, and the group's position is to be */
	bool is_touched;	/* at has to go out with the next batch */
	bool is_due;		/* durable has not been stored */
} RelayPart;

typedef struct RelaySession
{
	MemoryContext context;
	bool in_use; /* or left by an error */
	int topic;
	BraidGroup group;
	int nparts;
	RelayPart *parts;
	int next_part;	 /* that is read first */
	int64 number;	 /* of the last batch */
	int64 confirmed; /* how often the group was moved, durably */
	int nmoving;	 /* the same, not committed yet */
	List *handed;	 /* HandedOut; batches that the relay has not stored yet */
	TimestampTz moved_at;
} RelaySession;

/*
 * Begins a session at these positions, one for each partition.  number is that of the last
 * batch, confirmed how often the group was moved.
 */
extern RelaySession *
braid_relay_session_begin(BraidTopic *topic, const BraidGroup *group, BraidPosition *positions,
						  int64 number, int64 confirmed);

/* The session's; raises 55000 if there is none, or an error has left it as it was. */
extern RelaySession *braid_relay_session_get(void);
extern void braid_relay_session_release(RelaySession *s);

/* The partition was read up to the position, over so many messages. */
extern void
braid_relay_session_move(RelaySession *s, int part, const BraidPosition *position, int64 n);

/* Puts the positions of what was touched into the batch; returns their number. */
extern int braid_relay_session_hand_out(RelaySession *s, StringInfo buf);

/* The relay has batches up to this one. */
extern void braid_relay_session_acknowledge(RelaySession *s, int64 number);

/*
 * Moves the group after what the relay has, as part of the running transaction; and when
 * that has committed.
 */
extern bool braid_relay_session_is_due(const RelaySession *s);
extern void braid_relay_session_move_group(RelaySession *s);
extern void braid_relay_session_moved_group(RelaySession *s);

/* Positions as texts, which the relay keeps for us. */
extern char *braid_relay_position_out(const BraidPosition *p);
extern void braid_relay_position_in(BraidPosition *p, const char *text);

#endif /* BRAID_RELAY_SESSION_H */
