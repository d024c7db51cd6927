/*
 * frontier.c
 *	  The set of transactions that a consumer has seen: a snapshot.
 *
 * NOTES
 *	  Stored as pg_snapshot, with 64-bit transaction ids: the frontier of a
 *	  table that nobody writes may be older than a 32-bit id can tell.  Only
 *	  top-level ids count, as decoding reports a transaction by its top id.
 */
#include "postgres.h"

#include "access/transam.h"
#include "capture/frontier.h"
#include "lib/stringinfo.h"

/* Of a transaction that has begun, and not more than 2^31 ago. */
static uint64
widen(TransactionId xid)
{
	uint64 next = U64FromFullTransactionId(ReadNextFullTransactionId());

	return next - (uint32) ((uint32) next - xid);
}

static int
compare_xids(const void *a, const void *b)
{
	uint64 x = *(const uint64 *) a;
	uint64 y = *(const uint64 *) b;

	return x < y ? -1 : x > y ? 1 : 0;
}

void
braid_frontier_from_snapshot(BraidFrontier *f, Snapshot snapshot)
{
	Assert(!snapshot->takenDuringRecovery);
	f->xmin = widen(snapshot->xmin);
	f->xmax = widen(snapshot->xmax);
	f->nxip = snapshot->xcnt;
	f->xip = palloc(sizeof(uint64) * (f->nxip + 1));
	for (int i = 0; i < f->nxip; i++)
		f->xip[i] = widen(snapshot->xip[i]);
	qsort(f->xip, f->nxip, sizeof(uint64), compare_xids);
}

void
braid_frontier_parse(BraidFrontier *f, const char *text)
{
	int room = 1;
	char *p;

	for (const char *c = text; *c; c++)
		room += *c == ',';
	f->xip = palloc(sizeof(uint64) * room);
	f->nxip = 0;
	f->xmin = strtou64(text, &p, 10);
	f->xmax = strtou64(p + 1, &p, 10);
	while (*p && p[1])
		f->xip[f->nxip++] = strtou64(p + 1, &p, 10);
}

char *
braid_frontier_format(const BraidFrontier *f)
{
	StringInfoData s;

	initStringInfo(&s);
	appendStringInfo(&s, UINT64_FORMAT ":" UINT64_FORMAT ":", f->xmin, f->xmax);
	for (int i = 0; i < f->nxip; i++)
		appendStringInfo(&s, "%s" UINT64_FORMAT, i ? "," : "", f->xip[i]);
	return s.data;
}

void
braid_frontier_copy(BraidFrontier *to, const BraidFrontier *from)
{
	*to = *from;
	to->xip = palloc(sizeof(uint64) * (from->nxip + 1));
	memcpy(to->xip, from->xip, sizeof(uint64) * from->nxip);
}

bool
braid_frontier_contains(const BraidFrontier *f, TransactionId xid)
{
	uint64 x = widen(xid);

	if (x < f->xmin)
		return true;
	if (x >= f->xmax)
		return false;
	return bsearch(&x, f->xip, f->nxip, sizeof(uint64), compare_xids) == NULL;
}
