/*
 * group.c
 *	  Groups follow the delta of their input.
 *
 * NOTES
 *	  State table: key columns k1, k2, ...; n, the group's number of rows; and
 *	  the columns of the accumulators, see accumulator.c.  In the order in which
 *	  they run, with <i> for the node's number:
 *
 *		groups_<i>	from the delta: per key, what it does to the group; by fast.c if it can
 *		before_<i>	if the node's delta is read: rows of these keys
 *		redo_<i>	if something went: keys that must be computed from all rows
 *		merge		groups_<i> into the state
 *		purge		if something went: groups without rows are deleted
 *		recompute	of the keys in redo_<i>, from the input under S
 *		after_<i>	as before_<i>; of groups that show nothing but their keys both
 *					have those only that came or went, and are made before the purge
 *
 *	  With an opaque accumulator there is no merge: every key in groups_<i> is
 *	  recomputed, but for those that lose their last row.
 *
 *	  n is exact at any time.  So recomputing finds rows for every key that was
 *	  not purged, and overwrites the group in place: an update that touches no
 *	  index, where deleting it and inserting it again would leave dead entries.
 *
 *	  Groups that always exist (of a query without GROUP BY, or of the empty
 *	  grouping set) are not purged.  A query without GROUP BY has one key, the
 *	  constant true; its statements do without GROUP BY, and so always find the
 *	  group.  The one of a grouping set is found by its first key, the number of
 *	  the set; recomputing does not find it when it has no rows.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "view/accumulator.h"
#include "view/fast.h"
#include "view/operators.h"
#include "view/refusal.h"
#include "view/run.h"
#include "view/text.h"
#include "view/watermark.h"

#define MAX_KEYS 32 /* columns of an index */

/* Of a grouping set that is empty: its number. */
static char *
permanent_set(ViewNode *node)
{
	return pnstrdup(node->permanent_key, strcspn(node->permanent_key, ","));
}

/* prefix || k1, prefix || k2, ... */
static char *
key_list(ViewNode *node, const char *prefix)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 1; i <= node->nkeys; i++)
		appendStringInfo(&s, "%s%sk%d", i > 1 ? ", " : "", prefix, i);
	return s.data;
}

/* "i1.c1 AS k1, i1.c2 AS k2"; of the one group "true AS k1" */
static const char *
key_targets(ViewNode *node)
{
	return braid_node_is_one_group(node) ? "true AS k1"
										 : braid_text_list(braid_text_key_targets(node->nkeys));
}

/* " GROUP BY 1, 2"; of the one group what is given */
static char *
group_by(ViewNode *node, char *instead)
{
	StringInfoData s;

	if (braid_node_is_one_group(node))
		return instead;
	initStringInfo(&s);
	for (int i = 1; i <= node->nkeys; i++)
		appendStringInfo(&s, "%s%d", i > 1 ? ", " : " GROUP BY ", i);
	return s.data;
}

/* ---------------------------------------------------------------- the state */

char *
braid_group_state_columns(ViewNode *node)
{
	return psprintf("%s, n int8%s",
					braid_column_definitions(braid_node_input(node)->columns, node->nkeys, 'k'),
					braid_accumulator_texts(node, braid_accumulator_define));
}

/* The window first, if there is one: closed groups are found by it. */
static char *
index_list(ViewNode *node)
{
	StringInfoData s;
	int window = node->time ? node->time->column : 0;

	if (window == 0)
		return key_list(node, "");
	initStringInfo(&s);
	appendStringInfo(&s, "k%d", window);
	for (int i = 1; i <= node->nkeys; i++)
		if (i != window)
			appendStringInfo(&s, ", k%d", i);
	return s.data;
}

char *
braid_group_state_index(ViewNode *node, const char *index)
{
	if (node->nkeys > MAX_KEYS)
		braid_refuse(NULL, -1, "more than 32 keys");
	return psprintf("UNIQUE INDEX %s ON %s (%s) NULLS NOT DISTINCT", index, node->state,
					index_list(node));
}

/* The same from the state; a condition is optional */
static char *
output_select(ViewNode *node, const char *condition)
{
	char *select = braid_text_outputs(node, node->state);

	return condition ? psprintf("%s WHERE %s", select, condition) : select;
}

char *
braid_group_new(ViewNode *node)
{
	return psprintf("(%s)", output_select(node, NULL));
}

