/*
 * aggregate.c
 *	  What is kept for an aggregate, and how its result is made of that.
 *
 * NOTES
 *	  An aggregate that is exact in any order is made of sums, counts and the
 *	  like, which can be taken back.  One that can be combined is, as long as
 *	  rows come; see accumulator.c for what happens when they go.  Whatever is
 *	  left is opaque: only PostgreSQL's own aggregate over all rows of the group
 *	  says what it is.  Where the group is all rows there are, that is refused.
 *
 *	  Floats are added as exact numbers, see exact.c.  From the sums come the
 *	  transition values that PostgreSQL's aggregates would have if they did not
 *	  round, and the results from these by the same final functions.  What is left
 *	  opaque is sum(float4), which rounds to float4 after every addition.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_aggregate.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/plannodes.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/ruleutils.h"
#include "utils/syscache.h"
#include "view/accumulator.h"
#include "view/operators.h"
#include "view/refusal.h"

/* An aggregate that is being added. */
typedef struct Addition
{
	ViewNode *group;
	Aggref *aggregate;
	const char *name; /* if it is one of PostgreSQL's own; or NULL */
	Oid final;		  /* its final function, or InvalidOid */
	char *argument;	  /* text of the first one; NULL if there is none */
	char *filter;	  /* text, or NULL */
} Addition;

/* ---------------------------------------------------------------- texts over i1 */

/* Finds the last column that is used; and columns are called what they are. */
static bool
prepare_columns(Node *node, int *last)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		Var *var = (Var *) node;

		Assert(var->varno == 1 && var->varlevelsup == 0 && var->varattno > 0);
		var->varnosyn = var->varno;
		var->varattnosyn = var->varattno;
		*last = Max(*last, var->varattno);
	}
	return expression_tree_walker(node, prepare_columns, last);
}

/* Text of an expression whose Vars are columns of the input. */
static char *
input_text(Node *node)
{
	PlannedStmt *stmt = makeNode(PlannedStmt);
	RangeTblEntry *rte = makeNode(RangeTblEntry);
	int last = 0;

	node = copyObject(node);
	(void) prepare_columns(node, &last);
	rte->rtekind = RTE_NAMEDTUPLESTORE;
	rte->eref = makeAlias("i1", NIL);
	for (int i = 1; i <= last; i++)
		rte->eref->colnames = lappend(rte->eref->colnames, makeString(psprintf("c%d", i)));
	stmt->rtable = list_make1(rte);
	return deparse_expression(node, deparse_context_for_plan_tree(stmt, list_make1("i1")), true,
							  false);
}

static Expr *
nth_argument(Aggref *aggregate, int n)
{
	return ((TargetEntry *) list_nth(aggregate->args, n))->expr;
}

/* ---------------------------------------------------------------- accumulators */

static bool
same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

/* There is one accumulator for all aggregates that need the same. */
static Accumulator *
accumulate(Addition *add, Accumulator *wanted)
{
	ListCell *lc;
	Accumulator *a;

	wanted->filter = add->filter;
	foreach (lc, add->group->accumulators)
	{
		a = lfirst(lc);
		if (a->kind == wanted->kind && same_text(a->argument, wanted->argument) &&
			same_text(a->filter, wanted->filter) && same_text(a->aggregate, wanted->aggregate))
			return a;
	}
	a = palloc(sizeof(Accumulator));
	*a = *wanted;
	a->number = list_length(add->group->accumulators) + 1;
	add->group->accumulators = lappend(add->group->accumulators, a);
	return a;
}

/* At least this strategy. */
static void
require(Addition *add, Strategy strategy)
{
	add->group->strategy = Max(add->group->strategy, strategy);
}

static NodeColumn
column_of_type(Oid type)
{
	NodeColumn column = {type, -1, InvalidOid};

	return column;
}

static NodeColumn
result_column(Aggref *aggregate)
{
	NodeColumn column = {aggregate->aggtype, exprTypmod((Node *) aggregate), aggregate->aggcollid};

	return column;
}

