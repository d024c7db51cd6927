/*
 * fast_vector.c
 *	  Simple expressions over integers, a column at a time.
 *
 * NOTES
 *	  Arithmetic and comparisons of integers and of what is stored as one, windows of a
 *	  fixed length, AND, OR, NOT and IS NULL.  All of it is computed in 64 bits for all rows, as a Datum has
 *	  them.  What would be an error, or may not be computed for a row at all, makes
 *	  the whole column fail: the caller then evaluates the expression row by row, as
 *	  PostgreSQL does, and gets the error or finds that there is none.
 *
 *	  A quotient of doubles, truncated, is that of integers below 2^51: it is off by
 *	  less than 2^-53 of itself, and if it is not an integer its distance from the next
 *	  one is more than that.  Below 2^31 it is enough to multiply by the reciprocal, made
 *	  larger by 2^-48 of itself: that is more than what is lost by rounding, so integers are
 *	  reached, and nothing else gets that far, since the next one is 2^-31 of the quotient away at least.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "view/fast_vector.h"
#include "view/fast_window.h"

typedef enum VectorKind
{
	VECTOR_COLUMN,
	VECTOR_CONSTANT,
	VECTOR_ADD,
	VECTOR_SUBTRACT,
	VECTOR_MULTIPLY,
	VECTOR_DIVIDE,
	VECTOR_MODULO,
	VECTOR_WINDOW, /* the begin of x's window; right is how far x is from some begin, modulo the length */
	VECTOR_EQUAL,
	VECTOR_NOT_EQUAL,
	VECTOR_LESS,
	VECTOR_LESS_OR_EQUAL,
	VECTOR_GREATER,
	VECTOR_GREATER_OR_EQUAL,
	VECTOR_AND,
	VECTOR_OR,
	VECTOR_NOT,
	VECTOR_IS_NULL,
	VECTOR_IS_NOT_NULL
} VectorKind;

struct FastVector
{
	VectorKind kind;
	int length; /* of an integer that is computed */
	FastVector *left;
	FastVector *right; /* a divisor is a constant */
	FastColumn *column;
	int64 constant; /* of WINDOW: its length */
	int64 from;		/* of WINDOW: of which times it can be computed here */
	int64 until;
	int nroom;
	int64 *values;
	bool *nulls;
	bool any_null; /* else nulls means nothing */
};

/* ---------------------------------------------------------------- which expressions */

