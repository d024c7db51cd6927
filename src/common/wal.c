/*
 * wal.c
 *	  Positions in the write-ahead log.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "common/wal.h"

/*
 * PostgreSQL tells where the next record would begin.  After one that ends with its page that is
 * behind the next page's header, which is not written yet: nobody could wait for it, or
 * read up to there.  The header is a long one on the first page of a segment, and there
 * alone: elsewhere the same number of bytes are a header and the end of a record, and to
 * leave that out would be to lose it.
 */
XLogRecPtr
braid_wal_end(void)
{
	XLogRecPtr next = GetXLogInsertRecPtr();
	bool first = XLogSegmentOffset(next, wal_segment_size) < XLOG_BLCKSZ;
	uint32 header = first ? SizeOfXLogLongPHD : SizeOfXLogShortPHD;

	return next % XLOG_BLCKSZ == header ? next - header : next;
}