static Accumulator *
accumulate_count(Addition *add, char *argument)
{
	Accumulator a = {.kind = ACCUMULATE_COUNT, .argument = argument};

	a.column = column_of_type(INT8OID);
	return accumulate(add, &a);
}

static Accumulator *
accumulate_sum(Addition *add)
{
	Node *argument = (Node *) nth_argument(add->aggregate, 0);
	Oid type = exprType(argument);
	Accumulator a = {.kind = ACCUMULATE_SUM, .argument = add->argument};

	a.column = column_of_type(type == INT2OID || type == INT4OID ? INT8OID : NUMERICOID);
	a.is_numeric = type == NUMERICOID;
	a.has_scale = exprTypmod(argument) >= (int32) VARHDRSZ;
	a.count = accumulate_count(add, add->argument);
	if (a.is_numeric)
		require(add, STRATEGY_COMBINE);
	return accumulate(add, &a);
}

static Accumulator *
accumulate_squares(Addition *add)
{
	Oid type = exprType((Node *) nth_argument(add->aggregate, 0));
	const char *wide = type == NUMERICOID ? "" : type == INT8OID ? "::numeric" : "::int8";
	Accumulator a = {.kind = ACCUMULATE_SUM, .is_squares = true};

	a.argument = psprintf("((%s)%s * (%s))", add->argument, wide, add->argument);
	a.column = column_of_type(NUMERICOID);
	a.is_numeric = type == NUMERICOID;
	a.count = accumulate_count(add, add->argument);
	return accumulate(add, &a);
}

/* Of floats, by a function that makes them exact. */
static Accumulator *
accumulate_exact(Addition *add, char *argument)
{
	Accumulator a = {.kind = ACCUMULATE_SUM, .argument = argument};

	a.column = column_of_type(NUMERICOID);
	return accumulate(add, &a);
}

/* ---------------------------------------------------------------- PostgreSQL's own */

static char *
add_count(Addition *add)
{
	if (add->argument == NULL && add->filter == NULL)
		return pstrdup("n");
	return psprintf("a%d", accumulate_count(add, add->argument)->number);
}

/* One argument where another one is there. */
static char *
where_there(const char *other, const char *argument)
{
	return psprintf("CASE WHEN %s IS NOT NULL THEN %s END", other, argument);
}

static char *
second_argument(Addition *add)
{
	return input_text((Node *) nth_argument(add->aggregate, 1));
}

/* Rows in which both arguments are there. */
static int
count_pairs(Addition *add)
{
	return accumulate_count(add, where_there(add->argument, second_argument(add)))->number;
}

static char *
add_regr_count(Addition *add)
{
	return psprintf("a%d", count_pairs(add));
}

static char *
add_sum(Addition *add)
{
	Accumulator *sum = accumulate_sum(add);

	return psprintf("(CASE WHEN a%d > 0 THEN a%d END)", sum->count->number, sum->number);
}

static char *
add_avg(Addition *add)
{
	Accumulator *sum = accumulate_sum(add);
	int count = sum->count->number;

	return psprintf("(CASE WHEN a%d > 0 THEN a%d::numeric / a%d::numeric END)", count, sum->number,
					count);
}

/* As numeric_stddev_internal() does it, so that all digits are the same. */
static char *
add_variance(Addition *add)
{
	Accumulator *sum = accumulate_sum(add);
	char *n = psprintf("a%d::numeric", sum->count->number);
	char *s = psprintf("a%d::numeric", sum->number);
	bool is_population = strstr(add->name, "_pop") != NULL;
	char *numerator = psprintf("(%s * a%d - %s * %s)", n, accumulate_squares(add)->number, s, s);

	return psprintf(
		"(CASE WHEN a%d > %d THEN CASE WHEN %s <= 0 THEN 0 ELSE %s / (%s * (%s%s)) END END)",
		sum->count->number, is_population ? 0 : 1, numerator, numerator, n, n,
		is_population ? "" : " - 1");
}

static char *
add_deviation(Addition *add)
{
	return psprintf("braid_internal.deviation(%s)", add_variance(add));
}

