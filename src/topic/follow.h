/*
 * follow.h
 *	  What is told to those who follow a topic.
 */
#ifndef BRAID_TOPIC_FOLLOW_H
#define BRAID_TOPIC_FOLLOW_H

#include "topic/topic.h"

/* Tells those who follow the topic that the running transaction has sent n messages to a part. */
extern void braid_topic_tell_sent(BraidTopic *topic, int part, int n);

/* Before a topic is dropped: those who follow it clear up, or raise 2BP01. */
extern void braid_topic_tell_drop(int topic, bool cascade);

/* Has each of those who have something to tidy do it, by way of run. */
extern void braid_topic_tell_tidy(void (*run)(void (*tidy)(void)));

/*
 * Whether anybody has to have consumed messages before they may go; then *xid is the
 * first that is still wanted.
 */
extern bool braid_topic_is_held(int topic, uint64 *xid);

/* Of its view, for messages to the user. */
extern char *braid_topic_name(const BraidTopic *topic);

#endif /* BRAID_TOPIC_FOLLOW_H */
