/*
 * group.h
 *	  Consumer groups of topics.
 */
#ifndef BRAID_GROUP_H
#define BRAID_GROUP_H

#include "nodes/pg_list.h"
#include "topic/topic.h"

typedef struct BraidGroup
{
	int id;
	int topic;
	bool is_work; /* mode work; otherwise log */
	bool holds;	  /* what it has not consumed is retained */
	Oid owner;
	NameData name;
} BraidGroup;

/* False if the topic has no such group; braid_group_get() raises 42704. */
extern bool braid_group_find(const BraidTopic *topic, const char *name, BraidGroup *group);
extern void braid_group_get(const BraidTopic *topic, const char *name, BraidGroup *group);

/* Raises 42501 unless the current user owns the group or the topic. */
extern void braid_group_require_owner(const BraidTopic *topic, const BraidGroup *group);

/* All groups of a topic, as BraidGroup, in the current memory context. */
extern List *braid_group_list(int topic);

/* Options of groups of a mode, a jsonb object; raises 22023.  Those of mode log have none. */
extern void braid_group_check_options(bool is_work, Datum options);

extern void braid_group_init(void);

#endif /* BRAID_GROUP_H */
