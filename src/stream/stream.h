/*
 * stream.h
 *	  Streams: foreign tables whose rows go into the WAL and nowhere else.
 */
#ifndef BRAID_STREAM_H
#define BRAID_STREAM_H

/* Of the logical messages that carry rows, which are transactional. */
#define BRAID_STREAM_PREFIX "braid.stream"

/* Is the relation a stream?  False if there is no such relation. */
extern bool braid_stream_is(Oid relid);

/*
 * Whether the running transaction has written to a stream that is asked for,
 * be it rolled back or not.
 */
extern bool braid_stream_has_written(bool (*is_asked_for)(Oid relid));

extern void braid_stream_init(void);

#endif /* BRAID_STREAM_H */