/* Whether there is a row that decides, for one that is true or false. */
static char *
decided(Addition *add, bool by)
{
	Accumulator *count = accumulate_count(add, add->argument);
	Accumulator *deciding =
		accumulate_count(add, psprintf("NULLIF(%s, %s)", add->argument, by ? "false" : "true"));

	return psprintf("(CASE WHEN a%d > 0 THEN a%d %s 0 END)", count->number, deciding->number,
					by ? ">" : "=");
}

static char *
add_bool_and(Addition *add)
{
	return decided(add, false);
}

static char *
add_bool_or(Addition *add)
{
	return decided(add, true);
}

static char *
add_bit_xor(Addition *add)
{
	Accumulator *count = accumulate_count(add, add->argument);
	Accumulator a = {.kind = ACCUMULATE_XOR, .argument = add->argument};

	a.column = result_column(add->aggregate);
	return psprintf("(CASE WHEN a%d > 0 THEN a%d END)", count->number, accumulate(add, &a)->number);
}

/* ---------------------------------------------------------------- floats */

static char *
function_name(Oid function)
{
	return quote_qualified_identifier(get_namespace_name(get_func_namespace(function)),
									  get_func_name(function));
}

static int
sum_number(Addition *add, const char *x)
{
	return accumulate_exact(add, psprintf("braid_internal.exact(%s)", x))->number;
}

static char *
float_sum(Addition *add, const char *x)
{
	return psprintf("braid_internal.exact_sum(a%d)", sum_number(add, x));
}

/* The sum of (x - avg(x)) * (y - avg(y)). */
static char *
float_comoment(Addition *add, int count, const char *x, const char *y)
{
	char *product = psprintf("braid_internal.exact_product(%s, %s)", x, y);

	return psprintf("braid_internal.comoment(a%d, a%d, a%d, a%d)", count, sum_number(add, x),
					sum_number(add, y), accumulate_exact(add, product)->number);
}

static char *
add_float_sum(Addition *add)
{
	int count = accumulate_count(add, add->argument)->number;

	return psprintf("(CASE WHEN a%d > 0 THEN %s END)", count, float_sum(add, add->argument));
}

static char *
add_float_avg(Addition *add)
{
	int count = accumulate_count(add, add->argument)->number;

	return psprintf("%s(ARRAY[a%d, %s, 0])", function_name(add->final), count,
					float_sum(add, add->argument));
}

/* Variance and deviation. */
static char *
add_float_variance(Addition *add)
{
	int count = accumulate_count(add, add->argument)->number;

	return psprintf("%s(ARRAY[a%d, 0, %s])", function_name(add->final), count,
					float_comoment(add, count, add->argument, add->argument));
}

/*
 * Which of the transition values are used, in the order in which they are: the
 * sum of x and its moment, the same of y, and their comoment.
 */
static const struct
{
	const char *name;
	bool uses[5];
} regressions[] = {
	{"corr", {false, true, false, true, true}},
	{"covar_pop", {false, false, false, false, true}},
	{"covar_samp", {false, false, false, false, true}},
	{"regr_avgx", {true, false, false, false, false}},
	{"regr_avgy", {false, false, true, false, false}},
	{"regr_intercept", {true, true, true, false, true}},
	{"regr_r2", {false, true, false, true, true}},
	{"regr_slope", {false, true, false, false, true}},
	{"regr_sxx", {false, true, false, false, false}},
	{"regr_sxy", {false, false, false, false, true}},
	{"regr_syy", {false, false, false, true, false}},
};

/* Y is the first argument. */
static char *
add_regression(Addition *add)
{
	char *x = where_there(add->argument, second_argument(add));
	char *y = where_there(second_argument(add), add->argument);
	int count = count_pairs(add);
	const bool *uses = NULL;

	for (int i = 0; i < lengthof(regressions); i++)
		if (strcmp(add->name, regressions[i].name) == 0)
			uses = regressions[i].uses;
	Assert(uses);
	return psprintf(
		"%s(ARRAY[a%d, %s, %s, %s, %s, %s])", function_name(add->final), count,
		uses[0] ? float_sum(add, x) : "0", uses[1] ? float_comoment(add, count, x, x) : "0",
		uses[2] ? float_sum(add, y) : "0", uses[3] ? float_comoment(add, count, y, y) : "0",
		uses[4] ? float_comoment(add, count, x, y) : "0");
}

