/*
 * fast_rows.c
 *	  Rows of a delta as columns, some of them at a time.
 *
 * NOTES
 *	  Conditions and expressions are those of the plan that PostgreSQL has made for
 *	  reading the delta, and are evaluated by it.  Rows that do not meet the
 *	  conditions are left out, so that whoever goes through a column needs to look
 *	  at nothing else.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "nodes/nodeFuncs.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"
#include "view/fast_group.h"

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

/* The last column that an expression refers to. */
static bool
find_last(Node *node, AttrNumber *last)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
		*last = Max(*last, ((Var *) node)->varattno);
	return expression_tree_walker(node, find_last, last);
}

static void
make_room(FastRows *rows, int nrows)
{
	ListCell *lc;

	foreach (lc, rows->columns)
	{
		FastColumn *c = lfirst(lc);

		c->values = palloc(sizeof(Datum) * nrows);
		c->nulls = palloc(sizeof(bool) * nrows);
		if (!c->by_value && !c->is_null_only)
			c->room = palloc((Size) c->length * nrows);
	}
	rows->nroom = nrows;
}

/*
 * A node of the executor for the expressions to belong to, so that they can be
 * compiled if the plan says so.
 */
static PlanState *
make_parent(FastRows *rows, PlannedStmt *stmt, const TupleTableSlotOps *ops)
{
	ScanState *parent = makeNode(ScanState);

	rows->estate->es_jit_flags = stmt->jitFlags;
	parent->ps.plan = &rows->scan->plan;
	parent->ps.state = rows->estate;
	parent->ps.scanops = ops;
	parent->ps.scanopsset = true;
	parent->ps.scanopsfixed = true;
	return &parent->ps;
}

void
braid_fast_rows_open(FastRows *rows, PlannedStmt *stmt, Tuplestorestate *store, TupleDesc desc)
{
	PlanState *parent;
	ListCell *lc;

	rows->estate = CreateExecutorState();
	rows->context = GetPerTupleExprContext(rows->estate);
	rows->store = store;
	rows->slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	rows->context->ecxt_scantuple = rows->slot;
	parent = make_parent(rows, stmt, &TTSOpsMinimalTuple);
	rows->qual = ExecInitQual(rows->scan->plan.qual, parent);
	(void) find_last((Node *) rows->scan->plan.qual, &rows->last);
	foreach (lc, rows->columns)
	{
		FastColumn *c = lfirst(lc);

		(void) find_last((Node *) c->expr, &rows->last);
		if (c->attnum == 0)
			c->state = ExecInitExpr(c->expr, parent);
	}
	make_room(rows, FAST_ROWS);
	tuplestore_select_read_pointer(store, 0);
	tuplestore_rescan(store);
}

void
braid_fast_rows_close(FastRows *rows)
{
	ExecDropSingleTupleTableSlot(rows->slot);
	FreeExecutorState(rows->estate);
}

/* ---------------------------------------------------------------- reading */

static inline bool
is_left_out(FastColumn *c, int row)
{
	return c->filter && (c->filter->nulls[row] || !DatumGetBool(c->filter->values[row]));
}

/* A value that may go away with the row. */
static inline Datum
keep_value(FastColumn *c, int row, Datum value)
{
	char *to = c->room + (Size) c->length * row;

	memcpy(to, DatumGetPointer(value), c->length);
	return PointerGetDatum(to);
}

static inline void
take_value(FastRows *rows, FastColumn *c, int row)
{
	TupleTableSlot *slot = rows->slot;
	Datum value;
	bool isnull;

	if (is_left_out(c, row))
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
	if (!isnull && !c->is_null_only)
		c->values[row] = c->by_value ? value : keep_value(c, row, value);
}

static void
take_row(FastRows *rows)
{
	ListCell *lc;

	foreach (lc, rows->columns)
		take_value(rows, lfirst(lc), rows->nrows);
	rows->nrows++;
}

bool
braid_fast_rows_next(FastRows *rows)
{
	ListCell *lc;

	foreach (lc, rows->columns)
		((FastColumn *) lfirst(lc))->any_null = false;
	rows->nrows = 0;
	while (rows->nrows < FAST_ROWS && tuplestore_gettupleslot(rows->store, true, false, rows->slot))
	{
		ResetExprContext(rows->context);
		slot_getsomeattrs(rows->slot, rows->last);
		if (ExecQual(rows->qual, rows->context))
			take_row(rows);
	}
	return rows->nrows > 0;
}
