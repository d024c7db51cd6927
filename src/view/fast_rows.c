/*
 * fast_rows.c
 *	  Rows of a delta as columns, some of them at a time.
 *
 * NOTES
 *	  Conditions and expressions are those of the plan that PostgreSQL has made for
 *	  reading the delta, and are evaluated by it.  Rows that do not meet the
 *	  conditions are left out, so that whoever goes through a column needs to look
 *	  at nothing else.
 *
 *	  Of rows, other than of messages, what is simple is computed when they are in columns.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "nodes/nodeFuncs.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"
#include "view/fast_rows.h"
#include "view/fast_vector.h"
#include "view/run.h"

/* ---------------------------------------------------------------- what is needed */

static AttrNumber
plain_column(Expr *expr)
{
	return IsA(expr, Var) ? ((Var *) expr)->varattno : 0;
}

FastColumn *
braid_fast_column(FastRows *rows, Expr *expr, FastColumn *filter)
{
	FastColumn *column;
	ListCell *lc;

	foreach (lc, rows->columns)
	{
		column = lfirst(lc);
		if (column->filter == filter && equal(column->expr, expr))
			return column;
	}
	column = palloc0(sizeof(FastColumn));
	column->expr = expr;
	column->filter = filter;
	column->attnum = plain_column(expr);
	column->type = getBaseType(exprType((Node *) expr));
	column->is_null_only = true;
	get_typlenbyval(column->type, &column->length, &column->by_value);
	rows->columns = lappend(rows->columns, column);
	return column;
}

/* ---------------------------------------------------------------- begin and end */

/* The columns that an expression refers to: the last of them, and all if it is computed of columns. */
typedef struct Inputs
{
	FastRows *rows;
	bool are_columns;
	bool are_kept;
} Inputs;

static bool
find_inputs(Node *node, Inputs *inputs)
{
	FastRows *rows = inputs->rows;
	Var *var = (Var *) node;

	if (node == NULL)
		return false;
	if (!IsA(node, Var))
		return expression_tree_walker(node, find_inputs, inputs);
	rows->last = Max(rows->last, var->varattno);
	if (inputs->are_columns)
	{
		FastColumn *input = braid_fast_column(rows, (Expr *) var, NULL);

		/* Whatever else is in a simple expression over rows is asked only whether it is null. */
		if (rows->message || input->by_value)
			input->is_null_only = false;
		input->is_kept |= inputs->are_kept;
		rows->inputs = list_append_unique_ptr(rows->inputs, input);
	}
	return false;
}

/* Of whatever is not a column by itself, and of conditions. */
static void
find_all_inputs(FastRows *rows)
{
	int n = list_length(rows->columns);
	Inputs inputs = {rows, rows->message != NULL, true};

	for (int i = 0; i < n; i++)
	{
		FastColumn *c = list_nth(rows->columns, i);

		c->is_kept = true;
		rows->last = Max(rows->last, c->attnum);
		if (c->attnum == 0)
			(void) find_inputs((Node *) c->expr, &inputs);
	}
	inputs.are_kept = false;
	(void) find_inputs((Node *) rows->scan->plan.qual, &inputs);
}

void
braid_fast_column_make_room(FastColumn *c, int nrows)
{
	if (nrows <= c->nroom)
		return;
	c->nroom = nrows;
	c->own_values = palloc(sizeof(Datum) * nrows);
	c->own_nulls = palloc(sizeof(bool) * nrows);
	if (c->length > 0 && !c->by_value && !c->is_null_only)
		c->own_room = palloc((Size) c->length * nrows);
}

void
braid_fast_rows_make_room(FastRows *rows, int nrows)
{
	if (nrows <= rows->nroom)
		return;
	rows->nroom = nrows;
	rows->passed = palloc(sizeof(int) * nrows);
	rows->meets = palloc(sizeof(bool) * nrows);
	rows->no_nulls = palloc0(sizeof(bool) * nrows);
}

/* Room for rows that are put into columns one by one. */
static void
make_room(FastRows *rows, int nrows)
{
	ListCell *lc;

	braid_fast_rows_make_room(rows, nrows);
	foreach (lc, rows->columns)
	{
		FastColumn *c = lfirst(lc);

		braid_fast_column_make_room(c, nrows);
		c->values = c->own_values;
		c->nulls = c->own_nulls;
	}
}

/*
 * A node of the executor for the expressions to belong to, so that they can be
 * compiled if the plan says so.
 */
static PlanState *
make_parent(FastRows *rows, TupleTableSlot *slot)
{
	NamedTuplestoreScanState *parent = makeNode(NamedTuplestoreScanState);

	parent->ss.ps.plan = &rows->scan->plan;
	parent->ss.ps.state = rows->estate;
	parent->ss.ps.scanops = slot->tts_ops;
	parent->ss.ps.scanopsset = true;
	parent->ss.ps.scanopsfixed = true;
	return &parent->ss.ps;
}

static bool
is_filter(FastRows *rows, FastColumn *c)
{
	ListCell *lc;

	foreach (lc, rows->columns)
		if (((FastColumn *) lfirst(lc))->filter == c)
			return true;
	return false;
}

/* NULL: it is not simple.  Filters are asked as each row is read. */
static FastVector *
make_vector(FastRows *rows, FastColumn *c)
{
	Inputs inputs = {rows, true, true};

	if (rows->message)
		return braid_fast_vector(rows, c->expr);
	if (rows->are_few || c->filter || is_filter(rows, c))
		return NULL;
	c->vector = braid_fast_vector(rows, c->expr);
	if (c->vector)
		(void) find_inputs((Node *) c->expr, &inputs);
	return c->vector;
}

