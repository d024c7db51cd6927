/*
 * latency.c
 *	  When the transactions of a cycle were committed.
 *
 * NOTES
 *	  A view makes a transaction visible when the cycle commits that brought its
 *	  rows.  So that no list of all transactions has to be kept until then, which
 *	  can be very many after a pause, they are put together by the tables that
 *	  they have changed, with a distribution of their ages at the begin of the
 *	  cycle:
 *
 *		{orders}			ages of the transactions that changed orders alone
 *		{orders, payments}	of those that changed both
 *
 *	  To a view each set counts that has one of its tables; so a transaction
 *	  counts once, however many of them it has changed.  There is one exception:
 *	  the rows of transactions that were visible while their tables could not be
 *	  locked are kept by table (source.c), and when they are let go a transaction
 *	  counts once for each of these.
 *
 *	  Sets of several tables are few, unless writers choose their tables at
 *	  random.  When there are too many, a transaction counts for each of its
 *	  tables instead.
 */
#include "postgres.h"

#include "capture/latency.h"
#include "common/histogram.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define MAX_TABLES 8 /* of one set */
#define MAX_JOINT_SETS 64

/* The tables that a transaction has changed, and the ages of all such transactions. */
typedef struct TableSet
{
	int ntables;
	Oid tables[MAX_TABLES]; /* sorted */
	BraidDistribution ages;
} TableSet;

static MemoryContext cycle_context = NULL;
static List *sets = NIL; /* TableSet */
static int joint_sets;	 /* those of several tables */
static TimestampTz begun;
static uint64 transactions;

/* The transaction whose rows come in. */
static struct
{
	TransactionId xid; /* InvalidTransactionId: none */
	TimestampTz committed;
	bool is_split; /* it counts for each of its tables */
	int ntables;
	Oid tables[MAX_TABLES];
} now;

void
braid_latency_setup(void)
{
	cycle_context =
		AllocSetContextCreate(TopMemoryContext, "braid latencies", ALLOCSET_DEFAULT_SIZES);
}

void
braid_latency_begin_cycle(void)
{
	if (sets != NIL)
		MemoryContextReset(cycle_context);
	sets = NIL;
	joint_sets = 0;
	transactions = 0;
	now.xid = InvalidTransactionId;
	begun = GetCurrentTimestamp();
}

static TableSet *
find_set(const Oid *tables, int ntables)
{
	ListCell *lc;

	foreach (lc, sets)
	{
		TableSet *s = lfirst(lc);

		if (s->ntables == ntables && memcmp(s->tables, tables, sizeof(Oid) * ntables) == 0)
			return s;
	}
	return NULL;
}

static TableSet *
make_set(const Oid *tables, int ntables)
{
	MemoryContext old = MemoryContextSwitchTo(cycle_context);
	TableSet *s = palloc0(sizeof(TableSet));

	memcpy(s->tables, tables, sizeof(Oid) * ntables);
	s->ntables = ntables;
	sets = lappend(sets, s);
	MemoryContextSwitchTo(old);
	return s;
}

/* Counts the transaction for tables that it has changed; false if there is no room. */
static bool
count(const Oid *tables, int ntables)
{
	TableSet *s = find_set(tables, ntables);

	if (s == NULL)
	{
		if (ntables > 1 && joint_sets >= MAX_JOINT_SETS)
			return false;
		joint_sets += ntables > 1;
		s = make_set(tables, ntables);
	}
	braid_distribution_add(&s->ages, begun - now.committed);
	return true;
}

static void
count_each(void)
{
	for (int i = 0; i < now.ntables; i++)
		(void) count(&now.tables[i], 1);
	now.ntables = 0;
}

/* All rows of the transaction have come. */
static void
end_transaction(void)
{
	if (now.xid == InvalidTransactionId)
		return;
	if (now.is_split || !count(now.tables, now.ntables))
		count_each();
	now.xid = InvalidTransactionId;
}

static void
add_table(Oid relid)
{
	int i = now.ntables;

	for (int j = 0; j < now.ntables; j++)
		if (now.tables[j] == relid)
			return;
	if (now.ntables == MAX_TABLES)
	{
		now.is_split = true;
		count_each();
		i = 0;
	}
	while (i > 0 && now.tables[i - 1] > relid)
	{
		now.tables[i] = now.tables[i - 1];
		i--;
	}
	now.tables[i] = relid;
	now.ntables++;
}

void
braid_latency_note(BraidSource *source, TransactionId xid, TimestampTz committed)
{
	if (xid != now.xid)
	{
		end_transaction();
		now.xid = xid;
		now.committed = committed;
		now.is_split = false;
		now.ntables = 0;
		transactions++;
	}
	add_table(source->relid);
}

uint64
braid_latency_transactions(void)
{
	return transactions;
}

static bool
has_any(TableSet *s, List *relids)
{
	for (int i = 0; i < s->ntables; i++)
		if (list_member_oid(relids, s->tables[i]))
			return true;
	return false;
}

uint64
braid_capture_add_latencies(List *relids, TimestampTz visible, BraidHistogram *h)
{
	uint64 n = 0;
	ListCell *lc;

	end_transaction();
	foreach (lc, sets)
	{
		TableSet *s = lfirst(lc);

		if (!has_any(s, relids))
			continue;
		braid_histogram_add_all(h, &s->ages, visible - begun);
		n += s->ages.n;
	}
	return n;
}
