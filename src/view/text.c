/*
 * text.c
 *	  Pieces of the SQL of nodes.
 *
 * NOTES
 *	  Tokens and columns are looked for outside of quotes only: constants are
 *	  the user's, and may hold anything.  The deparser doubles quotes and
 *	  backslashes within quotes, so that a quote ends at the next one.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "access/nbtree.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "parser/parse_oper.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/ruleutils.h"
#include "utils/typcache.h"
#include "view/text.h"

#define TOKEN_PREFIX "braid_input_"
#define WEIGHT_PREFIX "SELECT $1 AS w"

char *
braid_node_token(int nth)
{
	return psprintf(TOKEN_PREFIX "%03d", nth);
}

/* ---------------------------------------------------------------- lists */

char *
braid_text_columns(const char *alias, int ncolumns)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 1; i <= ncolumns; i++)
		appendStringInfo(&s, ", %s.c%d", alias, i);
	return s.data;
}

char *
braid_text_names(int ncolumns)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 1; i <= ncolumns; i++)
		appendStringInfo(&s, ", c%d", i);
	return s.data;
}

char *
braid_text_keys(const char *alias, int nkeys)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 1; i <= nkeys; i++)
		appendStringInfo(&s, ", %s.k%d", alias, i);
	return s.data;
}

char *
braid_text_key_names(int nkeys)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 1; i <= nkeys; i++)
		appendStringInfo(&s, ", k%d", i);
	return s.data;
}

char *
braid_text_key_targets(int nkeys)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 1; i <= nkeys; i++)
		appendStringInfo(&s, ", i1.c%d AS k%d", i, i);
	return s.data;
}

char *
braid_text_outputs(ViewNode *node, const char *from)
{
	StringInfoData s;
	ListCell *lc;

	initStringInfo(&s);
	foreach (lc, node->outputs)
		appendStringInfo(&s, ", %s AS c%d", (char *) lfirst(lc), foreach_current_index(lc) + 1);
	return psprintf("SELECT %s FROM %s s", braid_text_list(s.data), from);
}

char *
braid_text_some_columns(const char *alias, Bitmapset *columns)
{
	StringInfoData s;
	int i = -1;

	initStringInfo(&s);
	while ((i = bms_next_member(columns, i)) >= 0)
		appendStringInfo(&s, ", %s.c%d", alias, i);
	return s.data;
}

Bitmapset *
braid_text_all_columns(ViewNode *node)
{
	return node->ncolumns > 0 ? bms_add_range(NULL, 1, node->ncolumns) : NULL;
}

char *
braid_text_renamed_columns(const char *alias, int ncolumns, int first)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 1; i <= ncolumns; i++)
		appendStringInfo(&s, ", %s.c%d AS c%d", alias, i, first + i - 1);
	return s.data;
}

static char *
null_text(NodeColumn *column)
{
	char *text = psprintf(
		"NULL::%s", format_type_extended(column->type, column->typmod,
										 FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY));

	if (OidIsValid(column->collation) && column->collation != get_typcollation(column->type))
		return psprintf("%s COLLATE %s", text, generate_collation_name(column->collation));
	return text;
}

char *
braid_text_nulls(ViewNode *node, int first)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 0; i < node->ncolumns; i++)
		appendStringInfo(&s, ", %s AS c%d", null_text(&node->columns[i]), first + i);
	return s.data;
}

char *
braid_text_image(const char *alias, Bitmapset *columns)
{
	return psprintf("ROW(%s)::text COLLATE pg_catalog.\"C\"",
					braid_text_list(braid_text_some_columns(alias, columns)));
}

const char *
braid_text_list(const char *columns)
{
	return columns[0] == ',' ? columns + 2 : columns;
}

/* ---------------------------------------------------------------- reading */

static bool
is_name_char(char c)
{
	return isalnum((unsigned char) c) || c == '_' || c == '$' || IS_HIGHBIT_SET(c);
}

/* Goes through a text; text[i] can begin a name that is not quoted. */
typedef struct NameScan
{
	const char *text;
	int i;
	char quote;
} NameScan;

/* Moves to the next place at which a name begins.  False at the end. */
static bool
next_name(NameScan *scan)
{
	for (scan->i++; scan->text[scan->i]; scan->i++)
	{
		char c = scan->text[scan->i];

		if (scan->quote == '\0' && (c == '\'' || c == '"'))
			scan->quote = c;
		else if (c == scan->quote)
			scan->quote = '\0';
		else if (scan->quote == '\0' && is_name_char(c) &&
				 (scan->i == 0 || !is_name_char(scan->text[scan->i - 1])))
			return true;
	}
	return false;
}