static void
make_expressions(FastRows *rows, int jit_flags)
{
	PlanState *parent;
	PlanState *inputs_parent;
	ListCell *lc;

	rows->estate->es_jit_flags = jit_flags;
	parent = make_parent(rows, rows->slot);
	inputs_parent = make_parent(rows, rows->inputs_slot);
	rows->qual = ExecInitQual(rows->scan->plan.qual, parent);
	foreach (lc, rows->columns)
	{
		FastColumn *c = lfirst(lc);

		if (c->attnum > 0)
			continue;
		c->vector = make_vector(rows, c);
		c->state = ExecInitExpr(c->expr, c->vector ? inputs_parent : parent);
	}
}

/* All of the conditions, or none. */
static void
make_conditions(FastRows *rows)
{
	ListCell *lc;

	foreach (lc, rows->scan->plan.qual)
	{
		FastVector *condition = braid_fast_vector(rows, lfirst(lc));

		if (condition == NULL)
		{
			rows->conditions = NIL;
			return;
		}
		rows->conditions = lappend(rows->conditions, condition);
	}
}

void
braid_fast_rows_prepare(FastRows *rows, int jit_flags, TupleDesc desc)
{
	rows->estate = CreateExecutorState();
	rows->context = GetPerTupleExprContext(rows->estate);
	rows->inputs_slot = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	rows->slot =
		rows->message ? rows->inputs_slot : MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	ExecStoreAllNullTuple(rows->inputs_slot);
	find_all_inputs(rows);
	make_expressions(rows, jit_flags);
	if (rows->message)
		make_conditions(rows);
	else
		make_room(rows, rows->are_few ? FAST_FEW_ROWS : FAST_ROWS);
}

bool
braid_fast_rows_are_simple(FastRows *rows)
{
	ListCell *lc;

	find_all_inputs(rows);
	make_conditions(rows);
	foreach (lc, rows->columns)
	{
		FastColumn *c = lfirst(lc);

		if (c->attnum == 0 && (c->vector = braid_fast_vector(rows, c->expr)) == NULL)
			return false;
	}
	return list_length(rows->conditions) == list_length(rows->scan->plan.qual);
}

void
braid_fast_rows_open(FastRows *rows, PlannedStmt *stmt)
{
	char *name = ((NamedTuplestoreScan *) rows->scan)->enrname;
	BraidSource *source;
	BraidDelta *messages = braid_run_batches(name, &source);
	TupleDesc desc;

	rows->store = braid_run_rows(name, &desc);
	if (messages)
		rows->message = braid_fast_message_make(messages, source);
	else
		rows->are_few = tuplestore_tuple_count(rows->store) <= FAST_FEW_ROWS;
	braid_fast_rows_prepare(rows, stmt->jitFlags, desc);
	if (rows->message)
	{
		rows->next_message = braid_fast_batch_read;
		braid_delta_rewind(messages);
		return;
	}
	tuplestore_select_read_pointer(rows->store, 0);
	tuplestore_rescan(rows->store);
}

void
braid_fast_rows_close(FastRows *rows)
{
	if (rows->slot != rows->inputs_slot)
		ExecDropSingleTupleTableSlot(rows->slot);
	ExecDropSingleTupleTableSlot(rows->inputs_slot);
	FreeExecutorState(rows->estate);
}

/* ---------------------------------------------------------------- reading */

static inline void
take_value(FastRows *rows, FastColumn *c, int row)
{
	TupleTableSlot *slot = rows->slot;
	Datum value;
	bool isnull;

	if (braid_fast_is_filtered(c, row))
	{
		c->nulls[row] = true;
		c->any_null = true;
		return;
	}
	if (c->attnum > 0)
	{
		value = slot->tts_values[c->attnum - 1];
		isnull = slot->tts_isnull[c->attnum - 1];
	}
	else
		value = ExecEvalExprSwitchContext(c->state, rows->context, &isnull);
	c->nulls[row] = isnull;
	c->any_null |= isnull;
	if (isnull)
		c->values[row] = (Datum) 0;
	else if (!c->is_null_only)
		c->values[row] = c->by_value ? value : braid_fast_keep(c, row, value);
}

static void
take_row(FastRows *rows)
{
	ListCell *lc;

	foreach (lc, rows->columns)
	{
		FastColumn *c = lfirst(lc);

		if (c->vector == NULL)
			take_value(rows, c, rows->nrows);
	}
	rows->nrows++;
}

/* What is computed once rows are in columns. */
static void
compute_vectors(FastRows *rows)
{
	ListCell *lc;

	foreach (lc, rows->columns)
	{
		FastColumn *c = lfirst(lc);

		if (c->vector)
			(void) braid_fast_column_compute(rows, c);
	}
}

bool
braid_fast_rows_next(FastRows *rows)
{
	ListCell *lc;

	foreach (lc, rows->columns)
		((FastColumn *) lfirst(lc))->any_null = false;
	rows->nrows = 0;
	if (rows->message)
		return braid_fast_batch_next(rows);
	rows->context->ecxt_scantuple = rows->slot;
	while (rows->nrows < rows->nroom &&
		   tuplestore_gettupleslot(rows->store, true, false, rows->slot))
	{
		ResetExprContext(rows->context);
		slot_getsomeattrs(rows->slot, rows->last);
		if (ExecQual(rows->qual, rows->context))
			take_row(rows);
	}
	if (rows->nrows == 0)
		return false;
	compute_vectors(rows);
	return true;
}
