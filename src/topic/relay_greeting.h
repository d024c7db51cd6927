/*
 * relay_greeting.h
 *	  What a relay and its source say to each other before the first batch, and after the
 *	  last.
 *
 * All of it may throw.
 */
#ifndef BRAID_RELAY_GREETING_H
#define BRAID_RELAY_GREETING_H

#include "topic/relay_link.h"

/* A transaction with a snapshot; the memory context is to be given back at its end. */
extern MemoryContext braid_relay_begin_transaction(void);
extern void braid_relay_end_transaction(MemoryContext caller);

/* Reads how the relay stands, and asks the source to open a session. */
extern void braid_relay_send_open(RelayLink *l);

/* Its answer, l->answer: that it may go on, and from where; or that it may not. */
extern void braid_relay_take_answer(RelayLink *l);
extern void braid_relay_take_refusal(RelayLink *l);

/* The relay is dropped: tells the source, and removes it when that has answered. */
extern void braid_relay_send_close(RelayLink *l);
extern void braid_relay_take_leave(RelayLink *l);

/* Columns of the answer to relay_open; see relay_open.c. */
typedef enum RelayAnswer
{
	ANSWER_VERDICT,
	ANSWER_DETAIL,
	ANSWER_SYSTEM,
	ANSWER_DATABASE,
	ANSWER_TOPIC,
	ANSWER_PAYLOAD,
	ANSWER_IDENTITY,
	ANSWER_ENCODING,
	ANSWER_TIMELINE,
	ANSWER_LSN,
	ANSWER_CONFIRMED,
	ANSWER_POSITIONS,
	ANSWER_NCOLUMNS
} RelayAnswer;

#endif /* BRAID_RELAY_GREETING_H */
