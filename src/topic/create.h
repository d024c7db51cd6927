/*
 * create.h
 *	  Making and dropping topics.
 */
#ifndef BRAID_TOPIC_CREATE_H
#define BRAID_TOPIC_CREATE_H

#include "topic/topic.h"

/* Drops all of a topic but its view, which has gone; by SPI, which must be connected. */
extern void braid_topic_drop(int id, bool cascade);

#endif /* BRAID_TOPIC_CREATE_H */
