/*
 * run.c
 *	  Running the statements of nodes within a cycle.
 *
 * NOTES
 *	  Deltas are ephemeral named relations, as transition tables are.  The
 *	  planner cannot know how large one is, and a plan for ten rows is a bad one
 *	  for a million.  So each statement has a plan for each combination of tiny, small,
 *	  medium and large relations that it has met, made with numbers of rows that
 *	  are typical.
 *
 *	  Which inputs have changed in a cycle shows in the text of a statement.  A
 *	  plan is found by the text alone; there are as many as ways in which a view
 *	  is really followed.
 */
#include "postgres.h"

#include "capture/capture.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "executor/tstoreReceiver.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "tcop/dest.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "view/bulk.h"
#include "view/merge.h"
#include "view/run.h"

#define SIZE_CLASSES 5
#define SIZE_CLASS_BITS 3
#define MAX_CLASSIFIED 20 /* relations whose sizes fit the key of a plan */

static const struct
{
	int64 up_to;
	double planned;
} size_classes[SIZE_CLASSES] = {
	{4, 2}, {100, 20}, {1500, 300}, {20000, 4000}, {PG_INT64_MAX, 500000}};

typedef struct PlanKey
{
	const char *sql;
	uint64 sizes; /* classes of nrows and of the relations that are read */
} PlanKey;

typedef struct KeptPlan
{
	PlanKey key;
	SPIPlanPtr plan;
} KeptPlan;

/* An ephemeral relation of the view that is being followed. */
typedef struct NamedRows
{
	char *name;
	TupleDesc desc;
	Tuplestorestate *rows;
	int size_class;
	bool is_ours; /* to be freed at the end */
	BraidDelta
		*batches; /* of a stream: its rows are made when a statement asks for them; or NULL */
	BraidSource *source;
	EphemeralNamedRelation enr;
} NamedRows;

static HTAB *plans = NULL;
static List *relations = NIL; /* NamedRows, in the SPI connection's context */
static int64 processed = 0;
static int memory = 0; /* that ours may take, kB */

/* ---------------------------------------------------------------- plans */

static uint32
hash_plan_key(const void *key, Size size)
{
	const PlanKey *k = key;

	return hash_combine(
		DatumGetUInt32(hash_any((const unsigned char *) k->sql, (int) strlen(k->sql))),
		(uint32) k->sizes ^ (uint32) (k->sizes >> 32));
}

static int
compare_plan_keys(const void *a, const void *b, Size size)
{
	const PlanKey *x = a;
	const PlanKey *y = b;

	return x->sizes != y->sizes || strcmp(x->sql, y->sql) != 0;
}

