/*
 * message.h
 *	  Messages of streams, from the log to the sources.
 */
#ifndef BRAID_CAPTURE_MESSAGE_H
#define BRAID_CAPTURE_MESSAGE_H

#include "replication/logical.h"

/*
 * The record that was just read: true if it was a message of a stream, which the decoder
 * must not see.  Else the decoder comes first, then follow.
 */
extern bool braid_message_take(LogicalDecodingContext *decoding);
extern void braid_message_follow(LogicalDecodingContext *decoding);

/*
 * Whether running transactions have written messages that were let go, because
 * nobody wanted the stream.
 */
extern bool braid_message_any_missed(void);

/* The decoder is closed: who reads the log again finds them all again. */
extern void braid_message_forget_all(void);

#endif /* BRAID_CAPTURE_MESSAGE_H */
