/*
 * difference.c
 *	  The query that finds how a view differs from what it should be.
 *
 * NOTES
 *	  Rows are compared by the equality of their types, as EXCEPT does; what is of
 *	  a type that has none, such as json, is compared as text.
 *
 *	  The view's query adds floats exactly, as the view does (reference.c).  Sums
 *	  that are not kept that way depend on the order in which they are added, in
 *	  their last digits.  A row that is updated without a change in what a view
 *	  reads moves within its table, and is no reason to compute anything anew.  So
 *	  of the rows that differ those are paired that are equal but for floats, in
 *	  their order, and are not reported if the floats of both are close.
 *
 *	  Groups that were closed, and stay whatever comes, need not be the query's.
 *	  They are left out.  If the view shows something else than its groups, what it
 *	  shows may be made of closed and open ones: then the groups are compared that
 *	  are open, with what their rows give.
 *
 *	  A sample is chosen by a hash of what the row says, with a seed, so that both
 *	  sides choose the same rows: what differs within the sample differs as a
 *	  whole.  The hash is that of the types, by which equal values are equal; floats
 *	  have no part in it.  Of a view with keys it is that of the keys: the planner
 *	  puts such a condition below the aggregation, where it saves most.
 */
#include "postgres.h"

#include "capture/capture.h"
#include "catalog/pg_type.h"
#include "common/name.h"
#include "lib/stringinfo.h"
#include "parser/parse_clause.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/typcache.h"
#include "view/difference.h"
#include "view/reference.h"
#include "view/operators.h"
#include "view/watermark.h"

/* Lists over the columns, which are called c1, c2, ... whatever their names are. */
typedef struct RowTexts
{
	StringInfoData names;	/* "c1, c2" */
	StringInfoData values;	/* "c1, c2::text" */
	StringInfoData exact;	/* "true, c1" */
	StringInfoData inexact; /* "c2" */
	StringInfoData close;	/* " AND ...": floats of x and y */
	StringInfoData visible; /* "x.c1 AS name" */
	Bitmapset *keys;		/* numbers of the columns that choose a sample; NULL: all */
	StringInfoData hashed;	/* "c1, c2::text": those of them that can */
	char *chosen;			/* " WHERE ..." */
} RowTexts;

static bool
is_comparable(Oid type)
{
	TypeCacheEntry *entry = lookup_type_cache(type, TYPECACHE_EQ_OPR | TYPECACHE_LT_OPR);

	return OidIsValid(entry->eq_opr) && OidIsValid(entry->lt_opr);
}

static bool
is_hashable(Oid type)
{
	TypeCacheEntry *entry =
		lookup_type_cache(type, TYPECACHE_HASH_PROC | TYPECACHE_HASH_EXTENDED_PROC);

	return OidIsValid(entry->hash_proc) && OidIsValid(entry->hash_extended_proc);
}

static const char *
comma(StringInfo s)
{
	return s->len > 0 ? ", " : "";
}

static void
append_float(RowTexts *t, int i, Oid type)
{
	appendStringInfo(&t->inexact, "%sc%d", comma(&t->inexact), i);
	appendStringInfo(&t->close,
					 " AND (x.c%d IS NOT DISTINCT FROM y.c%d OR "
					 "abs(x.c%d - y.c%d) <= %s * greatest(abs(x.c%d), abs(y.c%d)))",
					 i, i, i, i, type == FLOAT4OID ? "1e-4" : "1e-9", i, i);
}

static void
append_column(RowTexts *t, int i, Form_pg_attribute column)
{
	Oid type = getBaseType(column->atttypid);

	appendStringInfo(&t->names, "%sc%d", comma(&t->names), i);
	appendStringInfo(&t->values, "%sc%d%s", comma(&t->values), i,
					 is_comparable(type) ? "" : "::text");
	appendStringInfo(&t->visible, "%sx.c%d AS %s", comma(&t->visible), i,
					 quote_identifier(NameStr(column->attname)));
	if (type == FLOAT4OID || type == FLOAT8OID)
	{
		append_float(t, i, type);
		return;
	}
	appendStringInfo(&t->exact, ", c%d", i);
	if (t->keys == NULL || bms_is_member(i, t->keys))
		appendStringInfo(&t->hashed, "%sc%d%s", comma(&t->hashed), i,
						 is_hashable(type) ? "" : "::text");
}

/* What the rows of a query are told apart by, as SortGroupClause; NIL: all that they say. */
static List *
keys_of(Query *query)
{
	if (query->groupingSets || query->setOperations)
		return NIL;
	if (query->windowClause)
		return linitial_node(WindowClause, query->windowClause)->partitionClause;
	if (query->distinctClause)
		return query->hasDistinctOn ? query->distinctClause : NIL;
	return query->groupClause;
}

/* The columns of the view that are such keys. */
static Bitmapset *
key_columns(ViewDefinition *def)
{
	Query *query = braid_definition_query(def->query);
	List *keys = keys_of(query);
	Bitmapset *columns = NULL;
	ListCell *lc;

	foreach (lc, query->targetList)
	{
		TargetEntry *target = lfirst(lc);

		if (!target->resjunk && targetIsInSortList(target, InvalidOid, keys))
			columns = bms_add_member(columns, target->resno);
	}
	return columns;
}