/* ---------------------------------------------------------------- which is which */

static bool
is_integer(Oid type)
{
	return type == INT2OID || type == INT4OID || type == INT8OID;
}

/* Sums that can be taken back: of exact numbers. */
static bool
is_exact(Oid type)
{
	return is_integer(type) || type == NUMERICOID;
}

static bool
is_double(Oid type)
{
	return type == FLOAT8OID;
}

/* What PostgreSQL's aggregates compute with doubles. */
static bool
is_float(Oid type)
{
	return type == FLOAT8OID || type == FLOAT4OID;
}

static const struct
{
	const char *name;
	bool (*is_for)(Oid argument); /* NULL: all */
	bool ignores_duplicates;	  /* DISTINCT makes no difference */
	char *(*add)(Addition *add);  /* returns the result, as SQL over the state */
	bool is_of_floats;			  /* the state is exact.c's */
} own_aggregates[] = {
	{"count", NULL, false, add_count},
	{"regr_count", NULL, false, add_regr_count},
	{"sum", is_exact, false, add_sum},
	{"avg", is_exact, false, add_avg},
	{"var_pop", is_exact, false, add_variance},
	{"var_samp", is_exact, false, add_variance},
	{"variance", is_exact, false, add_variance},
	{"stddev_pop", is_exact, false, add_deviation},
	{"stddev_samp", is_exact, false, add_deviation},
	{"stddev", is_exact, false, add_deviation},
	{"sum", is_double, false, add_float_sum, true},
	{"avg", is_float, false, add_float_avg, true},
	{"var_pop", is_float, false, add_float_variance, true},
	{"var_samp", is_float, false, add_float_variance, true},
	{"variance", is_float, false, add_float_variance, true},
	{"stddev_pop", is_float, false, add_float_variance, true},
	{"stddev_samp", is_float, false, add_float_variance, true},
	{"stddev", is_float, false, add_float_variance, true},
	{"corr", is_double, false, add_regression, true},
	{"covar_pop", is_double, false, add_regression, true},
	{"covar_samp", is_double, false, add_regression, true},
	{"regr_avgx", is_double, false, add_regression, true},
	{"regr_avgy", is_double, false, add_regression, true},
	{"regr_intercept", is_double, false, add_regression, true},
	{"regr_r2", is_double, false, add_regression, true},
	{"regr_slope", is_double, false, add_regression, true},
	{"regr_sxx", is_double, false, add_regression, true},
	{"regr_sxy", is_double, false, add_regression, true},
	{"regr_syy", is_double, false, add_regression, true},
	{"bool_and", NULL, true, add_bool_and},
	{"every", NULL, true, add_bool_and},
	{"bool_or", NULL, true, add_bool_or},
	{"bit_xor", is_integer, false, add_bit_xor},
};

bool
braid_aggregate_is_of_floats(Aggref *aggregate)
{
	char *name = get_func_name(aggregate->aggfnoid);

	if (get_func_namespace(aggregate->aggfnoid) != PG_CATALOG_NAMESPACE)
		return false;
	for (int i = 0; i < lengthof(own_aggregates); i++)
		if (own_aggregates[i].is_of_floats && strcmp(name, own_aggregates[i].name) == 0 &&
			own_aggregates[i].is_for(linitial_oid(aggregate->aggargtypes)))
			return true;
	return false;
}

/* The result of one of PostgreSQL's own that is made of sums and counts; or NULL. */
static char *
add_own(Addition *add)
{
	Aggref *aggregate = add->aggregate;

	if (add->name == NULL || aggregate->aggkind != AGGKIND_NORMAL)
		return NULL;
	for (int i = 0; i < lengthof(own_aggregates); i++)
	{
		if (strcmp(add->name, own_aggregates[i].name) != 0 ||
			(own_aggregates[i].is_for &&
			 !own_aggregates[i].is_for(linitial_oid(aggregate->aggargtypes))))
			continue;
		if (aggregate->aggdistinct && !own_aggregates[i].ignores_duplicates)
			return NULL;
		return own_aggregates[i].add(add);
	}
	return NULL;
}

