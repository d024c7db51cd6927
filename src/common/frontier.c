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
#include "common/frontier.h"
#include "lib/qunique.h"
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

	/* Twice: a transaction that is just being prepared, which its backend has as well. */
	f->nxip = qunique(f->xip, f->nxip, sizeof(uint64), compare_xids);
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
	f->xmax = *p == ':' ? strtou64(p + 1, &p, 10) : 0;
	while (*p && p[1] && f->nxip < room)
		f->xip[f->nxip++] = strtou64(p + 1, &p, 10);
	if (f->xmin == 0 || f->xmax < f->xmin || (*p && strcmp(p, ":") != 0))
		ereport(ERROR, (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
						errmsg("invalid input syntax for type %s: \"%s\"", "pg_snapshot", text)));
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

void
braid_frontier_exclude(BraidFrontier *f, uint64 xid)
{
	int n = f->nxip;

	if (!braid_frontier_contains_full(f, xid))
		return;
	f->xip = repalloc(f->xip, sizeof(uint64) * (f->nxip + 1));
	for (; n > 0 && f->xip[n - 1] > xid; n--)
		f->xip[n] = f->xip[n - 1];
	f->xip[n] = xid;
	f->nxip++;
	f->xmin = Min(f->xmin, xid);
}

bool
braid_frontier_contains(const BraidFrontier *f, TransactionId xid)
{
	return braid_frontier_contains_full(f, widen(xid));
}

bool
braid_frontier_contains_full(const BraidFrontier *f, uint64 xid)
{
	if (xid < f->xmin)
		return true;
	if (xid >= f->xmax)
		return false;
	return bsearch(&xid, f->xip, f->nxip, sizeof(uint64), compare_xids) == NULL;
}

/*
 * The server counts xmax up, and while it stays the same transactions can only end: the
 * later of two has fewer exceptions.
 */
int
braid_frontier_compare(const BraidFrontier *a, const BraidFrontier *b)
{
	if (a->xmax != b->xmax)
		return a->xmax < b->xmax ? -1 : 1;
	return a->nxip == b->nxip ? 0 : a->nxip > b->nxip ? -1 : 1;
}
