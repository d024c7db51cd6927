/*
 * relay_batch.h
 *	  What a source sends to a relay at once: messages, and the positions after them.
 *
 * All in the network's order of bytes:
 *
 *		version, 1 byte
 *		number of the batch		int8
 *		more					byte: there is more to come already
 *		timeline				int4	\ WAL is durable up to here, and all
 *		lsn						int8	/ in the batch is before
 *		confirmed				int8	as the source has it durably
 *		behind					int8	messages, about, that are still to come
 *		oldest					int8	when the first of them was sent; 0: not known
 *		messages, positions		int4 each: so many follow
 *
 * A message: part int2, id int8, flags 1 byte, priority int2; then, as the flags say,
 * deliver_at int8, key, headers, payload, path, each with its length in 4 bytes.  Texts
 * are in the encoding of the source's database.  A position: part int2, text.
 */
#ifndef BRAID_RELAY_BATCH_H
#define BRAID_RELAY_BATCH_H

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "lib/stringinfo.h"

typedef struct BraidRelayBytes
{
	const char *data; /* NULL: null */
	int len;
} BraidRelayBytes;

typedef struct BraidRelayMessage
{
	int part;
	int64 id;
	int priority;
	TimestampTz deliver_at; /* DT_NOBEGIN: at once */
	BraidRelayBytes key;
	BraidRelayBytes headers; /* as jsonb writes them */
	BraidRelayBytes payload; /* as its type writes it; of bytea, the bytes */
	BraidRelayBytes path;	 /* topics that it was in before this one, 8 bytes each */
} BraidRelayMessage;

typedef struct BraidRelayBatch
{
	int64 number;
	bool more;
	uint32 timeline;
	XLogRecPtr lsn;
	int64 confirmed;
	int64 behind;
	TimestampTz oldest;
	int nmessages;
	int npositions;
} BraidRelayBatch;

/* ---- writing: begin, messages, positions, end */

extern void braid_relay_batch_begin(StringInfo buf);
extern void braid_relay_batch_put(StringInfo buf, const BraidRelayMessage *m);
extern void braid_relay_batch_put_position(StringInfo buf, int part, const char *position);
extern bytea *braid_relay_batch_end(StringInfo buf, const BraidRelayBatch *batch);

/* ---- reading, in the same order; what does not fit is an error (08P01) */

extern void braid_relay_batch_read(StringInfo buf, BraidRelayBatch *batch);

/* What it points to lives as long as the buffer. */
extern void braid_relay_batch_get(StringInfo buf, BraidRelayMessage *m);
extern void braid_relay_batch_get_position(StringInfo buf, int *part, char **position);
extern void braid_relay_batch_read_end(StringInfo buf);

#endif /* BRAID_RELAY_BATCH_H */
