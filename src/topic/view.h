/*
 * view.h
 *	  The view that a topic is to its users.
 */
#ifndef BRAID_TOPIC_VIEW_H
#define BRAID_TOPIC_VIEW_H

extern void braid_topic_view_init(void);

#endif /* BRAID_TOPIC_VIEW_H */
