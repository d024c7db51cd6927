/*
 * catalog.h
 *	  The rows and relations of topics, by their names.
 */
#ifndef BRAID_TOPIC_CATALOG_H
#define BRAID_TOPIC_CATALOG_H

#include "topic/topic.h"

#define BRAID_TOPIC_SCHEMA "braid_internal"

/* Of keys: one that is written, one that is within the window, and the next one. */
#define BRAID_KEY_SEGMENTS 3

/* Columns of braid_internal.topics. */
typedef enum TopicColumn
{
	TOPIC_ID = 1,
	TOPIC_VIEW,
	TOPIC_PAYLOAD,
	TOPIC_PARTITIONS,
	TOPIC_SEGMENTS,
	TOPIC_RETAIN,
	TOPIC_RETAIN_SIZE,
	TOPIC_DEDUP_WINDOW,
	TOPIC_NOTIFY,
	TOPIC_GENERATION
} TopicColumn;

/* Columns of braid_internal.topic_segments. */
typedef enum SegmentColumn
{
	SEGMENT_TOPIC = 1,
	SEGMENT_IS_KEYS,
	SEGMENT_NUMBER,
	SEGMENT_OPENED,
	SEGMENT_SEALED
} SegmentColumn;

/* A relation of the schema; InvalidOid if there is none. */
extern Oid braid_topic_relation(const char *name);

/* Names of relations of a topic, without schema. */
extern char *braid_topic_table_name(int id);
extern char *braid_topic_segment_name(int id, int segment);
extern char *braid_topic_index_name(int id, int segment);
extern char *braid_topic_sequence_name(int id);
extern char *braid_topic_keys_name(int id);
extern char *braid_topic_key_segment_name(int id, int segment);

/*
 * Reads of the topic what is in the catalogs now, into the current memory context, by
 * its view or, if that is not valid, by its id.  NULL if there is none.
 */
extern BraidTopic *braid_topic_load(Oid view, int id);

#endif /* BRAID_TOPIC_CATALOG_H */
