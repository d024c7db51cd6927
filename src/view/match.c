/*
 * match.c
 *	  Matching keys, and the columns of state tables.
 *
 * NOTES
 *	  Equality of keys is that of GROUP BY: the operator of the default operator
 *	  class, with nulls equal.  A join on that can neither be hashed nor use an
 *	  index, so conditions that match keys come in two: one for keys without a
 *	  null, an ordinary join, and one for those with a null, which a one-time
 *	  filter switches off when there are none.  No row meets both.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/ruleutils.h"
#include "utils/syscache.h"
#include "utils/typcache.h"
#include "view/operators.h"
#include "view/refusal.h"
#include "view/run.h"

/* Of the value itself: a row of nulls IS NULL as well, and has equals. */
#define IS_NULL " IS NOT DISTINCT FROM NULL"

char *
braid_match_operator(Oid op)
{
	HeapTuple tup = SearchSysCache1(OPEROID, ObjectIdGetDatum(op));
	Form_pg_operator form = (Form_pg_operator) GETSTRUCT(tup);
	char *name =
		psprintf("OPERATOR(%s.%s)", quote_identifier(get_namespace_name(form->oprnamespace)),
				 NameStr(form->oprname));

	ReleaseSysCache(tup);
	return name;
}

/* The equality operator of GROUP BY for the ith key, from 0. */
static char *
equality(ViewNode *node, int i)
{
	ViewNode *input = linitial(node->inputs);

	return braid_match_operator(
		lookup_type_cache(input->columns[i].type, TYPECACHE_EQ_OPR)->eq_opr);
}

char *
braid_match_equal(ViewNode *node, const char *a, char column, const char *b, bool nulls)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 0; i < node->nkeys; i++)
	{
		char *left = psprintf("%s.%c%d", a, column, i + 1);
		char *right = psprintf("%s.k%d", b, i + 1);

		if (i > 0)
			appendStringInfoString(&s, " AND ");
		if (nulls)
			appendStringInfo(&s, "(%s %s %s OR %s" IS_NULL " AND %s" IS_NULL ")", left,
							 equality(node, i), right, left, right);
		else
			appendStringInfo(&s, "%s %s %s", left, equality(node, i), right);
	}
	return s.data;
}

/* So that an index can be used, wherever that says the same. */
static const char *
null_test(NodeColumn *column)
{
	return get_typtype(getBaseType(column->type)) == TYPTYPE_COMPOSITE ? IS_NULL : " IS NULL";
}

char *
braid_match_pattern(ViewNode *node, const char *a, char column, const char *b, int64 nulls)
{
	ViewNode *input = linitial(node->inputs);
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 0; i < node->nkeys; i++)
	{
		char *left = psprintf("%s.%c%d", a, column, i + 1);
		char *right = psprintf("%s.k%d", b, i + 1);

		if (i > 0)
			appendStringInfoString(&s, " AND ");
		if (nulls & INT64CONST(1) << i)
		{
			const char *test = null_test(&input->columns[i]);

			appendStringInfo(&s, "%s%s AND %s%s", left, test, right, test);
		}
		else
			appendStringInfo(&s, "%s %s %s", left, equality(node, i), right);
	}
	return s.data;
}

char *
braid_match_null_pattern(ViewNode *node, const char *alias)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 0; i < node->nkeys; i++)
		appendStringInfo(&s, "%s((%s.k%d" IS_NULL ")::int::int8 << %d)", i > 0 ? " | " : "", alias,
						 i + 1, i);
	return s.data;
}

char *
braid_match_any_null(ViewNode *node, const char *alias, char column)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 1; i <= node->nkeys; i++)
		appendStringInfo(&s, "%s%s.%c%d" IS_NULL, i > 1 ? " OR " : "", alias, column, i);
	return s.data;
}

char *
braid_match_keys(ViewNode *node, const char *alias, char column, const char *relation, bool nulls)
{
	if (!nulls)
		return psprintf("EXISTS (SELECT FROM %s r WHERE %s)", relation,
						braid_match_equal(node, alias, column, "r", false));
	return psprintf(
		"(SELECT bool_or(%s) FROM %s r) AND (%s) AND EXISTS (SELECT FROM %s r WHERE %s)",
		braid_match_any_null(node, "r", 'k'), relation, braid_match_any_null(node, alias, column),
		relation, braid_match_equal(node, alias, column, "r", true));
}

/* "c1, c2, ..." */
static char *
column_names(ViewNode *node)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 1; i <= node->ncolumns; i++)
		appendStringInfo(&s, ", c%d", i);
	return s.data;
}

char *
braid_state_delta(ViewNode *node)
{
	char *columns = column_names(node);
	char *expired = psprintf("expired_%d", node->number);

	return psprintf(
		"(SELECT -1::int8 AS w%s FROM before_%d UNION ALL SELECT 1::int8%s FROM after_%d%s)",
		columns, node->number, columns, node->number,
		braid_run_count(expired) > 0
			? psprintf(" UNION ALL SELECT -1::int8%s FROM %s", columns, expired)
			: "");
}

char *
braid_column_definition(NodeColumn *column, char letter, int number)
{
	char *collation = "";

	if (get_typtype(column->type) == TYPTYPE_PSEUDO)
		braid_refuse(NULL, -1, psprintf("a column of type %s", format_type_be(column->type)));
	if (OidIsValid(column->collation) && column->collation != get_typcollation(column->type))
		collation = psprintf(" COLLATE %s", generate_collation_name(column->collation));
	return psprintf("%c%d %s%s", letter, number,
					format_type_with_typemod(column->type, column->typmod), collation);
}

char *
braid_column_definitions(NodeColumn *columns, int ncolumns, char letter)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 0; i < ncolumns; i++)
		appendStringInfo(&s, "%s%s", i > 0 ? ", " : "",
						 braid_column_definition(&columns[i], letter, i + 1));
	return s.data;
}