Bitmapset *
braid_text_columns_in(const char *condition, const char *alias)
{
	NameScan scan = {condition, -1, '\0'};
	Bitmapset *columns = NULL;
	char *prefix = psprintf("%s.c", alias);
	int length = strlen(prefix);

	while (next_name(&scan))
	{
		const char *p = condition + scan.i;

		if (strncmp(p, prefix, length) == 0 && isdigit((unsigned char) p[length]))
			columns = bms_add_member(columns, atoi(p + length));
	}
	return columns;
}

/* Appends a text with the inputs' texts in place of the tokens. */
static void
append_filled(StringInfo s, const char *text, char **inputs)
{
	NameScan scan = {text, -1, '\0'};
	int done = 0;

	while (next_name(&scan))
	{
		char *end;
		int nth;

		if (strncmp(text + scan.i, TOKEN_PREFIX, strlen(TOKEN_PREFIX)) != 0)
			continue;
		nth = strtol(text + scan.i + strlen(TOKEN_PREFIX), &end, 10);
		appendBinaryStringInfo(s, text + done, scan.i - done);
		appendStringInfoString(s, inputs[nth - 1]);
		done = end - text;
	}
	appendStringInfoString(s, text + done);
}

char *
braid_text_fill(ViewNode *node, char **inputs, const char *weight)
{
	const char *rest = node->select;
	StringInfoData s;

	initStringInfo(&s);
	if (strncmp(rest, WEIGHT_PREFIX, strlen(WEIGHT_PREFIX)) == 0)
	{
		rest += strlen(WEIGHT_PREFIX);
		appendStringInfoString(&s, "SELECT ");
		if (weight)
			appendStringInfo(&s, "%s AS w", weight);
		else
			rest = braid_text_list(rest);
	}
	append_filled(&s, rest, inputs);
	return s.data;
}

/* ---------------------------------------------------------------- types */

/*
 * As btree's deduplication asks.  Strings of blanks are not the same as others
 * for a type without a length, whatever it says.
 */
bool
braid_text_is_exact(NodeColumn *column)
{
	TypeCacheEntry *type = lookup_type_cache(column->type, TYPECACHE_BTREE_OPFAMILY);
	Oid function;

	if (!OidIsValid(type->btree_opf) || getBaseType(column->type) == BPCHAROID)
		return false;
	function = get_opfamily_proc(type->btree_opf, type->btree_opintype, type->btree_opintype,
								 BTEQUALIMAGE_PROC);
	return OidIsValid(function) &&
		   DatumGetBool(OidFunctionCall1Coll(function, column->collation,
											 ObjectIdGetDatum(type->btree_opintype)));
}

/* ---------------------------------------------------------------- adding up */

static bool
can_group_by(NodeColumn *column)
{
	Oid equality;
	bool hashable;

	get_sort_group_operators(column->type, false, false, false, NULL, &equality, NULL, &hashable);
	return OidIsValid(equality);
}

/* Tells apart values that are equal without being the same. */
static char *
difference(NodeColumn *column, const char *value)
{
	switch (getBaseType(column->type))
	{
		case NUMERICOID:
			return psprintf("scale(%s)", value);
		case FLOAT4OID:
			return psprintf("float4send(%s)", value);
		case FLOAT8OID:
			return psprintf("float8send(%s)", value);
		case INTERVALOID:
			return psprintf("interval_send(%s)", value);
		default:
			return psprintf("ROW(%s)::text COLLATE pg_catalog.\"C\"", value);
	}
}

/* ", x.c1, x.c2, scale(x.c2)"; NULL if rows cannot be grouped by these columns. */
static char *
group_list(ViewNode *node, Bitmapset *columns)
{
	StringInfoData s;
	int i = -1;

	initStringInfo(&s);
	while ((i = bms_next_member(columns, i)) >= 0)
	{
		NodeColumn *column = &node->columns[i - 1];
		char *value = psprintf("x.c%d", i);

		if (!can_group_by(column))
			return NULL;
		appendStringInfo(&s, ", %s", value);
		if (!braid_text_is_exact(column))
			appendStringInfo(&s, ", %s", difference(column, value));
	}
	return s.data;
}

char *
braid_text_net(ViewNode *node, Bitmapset *columns, const char *delta)
{
	char *list = braid_text_some_columns("x", columns);
	char *groups = group_list(node, columns);

	if (groups)
		return psprintf("SELECT sum(x.w)::int8 AS n%s FROM %s x%s%s HAVING sum(x.w) <> 0", list,
						delta, columns ? " GROUP BY " : "", braid_text_list(groups));
	return psprintf("SELECT x.n%s FROM (SELECT DISTINCT ON (x.k) sum(x.w) OVER (PARTITION BY "
					"x.k)::int8 AS n%s FROM (SELECT %s AS k, x.w%s FROM %s x) x) x WHERE x.n <> 0",
					list, list, braid_text_image("x", columns), list, delta);
}

uint64
braid_text_hash(const char *text)
{
	return DatumGetUInt64(hash_any_extended((const unsigned char *) text, (int) strlen(text), 0));
}