/* Open groups: of the state, and computed from all rows. */
char *
braid_group_difference(ViewNode *node)
{
	char *kept = output_select(node, braid_late_compared(node, "s", 'k'));
	char *computed = braid_text_outputs(
		node, psprintf("(SELECT %s, count(*) AS n%s FROM %s i1 WHERE %s%s)", key_targets(node),
					   braid_accumulator_texts(node, braid_accumulator_state),
					   braid_node_new(braid_node_input(node)), braid_late_compared(node, "i1", 'c'),
					   group_by(node, "")));

	return psprintf("SELECT true, to_jsonb(d) FROM (%s EXCEPT ALL %s) d "
					"UNION ALL SELECT false, to_jsonb(d) FROM (%s EXCEPT ALL %s) d",
					computed, kept, kept, computed);
}

/* "INSERT INTO state (k1, n, a1) SELECT ..." of those rows of the input that meet a condition. */
static char *
state_insert(ViewNode *node, const char *condition)
{
	return psprintf("INSERT INTO %s (%s, n%s) SELECT %s, count(*)%s FROM %s i1 WHERE %s%s",
					node->state, key_list(node, ""),
					braid_accumulator_texts(node, braid_accumulator_name), key_targets(node),
					braid_accumulator_texts(node, braid_accumulator_state),
					braid_node_new(braid_node_input(node)), condition, group_by(node, ""));
}

/* The group of an empty grouping set, unless it is there. */
static void
insert_permanent(ViewNode *node, int64 nrows)
{
	if (node->permanent_key == NULL || braid_node_is_one_group(node))
		return;
	braid_run(psprintf("INSERT INTO %s (%s, n%s) SELECT %s, count(*)%s FROM %s i1 WHERE false "
					   "ON CONFLICT DO NOTHING",
					   node->state, key_list(node, ""),
					   braid_accumulator_texts(node, braid_accumulator_name), node->permanent_key,
					   braid_accumulator_texts(node, braid_accumulator_state),
					   braid_node_new(braid_node_input(node))),
			  nrows);
}

void
braid_group_begin(ViewNode *node)
{
	if (braid_node_is_one_group(node))
		braid_run(psprintf("%s ON CONFLICT DO NOTHING", state_insert(node, "false")), 0);
	insert_permanent(node, 0);
}

void
braid_group_populate(ViewNode *node)
{
	char *stays = braid_late_stays(node);

	braid_run(psprintf("DELETE FROM %s s%s", node->state,
					   stays ? psprintf(" WHERE (%s) IS DISTINCT FROM true", stays) : ""),
			  PG_INT64_MAX);
	braid_run(state_insert(node, braid_late_enters(node)), PG_INT64_MAX);
	insert_permanent(node, PG_INT64_MAX);
	node->path = 0;
}

/* ---------------------------------------------------------------- one delta */

/* What a cycle does to a node. */
typedef struct Following
{
	ViewNode *node;
	char *groups; /* names of ephemeral relations */
	char *redo;
	int64 ngroups;
	bool retracts;
	bool is_read;	/* the delta of the node is */
	bool has_nulls; /* there is a null in the keys of groups */
} Following;

static char *
groups_statement(ViewNode *node, bool retracts)
{
	char *columns = "";

	if (!braid_accumulators_are_opaque(node))
		columns = braid_accumulator_texts(node, retracts ? braid_accumulator_change
														 : braid_accumulator_insertion);
	return psprintf("SELECT %s, %s AS n, %s AS retracts%s%s FROM %s i1%s", key_targets(node),
					retracts ? "coalesce(sum(i1.w), 0)::int8" : "count(*)",
					retracts ? "coalesce(bool_or(i1.w < 0), false)" : "false", columns,
					braid_late_row_count(node), braid_late_delta(node),
					group_by(node, " HAVING count(*) > 0"));
}

/* A statement for keys without nulls, and again for those with, if there are any. */
static void
run_matching(Following *f, char *(*statement)(Following *f, bool nulls), int64 nrows)
{
	braid_run(statement(f, false), nrows);
	if (f->has_nulls)
		braid_run(statement(f, true), nrows);
}

static bool
find_nulls(Following *f)
{
	if (braid_node_is_one_group(f->node) || f->ngroups == 0)
		return false;
	return braid_run_into(psprintf("nulls_%d", f->node->number),
						  psprintf("SELECT true AS found FROM %s g WHERE %s LIMIT 1", f->groups,
								   braid_match_any_null(f->node, "g", 'k')),
						  f->ngroups) > 0;
}

/* s.k1 = g.k1 AND ... */
static char *
match_state(ViewNode *node, bool nulls)
{
	char *equal = braid_match_equal(node, "s", 'k', "g", nulls);

	if (!nulls)
		return equal;
	return psprintf("%s AND (%s)", equal, braid_match_any_null(node, "s", 'k'));
}