/* ---------------------------------------------------------------- any other */

static char *
aggregate_text(Aggref *aggregate)
{
	Aggref *copy = copyObject(aggregate);

	copy->aggfilter = NULL;
	return input_text((Node *) copy);
}

static char *
add_with_function(Addition *add, AccumulatorKind kind, char *function, bool is_strict)
{
	Accumulator a = {.kind = kind, .function = function, .is_strict = is_strict};

	a.aggregate = aggregate_text(add->aggregate);
	a.column = result_column(add->aggregate);
	require(add, kind == ACCUMULATE_OPAQUE ? STRATEGY_AFFECTED_KEYS : STRATEGY_COMBINE);
	return psprintf("a%d", accumulate(add, &a)->number);
}

/* The hll of Debian's extension hides its state, but its results can be united. */
static Oid
hll_union_function(Aggref *aggregate)
{
	Oid extension = getExtensionOfObject(ProcedureRelationId, aggregate->aggfnoid);
	char *name = get_func_name(aggregate->aggfnoid);
	char *schema = get_namespace_name(get_func_namespace(aggregate->aggfnoid));
	Oid types[] = {aggregate->aggtype, aggregate->aggtype};

	if (!OidIsValid(extension) || strcmp(get_extension_name(extension), "hll") != 0)
		return InvalidOid;
	if (strcmp(name, "hll_add_agg") != 0 && strcmp(name, "hll_union_agg") != 0)
		return InvalidOid;
	return LookupFuncName(list_make2(makeString(schema), makeString("hll_union")), 2, types, true);
}

/* Whether the order in which values are added shows in the result. */
static bool
is_inexact(Oid type)
{
	Oid element = get_base_element_type(type);

	return type == FLOAT4OID || type == FLOAT8OID || element == FLOAT4OID || element == FLOAT8OID;
}

/* The function that combines results of the aggregate, if there is one. */
static Oid
combine_function(Aggref *aggregate, Form_pg_aggregate form)
{
	Oid type = form->aggtranstype;

	if (aggregate->aggkind != AGGKIND_NORMAL || aggregate->aggdistinct || aggregate->aggorder)
		return InvalidOid;
	if (type == INTERNALOID)
		return hll_union_function(aggregate);
	if (OidIsValid(form->aggfinalfn) || type != aggregate->aggtype || is_inexact(type))
		return InvalidOid;
	return form->aggcombinefn;
}

/* One with a sort operator is the first value by this operator. */
static bool
is_extreme(Aggref *aggregate, Form_pg_aggregate form)
{
	return OidIsValid(form->aggsortop) && aggregate->aggkind == AGGKIND_NORMAL &&
		   list_length(aggregate->aggargtypes) == 1;
}

/*
 * braid_internal.single(), the value of a scalar subquery, may be opaque without
 * keys: all its rows are the one row that the subquery has, or the view is broken.
 */
static bool
is_single(Aggref *aggregate)
{
	return strcmp(get_func_name(aggregate->aggfnoid), "single") == 0 &&
		   get_func_namespace(aggregate->aggfnoid) == get_namespace_oid("braid_internal", false);
}

/* Every change would be answered by reading all rows. */
static void
refuse_opaque(Addition *add, ParseState *pstate)
{
	Aggref *aggregate = add->aggregate;
	char *name = get_func_name(aggregate->aggfnoid);
	Oid types[FUNC_MAX_ARGS];
	ListCell *lc;

	if (add->group->permanent_key == NULL || is_single(aggregate))
		return;
	foreach (lc, aggregate->aggargtypes)
		types[foreach_current_index(lc)] = lfirst_oid(lc);
	braid_refuse(
		pstate, exprLocation((Node *) aggregate),
		psprintf("aggregate %s%s, which would be computed from all rows each time",
				 funcname_signature_string(name, list_length(aggregate->aggargtypes), NIL, types),
				 strcmp(add->group->permanent_key, "true") == 0 ? " without GROUP BY"
																: " in an empty grouping set"));
}

