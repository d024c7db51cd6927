/*
 * message.h
 *	  How a message is sent.  Part of topic.h.
 */
#ifndef BRAID_MESSAGE_H
#define BRAID_MESSAGE_H

#include "datatype/timestamp.h"

struct BraidTopic;

typedef struct BraidMessage
{
	Datum payload; /* of the topic's type */
	bool has_payload;
	struct varlena *key;	   /* text, or NULL */
	struct varlena *headers;   /* jsonb, or NULL */
	struct varlena *dedup_key; /* text, or NULL */
	struct varlena *path;	   /* bytea, or NULL: topics that it was relayed from */
	TimestampTz deliver_at;	   /* DT_NOBEGIN: at once */
	int priority;
	int part; /* -1: by the key, or in turn */

	/* Set when it is sent. */
	bool is_duplicate;
	int sent_part;
	TimestampTz sent_at;
} BraidMessage;

extern void braid_message_init(BraidMessage *m); /* an empty one */

/*
 * One message.  Returns its id; if it is a duplicate, that of the first.  Like all
 * below it does not look at privileges.
 */
extern int64 braid_topic_send(struct BraidTopic *topic, BraidMessage *m);

/* Many messages, faster.  All are in the table after braid_sender_end(). */
typedef struct BraidSender BraidSender;
extern BraidSender *braid_sender_begin(struct BraidTopic *topic);
extern int64 braid_sender_put(BraidSender *sender, BraidMessage *m);
extern void braid_sender_end(BraidSender *sender);
extern int braid_topic_partition_of(const struct varlena *key, int npartitions);

#endif /* BRAID_MESSAGE_H */