static char *
choice(RowTexts *t, double sample, int64 seed)
{
	if (sample >= 1 || t->hashed.len == 0)
		return "";
	return psprintf(" WHERE (hash_record_extended(ROW(%s), " INT64_FORMAT
					") & 9007199254740991) < %.0f",
					t->hashed.data, seed, sample * 9007199254740992.0);
}

static void
make_texts(RowTexts *t, Oid view)
{
	Relation rel = braid_capture_look_at(view);

	initStringInfo(&t->names);
	initStringInfo(&t->values);
	initStringInfo(&t->exact);
	initStringInfo(&t->inexact);
	initStringInfo(&t->close);
	initStringInfo(&t->visible);
	initStringInfo(&t->hashed);
	appendStringInfoString(&t->exact, "true");
	for (int i = 0; i < RelationGetNumberOfAttributes(rel); i++)
		append_column(t, i + 1, TupleDescAttr(RelationGetDescr(rel), i));
	RelationClose(rel);
}

static char *
chosen_rows(RowTexts *t, const char *relation)
{
	return psprintf("SELECT %s FROM %s t(%s)%s", t->values.data, relation, t->names.data,
					t->chosen);
}

/* Rows of one that the other has not; nth tells those that are equal but for floats. */
static char *
rows_apart(RowTexts *t, const char *one, const char *other)
{
	return psprintf(
		"SELECT d.*, ROW(%s) AS exact, row_number() OVER (PARTITION BY ROW(%s)%s%s) AS nth "
		"FROM (%s EXCEPT ALL %s) d(%s)",
		t->exact.data, t->exact.data, t->inexact.len > 0 ? " ORDER BY " : "", t->inexact.data,
		chosen_rows(t, one), chosen_rows(t, other), t->names.data);
}

/* Those of one that have no partner in the other. */
static char *
without_partner(RowTexts *t, const char *one, const char *other)
{
	return psprintf("(SELECT to_jsonb(r.*) FROM (SELECT %s) r) FROM %s x WHERE NOT EXISTS "
					"(SELECT FROM %s y WHERE x.exact = y.exact AND x.nth = y.nth%s)",
					t->visible.data, one, other, t->close.data);
}

/* ---------------------------------------------------------------- closed groups */

/*
 * The group of a view that shows its groups as they are, and the column of the view
 * that is their window; NULL if there is more above it.
 */
static ViewNode *
shown_group(ViewPlan *plan, int *column)
{
	ViewNode *node = plan->top;

	while (node->kind == NODE_BLOCK && list_length(node->inputs) == 1)
		node = linitial(node->inputs);
	if (node->kind != NODE_GROUP || node->time == NULL)
		return NULL;
	for (*column = 1; *column <= plan->top->ncolumns; (*column)++)
	{
		const ColumnWindow *window = plan->top->columns[*column - 1].window;

		if (window && window->inclusive == node->time->window.inclusive &&
			strcmp(window->limit, node->time->window.limit) == 0)
			return node;
	}
	return NULL;
}

/* A condition for rows of the view that have to be the query's; NULL if all have to be. */
static char *
compared_rows(ViewNode *group, int column)
{
	EventTime of_view = *group->time;
	ViewNode shown = *group;

	of_view.column = column;
	shown.time = &of_view;
	return braid_late_compared(&shown, "t", 'c');
}

/* Of what a node keeps for groups that have to be the query's; NULL if all have to be. */
static char *
difference_of_node(ViewNode *node)
{
	if (node->kind == NODE_GROUP && braid_late_compared(node, "s", 'k') != NULL)
		return braid_group_difference(node);
	if (node->kind == NODE_SESSION && braid_session_late_compared(node) != NULL)
		return braid_session_difference(node);
	return NULL;
}

static bool
has_closed_groups(ViewPlan *plan)
{
	ListCell *lc;

	foreach (lc, plan->nodes)
		if (difference_of_node(lfirst(lc)) != NULL)
			return true;
	return false;
}

/* Groups rather than rows of the view. */
static char *
difference_of_groups(ViewPlan *plan)
{
	StringInfoData s;
	ListCell *lc;

	initStringInfo(&s);
	foreach (lc, plan->nodes)
	{
		char *difference = difference_of_node(lfirst(lc));

		if (difference)
			appendStringInfo(&s, "%s%s", s.len > 0 ? " UNION ALL " : "", difference);
	}
	return s.data;
}

/* ---------------------------------------------------------------- the query */

char *
braid_difference_query(ViewDefinition *def, ViewPlan *plan, double sample, int64 seed)
{
	RowTexts t = {.keys = key_columns(def)};
	char *query = braid_reference(def);
	char *view = braid_relation_name(def->view);
	int column = 0;
	ViewNode *group = shown_group(plan, &column);

	if (group == NULL && has_closed_groups(plan))
		return difference_of_groups(plan);
	make_texts(&t, def->view);
	t.chosen = choice(&t, sample, seed);
	if (group && compared_rows(group, column))
		t.chosen = psprintf("%s %s %s", t.chosen, t.chosen[0] ? "AND" : " WHERE",
							compared_rows(group, column));
	return psprintf("WITH missing AS MATERIALIZED (%s), surplus AS MATERIALIZED (%s) "
					"SELECT true, %s UNION ALL SELECT false, %s",
					rows_apart(&t, query, view), rows_apart(&t, view, query),
					without_partner(&t, "missing", "surplus"),
					without_partner(&t, "surplus", "missing"));
}