static char *
add_any(Addition *add, Form_pg_aggregate form, ParseState *pstate)
{
	Oid combine = combine_function(add->aggregate, form);

	if (is_extreme(add->aggregate, form))
		return add_with_function(add, ACCUMULATE_EXTREME, braid_match_operator(form->aggsortop),
								 true);
	if (OidIsValid(combine))
		return add_with_function(add, ACCUMULATE_COMBINE, function_name(combine),
								 func_strict(combine));
	refuse_opaque(add, pstate);
	return add_with_function(add, ACCUMULATE_OPAQUE, NULL, false);
}

/* ---------------------------------------------------------------- adding */

/*
 * The aggregate itself always counts as immutable.  Functions with a transition
 * value of type internal cannot be called otherwise, so that nobody cares to say
 * what they are.
 */
static void
refuse_mutable(ParseState *pstate, Aggref *aggregate, Form_pg_aggregate form)
{
	Oid functions[] = {form->aggtransfn, form->aggfinalfn, form->aggcombinefn};

	for (int i = 0; i < lengthof(functions); i++)
		if (OidIsValid(functions[i]) && form->aggtranstype != INTERNALOID &&
			func_volatile(functions[i]) != PROVOLATILE_IMMUTABLE)
			braid_refuse(pstate, exprLocation((Node *) aggregate),
						 psprintf("aggregate %s, whose function %s is not immutable",
								  format_procedure(aggregate->aggfnoid),
								  format_procedure(functions[i])));
	if (get_typtype(aggregate->aggtype) == TYPTYPE_PSEUDO)
		braid_refuse(pstate, exprLocation((Node *) aggregate),
					 psprintf("an aggregate of type %s", format_type_be(aggregate->aggtype)));
}

/* A column of the group; the same one if it is there already. */
int
braid_aggregate_add_output(ViewNode *group, char *text, NodeColumn column)
{
	int i = 0;
	ListCell *lc;

	foreach (lc, group->outputs)
	{
		i++;
		if (strcmp(lfirst(lc), text) == 0)
			return i;
	}
	if (group->columns == NULL)
		group->columns = palloc(sizeof(NodeColumn));
	else
		group->columns = repalloc(group->columns, sizeof(NodeColumn) * (i + 1));
	group->columns[i] = column;
	group->outputs = lappend(group->outputs, text);
	group->ncolumns = i + 1;
	return group->ncolumns;
}

int
braid_aggregate_add(ViewNode *group, Aggref *aggregate, ParseState *pstate)
{
	Addition add = {.group = group, .aggregate = aggregate};
	HeapTuple tup = SearchSysCache1(AGGFNOID, ObjectIdGetDatum(aggregate->aggfnoid));
	Form_pg_aggregate form = (Form_pg_aggregate) GETSTRUCT(tup);
	char *result;

	add.final = form->aggfinalfn;
	Assert(aggregate->agglevelsup == 0);
	refuse_mutable(pstate, aggregate, form);
	if (get_func_namespace(aggregate->aggfnoid) == PG_CATALOG_NAMESPACE)
		add.name = get_func_name(aggregate->aggfnoid);
	if (aggregate->args)
		add.argument = input_text((Node *) nth_argument(aggregate, 0));
	if (aggregate->aggfilter)
		add.filter = input_text((Node *) aggregate->aggfilter);
	result = add_own(&add);
	if (result == NULL)
		result = add_any(&add, form, pstate);
	ReleaseSysCache(tup);
	return braid_aggregate_add_output(group, result, result_column(aggregate));
}

int
braid_aggregate_add_key(ViewNode *group, int key)
{
	ViewNode *input = linitial(group->inputs);

	return braid_aggregate_add_output(group, psprintf("k%d", key), input->columns[key - 1]);
}
