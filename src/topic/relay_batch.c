/*
 * relay_batch.c
 *	  What a source sends to a relay at once: messages, and the positions after them.
 *
 * It was made by another server, so nothing in it is believed: lengths are checked,
 * and whoever uses texts verifies their encoding.
 */
#include "postgres.h"

#include "libpq/pqformat.h"
#include "topic/relay_batch.h"
#include "utils/expandeddatum.h"

#define BATCH_VERSION 1
#define HEADER_SIZE (1 + 8 + 1 + 4 + 8 + 8 + 8 + 8 + 4 + 4)

#define HAS_DELIVER_AT 1
#define HAS_KEY 2
#define HAS_HEADERS 4
#define HAS_PAYLOAD 8
#define HAS_PATH 16

/* ---------------------------------------------------------------- writing */

/* The header is written at the end, when it is known. */
void
braid_relay_batch_begin(StringInfo buf)
{
	enlargeStringInfo(buf, VARHDRSZ + HEADER_SIZE);
	memset(buf->data, 0, VARHDRSZ + HEADER_SIZE);
	buf->len = VARHDRSZ + HEADER_SIZE;
}

static void
put_bytes(StringInfo buf, const BraidRelayBytes *b)
{
	if (b->data == NULL)
		return;
	pq_sendint32(buf, b->len);
	pq_sendbytes(buf, b->data, b->len);
}

void
braid_relay_batch_put(StringInfo buf, const BraidRelayMessage *m)
{
	uint8 flags = (TIMESTAMP_IS_NOBEGIN(m->deliver_at) ? 0 : HAS_DELIVER_AT) |
				  (m->key.data ? HAS_KEY : 0) | (m->headers.data ? HAS_HEADERS : 0) |
				  (m->payload.data ? HAS_PAYLOAD : 0) | (m->path.data ? HAS_PATH : 0);

	pq_sendint16(buf, m->part);
	pq_sendint64(buf, m->id);
	pq_sendint8(buf, flags);
	pq_sendint16(buf, m->priority);
	if (flags & HAS_DELIVER_AT)
		pq_sendint64(buf, m->deliver_at);
	put_bytes(buf, &m->key);
	put_bytes(buf, &m->headers);
	put_bytes(buf, &m->payload);
	put_bytes(buf, &m->path);
}

void
braid_relay_batch_put_position(StringInfo buf, int part, const char *position)
{
	BraidRelayBytes text = {position, strlen(position)};

	pq_sendint16(buf, part);
	put_bytes(buf, &text);
}

bytea *
braid_relay_batch_end(StringInfo buf, const BraidRelayBatch *batch)
{
	StringInfoData header;

	initStringInfo(&header);
	pq_sendint8(&header, BATCH_VERSION);
	pq_sendint64(&header, batch->number);
	pq_sendint8(&header, batch->more);
	pq_sendint32(&header, batch->timeline);
	pq_sendint64(&header, batch->lsn);
	pq_sendint64(&header, batch->confirmed);
	pq_sendint64(&header, batch->behind);
	pq_sendint64(&header, batch->oldest);
	pq_sendint32(&header, batch->nmessages);
	pq_sendint32(&header, batch->npositions);
	Assert(header.len == HEADER_SIZE);
	memcpy(buf->data + VARHDRSZ, header.data, HEADER_SIZE);
	pfree(header.data);
	SET_VARSIZE(buf->data, buf->len);
	return (bytea *) buf->data;
}

/* ---------------------------------------------------------------- reading */

void
braid_relay_batch_read(StringInfo buf, BraidRelayBatch *batch)
{
	if (pq_getmsgbyte(buf) != BATCH_VERSION)
		ereport(ERROR, (errcode(ERRCODE_PROTOCOL_VIOLATION),
						errmsg("the source of the relay speaks another version of its protocol"),
						errhint("Install the same version of braid on both servers.")));
	batch->number = pq_getmsgint64(buf);
	batch->more = pq_getmsgbyte(buf) != 0;
	batch->timeline = pq_getmsgint(buf, 4);
	batch->lsn = pq_getmsgint64(buf);
	batch->confirmed = pq_getmsgint64(buf);
	batch->behind = pq_getmsgint64(buf);
	batch->oldest = pq_getmsgint64(buf);
	batch->nmessages = pq_getmsgint(buf, 4);
	batch->npositions = pq_getmsgint(buf, 4);
}

static BraidRelayBytes
get_bytes(StringInfo buf, bool is_there)
{
	BraidRelayBytes b = {NULL, 0};

	if (!is_there)
		return b;
	b.len = pq_getmsgint(buf, 4);
	b.data = pq_getmsgbytes(buf, b.len);
	return b;
}

void
braid_relay_batch_get(StringInfo buf, BraidRelayMessage *m)
{
	uint8 flags;

	m->part = pq_getmsgint(buf, 2);
	m->id = pq_getmsgint64(buf);
	flags = pq_getmsgbyte(buf);
	m->priority = (int16) pq_getmsgint(buf, 2);
	m->deliver_at = flags & HAS_DELIVER_AT ? pq_getmsgint64(buf) : DT_NOBEGIN;
	m->key = get_bytes(buf, flags & HAS_KEY);
	m->headers = get_bytes(buf, flags & HAS_HEADERS);
	m->payload = get_bytes(buf, flags & HAS_PAYLOAD);
	m->path = get_bytes(buf, flags & HAS_PATH);
}

void
braid_relay_batch_get_position(StringInfo buf, int *part, char **position)
{
	BraidRelayBytes text;

	*part = pq_getmsgint(buf, 2);
	text = get_bytes(buf, true);
	*position = pnstrdup(text.data, text.len);
}

void
braid_relay_batch_read_end(StringInfo buf)
{
	pq_getmsgend(buf);
}