HTAB *
braid_run_make_plans(MemoryContext context)
{
	HASHCTL ctl = {.keysize = sizeof(PlanKey),
				   .entrysize = sizeof(KeptPlan),
				   .hash = hash_plan_key,
				   .match = compare_plan_keys,
				   .hcxt = context};

	return hash_create("braid plans of a view", 16, &ctl,
					   HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
}

void
braid_run_free_plans(HTAB *table)
{
	HASH_SEQ_STATUS status;
	KeptPlan *kept;

	hash_seq_init(&status, table);
	while ((kept = hash_seq_search(&status)) != NULL)
		SPI_freeplan(kept->plan);
	hash_destroy(table);
}

static int
size_class(int64 nrows)
{
	int i = 0;

	while (nrows > size_classes[i].up_to)
		i++;
	return i;
}

/* Relations that are only part of a longer name cost a plan, and nothing else. */
static uint64
sizes_for(const char *sql, int64 nrows)
{
	uint64 sizes = size_class(nrows);
	int n = 0;
	ListCell *lc;

	foreach (lc, relations)
	{
		NamedRows *r = lfirst(lc);

		if (n < MAX_CLASSIFIED && strstr(sql, r->name) != NULL)
			sizes = (sizes << SIZE_CLASS_BITS) | (uint64) r->size_class, n++;
	}
	return sizes;
}

SPIPlanPtr
braid_run_plan(const char *sql, int64 nrows)
{
	PlanKey key = {sql, sizes_for(sql, nrows)};
	KeptPlan *kept = hash_search(plans, &key, HASH_FIND, NULL);
	MemoryContext old = CurrentMemoryContext; /* SPI leaves its own behind */
	SPIPlanPtr plan;

	if (kept)
		return kept->plan;
	plan = SPI_prepare(sql, 0, NULL);
	MemoryContextSwitchTo(old);
	if (plan == NULL)
		elog(ERROR, "could not prepare \"%s\": %s", sql, SPI_result_code_string(SPI_result));
	key.sql = MemoryContextStrdup(GetMemoryChunkContext(plans), sql);
	SPI_keepplan(plan);
	kept = hash_search(plans, &key, HASH_ENTER, NULL);
	kept->plan = plan;
	return plan;
}

/* ---------------------------------------------------------------- relations */

int
braid_run_take_memory(int at_most)
{
	int kb = braid_capture_take_memory(at_most);

	memory += kb;
	return kb;
}

void
braid_run_return_memory(int kb)
{
	braid_capture_return_memory(kb);
	memory -= kb;
}

void
braid_run_begin(HTAB *table)
{
	plans = table;
	relations = NIL;
	processed = 0;
	braid_run_return_memory(memory); /* what an error has left */
}

void
braid_run_end(void)
{
	ListCell *lc;

	foreach (lc, relations)
	{
		NamedRows *r = lfirst(lc);

		if (r->is_ours)
			tuplestore_end(r->rows);
	}
	relations = NIL;
	plans = NULL;
	braid_run_return_memory(memory);
}

static NamedRows *
find_rows(const char *name)
{
	ListCell *lc;

	foreach (lc, relations)
		if (strcmp(((NamedRows *) lfirst(lc))->name, name) == 0)
			return lfirst(lc);
	return NULL;
}

/* Says that there are nrows rows, which are put there at once or later. */
static NamedRows *
register_rows(const char *name, TupleDesc desc, int64 nrows)
{
	NamedRows *r = palloc0(sizeof(NamedRows));

	Assert(find_rows(name) == NULL);
	r->name = pstrdup(name);
	r->desc = desc;
	r->size_class = size_class(nrows);
	r->enr = palloc0(sizeof(EphemeralNamedRelationData));
	r->enr->md.name = r->name;
	r->enr->md.tupdesc = desc;
	r->enr->md.enrtype = ENR_NAMED_TUPLESTORE;
	r->enr->md.enrtuples = size_classes[r->size_class].planned;
	relations = lappend(relations, r);
	if (SPI_register_relation(r->enr) != SPI_OK_REL_REGISTER)
		elog(ERROR, "could not register rows as \"%s\"", name);
	return r;
}

static void
set_rows(NamedRows *r, Tuplestorestate *rows)
{
	r->rows = rows;
	r->enr->reldata = rows;
}

static void
name_rows(const char *name, Tuplestorestate *rows, TupleDesc desc, bool is_ours)
{
	NamedRows *r = register_rows(name, desc, tuplestore_tuple_count(rows));

	set_rows(r, rows);
	r->is_ours = is_ours;
}

void
braid_run_name(const char *name, Tuplestorestate *rows, TupleDesc desc)
{
	name_rows(name, rows, desc, false);
}

void
braid_run_name_batches(const char *name, BraidDelta *batches, BraidSource *source)
{
	NamedRows *r = register_rows(name, source->desc, batches->nrows);

	r->batches = batches;
	r->source = source;
}

/* Makes the rows of streams that a statement reads. */
static void
make_rows_for(const char *sql)
{
	ListCell *lc;

	foreach (lc, relations)
	{
		NamedRows *r = lfirst(lc);

		if (r->rows || strstr(sql, r->name) == NULL)
			continue;
		braid_delta_make_rows_of(r->batches, r->source);
		set_rows(r, r->batches->rows);
	}
}

int64
braid_run_count(const char *name)
{
	NamedRows *r = find_rows(name);

	if (r == NULL)
		return -1;
	return r->rows ? tuplestore_tuple_count(r->rows) : r->batches->nrows;
}

Tuplestorestate *
braid_run_rows(const char *name, TupleDesc *desc)
{
	NamedRows *r = find_rows(name);

	*desc = r->desc;
	return r->rows;
}

BraidDelta *
braid_run_batches(const char *name, BraidSource **source)
{
	NamedRows *r = find_rows(name);

	*source = r->source;
	return r->batches;
}

QueryEnvironment *
braid_run_environment(void)
{
	QueryEnvironment *environment = create_queryEnv();
	ListCell *lc;

	foreach (lc, relations)
		register_ENR(environment, ((NamedRows *) lfirst(lc))->enr);
	return environment;
}

/* Of types that are passed by value. */
Datum
braid_run_value(const char *name, int column, bool *isnull)
{
	NamedRows *r = find_rows(name);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(r->desc, &TTSOpsMinimalTuple);
	Datum value;

	tuplestore_select_read_pointer(r->rows, 0);
	tuplestore_rescan(r->rows);
	if (!tuplestore_gettupleslot(r->rows, true, false, slot))
		elog(ERROR, "\"%s\" has no rows", name);
	value = slot_getattr(slot, column, isnull);
	Assert(TupleDescAttr(r->desc, column - 1)->attbyval);
	ExecDropSingleTupleTableSlot(slot);
	return value;
}

int64
braid_run_processed(void)
{
	return processed;
}

/* ---------------------------------------------------------------- statements */

void
braid_run(const char *sql, int64 nrows)
{
	int result;

	make_rows_for(sql);
	if (braid_bulk_run(sql, &processed))
		return;
	result = SPI_execute_plan(braid_run_plan(sql, nrows), NULL, NULL, false, 0);
	if (result < 0)
		elog(ERROR, "could not run \"%s\": %s", sql, SPI_result_code_string(result));
	processed += SPI_processed;
}

void
braid_run_merge(const char *sql, int64 nrows)
{
	CachedPlan *plan;
	bool done;

	make_rows_for(sql);
	plan = SPI_plan_get_cached_plan(braid_run_plan(sql, nrows));
	done = list_length(plan->stmt_list) == 1 &&
		   braid_merge_run(linitial(plan->stmt_list), sql, braid_run_environment(), &processed);
	ReleaseCachedPlan(plan, CurrentResourceOwner);
	if (!done)
		braid_run(sql, nrows);
}

TupleDesc
braid_run_append(Tuplestorestate *rows, const char *sql, int64 nrows)
{
	MemoryContext context = CurrentMemoryContext; /* SPI leaves its own behind */
	SPIPlanPtr plan = braid_run_plan(sql, nrows);
	CachedPlanSource *source = linitial(SPI_plan_get_plan_sources(plan));
	SPIExecuteOptions options = {.dest = CreateDestReceiver(DestTuplestore)};
	int result;

	make_rows_for(sql);
	SetTuplestoreDestReceiverParams(options.dest, rows, context, false, NULL, NULL);
	result = SPI_execute_plan_extended(plan, &options);
	if (result < 0)
		elog(ERROR, "could not run \"%s\": %s", sql, SPI_result_code_string(result));
	options.dest->rDestroy(options.dest);
	MemoryContextSwitchTo(context);
	return CreateTupleDescCopy(source->resultDesc);
}

int64 *
braid_run_values(const char *sql, int64 nrows, int *n)
{
	int64 *values;
	bool isnull;
	int result;

	make_rows_for(sql);
	result = SPI_execute_plan(braid_run_plan(sql, nrows), NULL, NULL, true, 0);
	if (result != SPI_OK_SELECT)
		elog(ERROR, "could not run \"%s\": %s", sql, SPI_result_code_string(result));
	*n = (int) SPI_processed;
	values = palloc(sizeof(int64) * (*n + 1));
	for (int i = 0; i < *n; i++)
		values[i] =
			DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_freetuptable(SPI_tuptable);
	return values;
}

Tuplestorestate *
braid_run_begin_rows(void)
{
	return tuplestore_begin_heap(false, false, braid_run_take_memory(work_mem));
}

int64
braid_run_own(const char *name, Tuplestorestate *rows, TupleDesc desc)
{
	name_rows(name, rows, desc, true);
	return tuplestore_tuple_count(rows);
}

TupleDesc
braid_run_describe(const char *sql, int64 nrows)
{
	CachedPlanSource *source = linitial(SPI_plan_get_plan_sources(braid_run_plan(sql, nrows)));

	return CreateTupleDescCopy(source->resultDesc);
}

int64
braid_run_into(const char *name, const char *sql, int64 nrows)
{
	Tuplestorestate *rows = braid_run_begin_rows();

	return braid_run_own(name, rows, braid_run_append(rows, sql, nrows));
}