/* Rows of the keys in groups, as they are now, readable as name_<i>. */
static void
remember_rows(Following *f, const char *name)
{
	ViewNode *node = f->node;
	char *sql = output_select(node, braid_match_keys(node, "s", 'k', f->groups, false));

	if (f->has_nulls)
		sql = psprintf("%s UNION ALL %s", sql,
					   output_select(node, braid_match_keys(node, "s", 'k', f->groups, true)));
	braid_run_into(psprintf("%s_%d", name, node->number), sql, f->ngroups);
}

/* Whether a group shows nothing but that it is there: of DISTINCT and the like. */
static bool
shows_keys_only(ViewNode *node)
{
	ListCell *lc;

	foreach (lc, node->outputs)
		if (((char *) lfirst(lc))[0] != 'k')
			return false;
	return node->permanent_key == NULL;
}

/* Groups that the merge has made, or that have lost their last row and are to be purged. */
static void
remember_existence(Following *f, const char *name, const char *condition)
{
	ViewNode *node = f->node;
	char *sql = NULL;

	for (int nulls = 0; nulls <= f->has_nulls; nulls++)
	{
		char *found = psprintf("EXISTS (SELECT FROM %s g WHERE %s AND %s)", f->groups,
							   match_state(node, nulls), condition);

		sql = sql ? psprintf("%s UNION ALL %s", sql, output_select(node, found))
				  : output_select(node, found);
	}
	braid_run_into(psprintf("%s_%d", name, node->number), sql, f->ngroups);
}

/* ---------------------------------------------------------------- merging */

static char *
redo_conditions(ViewNode *node)
{
	StringInfoData s;
	ListCell *lc;

	initStringInfo(&s);
	foreach (lc, node->accumulators)
	{
		char *condition = braid_accumulator_redo(lfirst(lc));

		if (condition)
			appendStringInfo(&s, "%s%s", s.len > 0 ? " OR " : "", condition);
	}
	return s.len > 0 ? s.data : NULL;
}

/* Groups that lose their last row need not be computed, unless they stay. */
static char *
redo_select(Following *f, const char *conditions, bool nulls)
{
	ViewNode *node = f->node;
	char *only = "";

	if (f->has_nulls)
		only = psprintf(" AND %s(%s)", nulls ? "" : "NOT ", braid_match_any_null(node, "g", 'k'));
	return psprintf("SELECT %s FROM %s g LEFT JOIN %s s ON %s WHERE g.retracts%s%s AND "
					"(s.n IS NULL OR %s(%s))",
					key_list(node, "g."), f->groups, node->state, match_state(node, nulls), only,
					braid_late_not_kept(node, "g"),
					node->permanent_key ? "" : "s.n + g.n <> 0 AND ", conditions);
}

/* Finds the keys that must be recomputed; returns how many. */
static int64
find_redo(Following *f)
{
	char *conditions = redo_conditions(f->node);
	char *sql;

	if (!f->retracts || conditions == NULL)
		return 0;
	sql = redo_select(f, conditions, false);
	if (f->has_nulls)
		sql = psprintf("%s UNION ALL %s", sql, redo_select(f, conditions, true));
	f->redo = psprintf("redo_%d", f->node->number);
	return braid_run_into(f->redo, sql, f->ngroups);
}

/*
 * Groups in redo can be left out: they have rows, are not purged, and all of
 * their columns are overwritten, so one update of the row is saved.  It does no
 * harm to merge some of them, those with nulls in their keys.
 */
static char *
merge_statement(Following *f, bool leave_out_redo)
{
	ViewNode *node = f->node;
	char *only = "";

	if (leave_out_redo)
		only = psprintf(" WHERE NOT %s", braid_match_keys(node, "g", 'k', f->redo, false));
	return psprintf("INSERT INTO %s AS s (%s, n%s) SELECT %s, g.n%s FROM %s g%s "
					"ON CONFLICT (%s) DO UPDATE SET n = s.n + excluded.n%s",
					node->state, key_list(node, ""),
					braid_accumulator_texts(node, braid_accumulator_name), key_list(node, "g."),
					braid_accumulator_texts(node, braid_accumulator_begin), f->groups, only,
					key_list(node, ""), braid_accumulator_texts(node, braid_accumulator_merge));
}

/* " AND ..." for groups that may go. */
static char *
not_permanent(ViewNode *node)
{
	return node->permanent_key ? psprintf(" AND s.k1 IS DISTINCT FROM %s", permanent_set(node))
							   : "";
}

/* After the merge: groups without rows. */
static char *
purge_statement(Following *f, bool nulls)
{
	return psprintf("DELETE FROM %s s WHERE s.n = 0%s AND %s", f->node->state,
					not_permanent(f->node), braid_match_keys(f->node, "s", 'k', f->groups, nulls));
}

