/* position.h: what of a topic is in Kafka: the record that each transaction of an outward bridge has in Kafka. */
#ifndef BRAID_KAFKA_POSITION_H
#define BRAID_KAFKA_POSITION_H

#include "session.h"

/* Messages that are in Kafka and that the group may not have received yet. */
typedef struct Pending
{
	int64_t *ids; /* in order */
	int n;
	int64_t left; /* how many of them the group has not received */
} Pending;

extern bool position_is_pending(const Pending *pending, int64_t id);

/* Sorts ids. */
extern void position_sort(int64_t *ids, int n);

/* The record's text; the ids are in order. */
extern char *
position_make(const Session *s, const char *server, int64_t consumed, const int64_t *ids, int n);

/* Ids as the record has them; NULL if it has not. */
extern int64_t *position_parse_ids(const char *text, int *n);

/*
 * The last record that was committed, in *record, or NULL if there is none.  Makes the topic if
 * there is none.  No transaction with this bridge's id may be open.
 */
extern bool position_read(Session *s, rd_kafka_t *reader, char **record);

/* Makes the topic, unless it exists. */
extern bool position_make_topic(Session *s, rd_kafka_t *reader);

#endif