/* The operators of these types have names that follow a pattern. */
#define ARITHMETIC(a, length)                                                                      \
	{F_##a##PL, VECTOR_ADD, length}, {F_##a##MI, VECTOR_SUBTRACT, length},                         \
	{                                                                                              \
		F_##a##MUL, VECTOR_MULTIPLY, length                                                        \
	}
#define COMPARISONS(a)                                                                             \
	{F_##a##EQ, VECTOR_EQUAL, 1}, {F_##a##NE, VECTOR_NOT_EQUAL, 1}, {F_##a##LT, VECTOR_LESS, 1},   \
		{F_##a##LE, VECTOR_LESS_OR_EQUAL, 1}, {F_##a##GT, VECTOR_GREATER, 1},                      \
	{                                                                                              \
		F_##a##GE, VECTOR_GREATER_OR_EQUAL, 1                                                      \
	}

static const struct
{
	Oid function;
	VectorKind kind;
	int length; /* of the result */
} operators[] = {
	ARITHMETIC(INT2, 2),
	ARITHMETIC(INT24, 4),
	ARITHMETIC(INT42, 4),
	ARITHMETIC(INT4, 4),
	ARITHMETIC(INT48, 8),
	ARITHMETIC(INT84, 8),
	ARITHMETIC(INT8, 8),
	{F_INT2DIV, VECTOR_DIVIDE, 2},
	{F_INT2MOD, VECTOR_MODULO, 2},
	{F_INT24DIV, VECTOR_DIVIDE, 4},
	{F_INT42DIV, VECTOR_DIVIDE, 4},
	{F_INT4DIV, VECTOR_DIVIDE, 4},
	{F_INT4MOD, VECTOR_MODULO, 4},
	{F_INT48DIV, VECTOR_DIVIDE, 8},
	{F_INT84DIV, VECTOR_DIVIDE, 8},
	{F_INT8DIV, VECTOR_DIVIDE, 8},
	{F_INT8MOD, VECTOR_MODULO, 8},
	COMPARISONS(INT2),
	COMPARISONS(INT24),
	COMPARISONS(INT42),
	COMPARISONS(INT4),
	COMPARISONS(INT48),
	COMPARISONS(INT84),
	COMPARISONS(INT8),
	COMPARISONS(DATE_),
	COMPARISONS(TIMESTAMP_),
	COMPARISONS(TIMESTAMPTZ_),
	{F_BOOLEQ, VECTOR_EQUAL, 1},
	{F_BOOLNE, VECTOR_NOT_EQUAL, 1},
};

/* Functions that leave an integer what it is. */
static const Oid widenings[] = {F_INT4_INT2, F_INT8_INT2, F_INT8_INT4};

/* A type whose Datum is the number, with its sign. */
static bool
is_number(Oid type)
{
	switch (getBaseType(type))
	{
		case BOOLOID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case DATEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return true;
		default:
			return false;
	}
}

static FastVector *
new_vector(VectorKind kind, FastVector *left, FastVector *right)
{
	FastVector *v = palloc0(sizeof(FastVector));

	v->kind = kind;
	v->left = left;
	v->right = right;
	return v;
}

static FastVector *
make_column(FastRows *rows, Expr *expr)
{
	FastVector *v = new_vector(VECTOR_COLUMN, NULL, NULL);

	v->column = braid_fast_column(rows, expr, NULL);
	return v;
}

static FastVector *
make_constant(Const *c)
{
	FastVector *v;

	if (c->constisnull)
		return NULL;
	v = new_vector(VECTOR_CONSTANT, NULL, NULL);
	v->constant = (int64) c->constvalue;
	return v;
}

/* No divisor that could be an error, or whose quotient could be too large. */
static bool
is_divisor(FastVector *v)
{
	return v->kind == VECTOR_CONSTANT && v->constant != 0 && v->constant != -1;
}

static FastVector *
make_call(FastRows *rows, Oid function, List *args)
{
	FastVector *v;
	FastVector *left = braid_fast_vector(rows, linitial(args));

	for (int i = 0; left && i < lengthof(widenings); i++)
		if (widenings[i] == function)
			return left;
	for (int i = 0; left && i < lengthof(operators); i++)
	{
		if (operators[i].function != function)
			continue;
		v = new_vector(operators[i].kind, left, braid_fast_vector(rows, lsecond(args)));
		v->length = operators[i].length;
		if (v->right == NULL || left->kind == VECTOR_CONSTANT ||
			((v->kind == VECTOR_DIVIDE || v->kind == VECTOR_MODULO) && !is_divisor(v->right)))
			return NULL;
		return v;
	}
	return NULL;
}

/* ---------------------------------------------------------------- windows */

static FastVector *
number(int64 value)
{
	FastVector *v = new_vector(VECTOR_CONSTANT, NULL, NULL);

	v->constant = value;
	return v;
}

static FastVector *
wide_call(VectorKind kind, FastVector *left, int64 right)
{
	FastVector *v = new_vector(kind, left, number(right));

	v->length = 8;
	return v;
}

/* NULL: it is no such call, or one that is not simple. */
static FastVector *
make_window(FastRows *rows, FuncExpr *call)
{
	FastWindow window;
	FastVector *time;
	FastVector *v;

	if (!braid_fast_window(call, &window))
		return NULL;
	time = braid_fast_vector(rows, window.time);
	if (time == NULL || time->kind == VECTOR_CONSTANT)
		return NULL;
	v = wide_call(VECTOR_SUBTRACT, time, window.begin);
	v = new_vector(VECTOR_WINDOW, time, wide_call(VECTOR_MODULO, v, window.length));
	v->length = call->funcresulttype == INT4OID ? 4 : 8;
	v->constant = window.length;
	v->from = window.from;
	v->until = window.until;
	return v;
}

/* AND and OR of any number; NOT. */
static FastVector *
make_boolean(FastRows *rows, BoolExpr *b)
{
	FastVector *v = braid_fast_vector(rows, linitial(b->args));

	if (v == NULL || v->kind == VECTOR_CONSTANT)
		return NULL;
	if (b->boolop == NOT_EXPR)
		return new_vector(VECTOR_NOT, v, NULL);
	for (int i = 1; v && i < list_length(b->args); i++)
	{
		FastVector *right = braid_fast_vector(rows, list_nth(b->args, i));

		v = right ? new_vector(b->boolop == AND_EXPR ? VECTOR_AND : VECTOR_OR, v, right) : NULL;
	}
	return v;
}

static FastVector *
make_null_test(FastRows *rows, NullTest *test)
{
	FastVector *v;

	if (test->argisrow || !IsA(test->arg, Var))
		return NULL;
	v = make_column(rows, test->arg);
	return new_vector(test->nulltesttype == IS_NULL ? VECTOR_IS_NULL : VECTOR_IS_NOT_NULL, v, NULL);
}

static FastVector *
make_function(FastRows *rows, FuncExpr *call)
{
	FastVector *v = call->args ? make_call(rows, call->funcid, call->args) : NULL;

	return v ? v : make_window(rows, call);
}

FastVector *
braid_fast_vector(FastRows *rows, Expr *expr)
{
	switch (nodeTag(expr))
	{
		case T_Var:
			return is_number(((Var *) expr)->vartype) ? make_column(rows, expr) : NULL;
		case T_Const:
			return is_number(((Const *) expr)->consttype) ? make_constant((Const *) expr) : NULL;
		case T_OpExpr:
			return make_call(rows, ((OpExpr *) expr)->opfuncid, ((OpExpr *) expr)->args);
		case T_FuncExpr:
			return make_function(rows, (FuncExpr *) expr);
		case T_BoolExpr:
			return make_boolean(rows, (BoolExpr *) expr);
		case T_NullTest:
			return make_null_test(rows, (NullTest *) expr);
		case T_RelabelType:
			return is_number(((RelabelType *) expr)->resulttype)
					   ? braid_fast_vector(rows, ((RelabelType *) expr)->arg)
					   : NULL;
		default:
			return NULL;
	}
}

/* ---------------------------------------------------------------- loops */

/* With a constant, or a column, on the right; r is assigned. */
#define LOOP(statement)                                                                            \
	do                                                                                             \
	{                                                                                              \
		const int64 *pg_restrict x = v->left->values;                                              \
		const int64 *pg_restrict ys = v->right->values;                                            \
		int64 *pg_restrict r = v->values;                                                          \
                                                                                                   \
		if (v->right->kind == VECTOR_CONSTANT)                                                     \
		{                                                                                          \
			const int64 y = v->right->constant;                                                    \
                                                                                                   \
			for (int i = 0; i < n; i++)                                                            \
				statement;                                                                         \
		}                                                                                          \
		else                                                                                       \
			for (int i = 0; i < n; i++)                                                            \
			{                                                                                      \
				const int64 y = ys[i];                                                             \
                                                                                                   \
				statement;                                                                         \
			}                                                                                      \
	} while (0)

/* Whether all results fit their type. */
static bool
fit(FastVector *v, int n)
{
	int64 odd = 0;

	if (v->length == 4)
		for (int i = 0; i < n; i++)
			odd |= v->values[i] ^ (int64) (int32) v->values[i];
	else
		for (int i = 0; i < n; i++)
			odd |= v->values[i] ^ (int64) (int16) v->values[i];
	return odd == 0;
}

/* Of int8: each with its check. */
static bool
compute_wide(FastVector *v, int n)
{
	bool overflows = false;

	switch (v->kind)
	{
		case VECTOR_ADD:
			LOOP(overflows |= __builtin_add_overflow(x[i], y, &r[i]));
			break;
		case VECTOR_SUBTRACT:
			LOOP(overflows |= __builtin_sub_overflow(x[i], y, &r[i]));
			break;
		default:
			LOOP(overflows |= __builtin_mul_overflow(x[i], y, &r[i]));
			break;
	}
	return !overflows;
}

/* Of smaller ones, which cannot leave 64 bits. */
static bool
compute_small(FastVector *v, int n)
{
	switch (v->kind)
	{
		case VECTOR_ADD:
			LOOP(r[i] = x[i] + y);
			break;
		case VECTOR_SUBTRACT:
			LOOP(r[i] = x[i] - y);
			break;
		default:
			LOOP(r[i] = x[i] * y);
			break;
	}
	return fit(v, n);
}

static bool
are_below(uint64 limit, const int64 *x, int n)
{
	uint64 all = 0;

	for (int i = 0; i < n; i++)
		all |= (uint64) (x[i] ^ (x[i] >> 63));
	return all < limit;
}

/* Whether all are integers of 32 bits; what is null is whatever it is. */
static bool
are_small(FastVector *v, int n)
{
	if (v->kind == VECTOR_COLUMN && v->column->length <= sizeof(int32))
		return true;
	return are_below(UINT64CONST(1) << 31, v->values, n);
}

/* There are vector instructions for that. */
static void
divide_small(FastVector *v, int n)
{
	const int64 *pg_restrict x = v->left->values;
	int64 *pg_restrict r = v->values;
	const int32 y = (int32) v->right->constant;
	const double reciprocal = (1.0 + 1.0 / (INT64CONST(1) << 48)) / (double) y;

	if (v->kind == VECTOR_MODULO)
		for (int i = 0; i < n; i++)
			r[i] = (int32) x[i] - (int32) ((double) (int32) x[i] * reciprocal) * y;
	else
		for (int i = 0; i < n; i++)
			r[i] = (int32) ((double) (int32) x[i] * reciprocal);
}

static bool
divide(FastVector *v, int n)
{
	const int64 *pg_restrict x = v->left->values;
	int64 *pg_restrict r = v->values;
	int64 y = v->right->constant;
	double divisor = (double) y;

	if (y == (int32) y && are_small(v->left, n))
	{
		divide_small(v, n);
		return true;
	}
	if (!are_below(QUOTIENT_LIMIT, x, n) || y <= -QUOTIENT_LIMIT || y >= QUOTIENT_LIMIT)
		for (int i = 0; i < n; i++)
			r[i] = x[i] / y;
	else
		for (int i = 0; i < n; i++)
			r[i] = (int64) ((double) x[i] / divisor);
	if (v->kind == VECTOR_MODULO)
		for (int i = 0; i < n; i++)
			r[i] = x[i] - r[i] * y;
	return true;
}

/* Whether all are between; what wraps around is not. */
static bool
are_between(int64 from, int64 until, const int64 *x, int n)
{
	uint64 outside = 0;

	for (int i = 0; i < n; i++)
		outside |= ((uint64) x[i] - (uint64) from) | ((uint64) until - 1 - (uint64) x[i]);
	return (int64) outside >= 0;
}

/* Remainders have the sign of what was divided. */
static bool
begin_windows(FastVector *v, int n)
{
	int64 length = v->constant;

	if (!are_between(v->from, v->until, v->left->values, n))
		return false;
	LOOP(r[i] = x[i] - (y + (y >> 63 & length)));
	return v->length == 8 || fit(v, n);
}

static void
compare(FastVector *v, int n)
{
	switch (v->kind)
	{
		case VECTOR_EQUAL:
			LOOP(r[i] = x[i] == y);
			break;
		case VECTOR_NOT_EQUAL:
			LOOP(r[i] = x[i] != y);
			break;
		case VECTOR_LESS:
			LOOP(r[i] = x[i] < y);
			break;
		case VECTOR_LESS_OR_EQUAL:
			LOOP(r[i] = x[i] <= y);
			break;
		case VECTOR_GREATER:
			LOOP(r[i] = x[i] > y);
			break;
		default:
			LOOP(r[i] = x[i] >= y);
			break;
	}
}

/* ---------------------------------------------------------------- nulls */

static void
join_nulls(FastVector *v, int n)
{
	FastVector *left = v->left;
	FastVector *right = v->right;

	v->any_null = left->any_null || (right && right->any_null);
	if (!v->any_null)
		return;
	for (int i = 0; i < n; i++)
		v->nulls[i] =
			(left->any_null && left->nulls[i]) | (right && right->any_null && right->nulls[i]);
}

/* AND is false if one side is, OR true; whatever the other one is. */
static void
combine_booleans(FastVector *v, int n)
{
	FastVector *left = v->left;
	FastVector *right = v->right;
	bool decides = v->kind == VECTOR_OR;

	v->any_null = left->any_null || right->any_null;
	if (decides)
		LOOP(r[i] = x[i] | y);
	else
		LOOP(r[i] = x[i] & y);
	for (int i = 0; v->any_null && i < n; i++)
	{
		bool left_null = left->any_null && left->nulls[i];
		bool right_null = right->any_null && right->nulls[i];
		bool is_decided =
			(!left_null && (left->values[i] != 0) == decides) ||
			(!right_null && ((right->kind == VECTOR_CONSTANT ? right->constant
															 : right->values[i]) != 0) == decides);

		v->nulls[i] = !is_decided && (left_null || right_null);
		v->values[i] = is_decided ? decides : v->values[i];
	}
}

static void
test_nulls(FastVector *v, int n)
{
	FastColumn *c = v->left->column;
	bool expected = v->kind == VECTOR_IS_NULL;

	v->any_null = false;
	for (int i = 0; i < n; i++)
		v->values[i] = (c->any_null && c->nulls[i]) == expected;
}

/* ---------------------------------------------------------------- evaluation */

static void
make_room(FastVector *v, int nrows)
{
	if (nrows <= v->nroom || v->kind == VECTOR_COLUMN)
		return;
	v->values = palloc(sizeof(int64) * nrows);
	v->nulls = palloc(sizeof(bool) * nrows);
	v->nroom = nrows;
}

static bool
compute(FastVector *v, int n)
{
	switch (v->kind)
	{
		case VECTOR_COLUMN:
			v->values = (int64 *) v->column->values;
			v->nulls = v->column->nulls;
			v->any_null = v->column->any_null;
			return true;
		case VECTOR_CONSTANT:
			return true;
		case VECTOR_ADD:
		case VECTOR_SUBTRACT:
		case VECTOR_MULTIPLY:
			join_nulls(v, n);
			return v->length == 8 ? compute_wide(v, n) : compute_small(v, n);
		case VECTOR_DIVIDE:
		case VECTOR_MODULO:
			join_nulls(v, n);
			return divide(v, n);
		case VECTOR_WINDOW:
			join_nulls(v, n);
			return begin_windows(v, n);
		case VECTOR_AND:
		case VECTOR_OR:
			combine_booleans(v, n);
			return true;
		case VECTOR_NOT:
			join_nulls(v, n);
			for (int i = 0; i < n; i++)
				v->values[i] = v->left->values[i] == 0;
			return true;
		case VECTOR_IS_NULL:
		case VECTOR_IS_NOT_NULL:
			test_nulls(v, n);
			return true;
		default:
			join_nulls(v, n);
			compare(v, n);
			return true;
	}
}

bool
braid_fast_vector_compute(FastVector *v, int nrows, FastVectorResult *result)
{
	if ((v->left && !braid_fast_vector_compute(v->left, nrows, NULL)) ||
		(v->right && !braid_fast_vector_compute(v->right, nrows, NULL)))
		return false;
	make_room(v, nrows);
	if (!compute(v, nrows))
		return false;
	if (result && v->kind == VECTOR_CONSTANT)
		for (int i = 0; i < nrows; i++)
			v->values[i] = v->constant;
	if (result)
		*result = (FastVectorResult){(Datum *) v->values, v->any_null ? v->nulls : NULL};
	return true;
}