/* Without a merge: groups that lose their last row. */
static char *
leave_statement(Following *f, bool nulls)
{
	ViewNode *node = f->node;

	return psprintf("DELETE FROM %s s USING %s g WHERE %s AND s.n + g.n = 0%s", node->state,
					f->groups, match_state(node, nulls), not_permanent(node));
}

/* ---------------------------------------------------------------- recomputing */

static char *
overwrite(ViewNode *node)
{
	return psprintf(" ON CONFLICT (%s) DO UPDATE SET n = excluded.n%s", key_list(node, ""),
					braid_accumulator_texts(node, braid_accumulator_replace));
}

static char *
recompute_statement(Following *f, bool nulls)
{
	return psprintf("%s%s",
					state_insert(f->node, braid_match_keys(f->node, "i1", 'c', f->redo, nulls)),
					overwrite(f->node));
}

/* The group of an empty grouping set, if it is to be recomputed. */
static void
delete_permanent(Following *f, int64 nredo)
{
	ViewNode *node = f->node;

	if (node->permanent_key)
		braid_run(psprintf("DELETE FROM %s s WHERE s.k1 = %s AND "
						   "EXISTS (SELECT FROM %s r WHERE r.k1 = %s)",
						   node->state, permanent_set(node), f->redo, permanent_set(node)),
				  nredo);
}

static void
recompute(Following *f, int64 nredo)
{
	if (braid_node_is_one_group(f->node))
	{
		braid_run(psprintf("%s%s", state_insert(f->node, "true"), overwrite(f->node)), nredo);
		return;
	}
	delete_permanent(f, nredo);
	run_matching(f, recompute_statement, nredo);
	insert_permanent(f->node, nredo);
}

static void
merge(Following *f, bool leave_out_redo)
{
	char *sql = merge_statement(f, leave_out_redo);

	if (braid_fast_is_enabled())
		braid_run_merge(sql, f->ngroups);
	else
		braid_run(sql, f->ngroups);
}

static void
change_groups(Following *f)
{
	bool can_go = f->retracts && !braid_node_is_one_group(f->node);
	bool by_existence = f->is_read && shows_keys_only(f->node);
	int64 nredo;

	if (braid_accumulators_are_opaque(f->node))
	{
		f->redo = f->groups;
		if (can_go)
			run_matching(f, leave_statement, f->ngroups);
		recompute(f, f->ngroups);
		return;
	}
	nredo = find_redo(f);
	merge(f, nredo > 0 && !by_existence && !f->node->permanent_key);
	if (by_existence)
	{
		remember_existence(f, "before", "s.n = 0 AND g.n < 0");
		remember_existence(f, "after", "s.n > 0 AND s.n = g.n");
	}
	if (can_go)
		run_matching(f, purge_statement, f->ngroups);
	if (nredo > 0)
		recompute(f, nredo);
}

/* Groups that have expired go, and their rows are kept for readers as expired_<i>. */
static void
delete_expired(ViewNode *node)
{
	char *expired = braid_late_expired(node);

	if (expired == NULL)
		return;
	braid_run_into(psprintf("expired_%d", node->number), output_select(node, expired), 0);
	if (braid_run_count(psprintf("expired_%d", node->number)) > 0)
		braid_run(psprintf("DELETE FROM %s s WHERE %s", node->state, expired), 0);
}

static int64
make_groups(Following *f)
{
	int64 ngroups = braid_fast_follow(f->node, f->groups, braid_late_delta(f->node),
									  groups_statement, f->retracts);

	if (ngroups >= 0)
		return ngroups;
	return braid_run_into(f->groups, groups_statement(f->node, f->retracts),
						  braid_run_delta_rows(braid_node_input(f->node)));
}

void
braid_group_follow(ViewNode *node)
{
	Following f = {.node = node};
	bool all_are_read;

	delete_expired(node);
	f.retracts = braid_run_retracts(braid_node_input(node)) || braid_late_merges(node);
	f.is_read = braid_run_delta_is_read(node) || braid_late_merges(node);
	f.groups = psprintf("groups_%d", node->number);
	f.ngroups = make_groups(&f);
	f.groups = braid_late_split(node, f.groups, &f.ngroups);
	if (f.is_read || f.retracts || braid_accumulators_are_opaque(node))
		f.has_nulls = find_nulls(&f);
	all_are_read = f.is_read && (f.ngroups == 0 || !shows_keys_only(node));
	if (all_are_read)
		remember_rows(&f, "before");
	if (f.ngroups > 0)
		change_groups(&f);
	if (all_are_read)
		remember_rows(&f, "after");
}
