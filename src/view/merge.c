/*
 * merge.c
 *	  One view's state follows one delta.
 *
 * NOTES
 *	  The delta is an ephemeral named relation, as transition tables are.  The
 *	  planner cannot know how large one is, so each statement has a plan for
 *	  small, medium and large ones, made with a number of rows that is typical.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "executor/tstoreReceiver.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "tcop/dest.h"
#include "utils/plancache.h"
#include "utils/tuplestore.h"
#include "view/merge.h"

static const struct
{
	int64 up_to;
	double planned;
} size_classes[SIZE_CLASSES] = {{100, 10}, {20000, 2000}, {PG_INT64_MAX, 500000}};

static int
size_class(int64 nrows)
{
	int i = 0;

	while (nrows > size_classes[i].up_to)
		i++;
	return i;
}

/* Makes rows readable by name for the statements that follow. */
static void
name_rows(const char *name, Tuplestorestate *rows, TupleDesc desc, int class)
{
	EphemeralNamedRelation enr = palloc0(sizeof(EphemeralNamedRelationData));

	enr->md.name = pstrdup(name);
	enr->md.tupdesc = desc;
	enr->md.enrtype = ENR_NAMED_TUPLESTORE;
	enr->md.enrtuples = size_classes[class].planned;
	enr->reldata = rows;
	if (SPI_register_relation(enr) != SPI_OK_REL_REGISTER)
		elog(ERROR, "could not register rows as \"%s\"", name);
}

static SPIPlanPtr
plan_for(StatementPlans *plans, const char *sql, int class)
{
	SPIPlanPtr *plan = &plans->plans[class];

	if (*plan == NULL)
	{
		*plan = SPI_prepare(sql, 0, NULL);
		if (*plan == NULL)
			elog(ERROR, "could not prepare \"%s\"", sql);
		SPI_keepplan(*plan);
	}
	return *plan;
}

static void
run(StatementPlans *plans, const char *sql, int class)
{
	int result;

	if (sql == NULL)
		return;
	result = SPI_execute_plan(plan_for(plans, sql, class), NULL, NULL, false, 0);
	if (result < 0)
		elog(ERROR, "could not run \"%s\": %s", sql, SPI_result_code_string(result));
}

/* Runs a SELECT, and makes its rows readable by name.  Returns their number. */
static int64
run_into(const char *name, StatementPlans *plans, const char *sql, int class)
{
	SPIPlanPtr plan = plan_for(plans, sql, class);
	Tuplestorestate *rows = tuplestore_begin_heap(false, false, work_mem);
	SPIExecuteOptions options = {.dest = CreateDestReceiver(DestTuplestore)};
	CachedPlanSource *source = linitial(SPI_plan_get_plan_sources(plan));
	int result;

	SetTuplestoreDestReceiverParams(options.dest, rows, CurrentMemoryContext, false, NULL, NULL);
	result = SPI_execute_plan_extended(plan, &options);
	if (result < 0)
		elog(ERROR, "could not run \"%s\": %s", sql, SPI_result_code_string(result));
	name_rows(name, rows, CreateTupleDescCopy(source->resultDesc), class);
	return tuplestore_tuple_count(rows);
}

/* The keys in "redo" are removed from the state and computed from the table. */
static void
recompute(KeptView *v, int class)
{
	for (int i = 0; i < 2; i++)
		run(&v->plans.remove[i], v->sql->remove[i], class);
	for (int i = 0; i < 2; i++)
		run(&v->plans.recompute[i], v->sql->recompute[i], class);
}

/* What the delta does to each key, as rows by name.  Returns how many keys. */
static int64
group_delta(KeptView *v, const char *name, BraidDelta *delta, int class)
{
	if (delta->retracts)
		return run_into(name, &v->plans.groups, v->sql->groups, class);
	return run_into(name, &v->plans.inserted_groups, v->sql->inserted_groups, class);
}

void
braid_merge_delta(KeptView *v, BraidSource *source)
{
	BraidDelta *delta = &source->delta;
	int class = size_class(delta->nrows);
	int64 nredo = 0;

	name_rows(DELTA_NAME, delta->rows, source->desc, class);
	if (v->sql->merge == NULL)
	{
		/* Every key that is touched is recomputed. */
		nredo = group_delta(v, REDO_NAME, delta, class);
		if (nredo > 0)
			recompute(v, class);
		return;
	}
	if (group_delta(v, GROUPS_NAME, delta, class) == 0)
		return;
	if (delta->retracts && v->sql->redo)
		nredo = run_into(REDO_NAME, &v->plans.redo, v->sql->redo, class);
	run(&v->plans.merge, v->sql->merge, class);
	if (delta->retracts)
		for (int i = 0; i < 2; i++)
			run(&v->plans.purge[i], v->sql->purge[i], class);
	if (nredo > 0)
		recompute(v, size_class(nredo));
}

void
braid_merge_populate(KeptView *v)
{
	if (SPI_execute(v->sql->clear, false, 0) < 0 || SPI_execute(v->sql->populate, false, 0) < 0)
		elog(ERROR, "could not populate a continuous view");
}

static void
free_statement(StatementPlans *plans)
{
	for (int i = 0; i < SIZE_CLASSES; i++)
		if (plans->plans[i])
			SPI_freeplan(plans->plans[i]);
}

void
braid_merge_free_plans(KeptView *v)
{
	free_statement(&v->plans.groups);
	free_statement(&v->plans.inserted_groups);
	free_statement(&v->plans.redo);
	free_statement(&v->plans.merge);
	for (int i = 0; i < 2; i++)
	{
		free_statement(&v->plans.purge[i]);
		free_statement(&v->plans.remove[i]);
		free_statement(&v->plans.recompute[i]);
	}
}
