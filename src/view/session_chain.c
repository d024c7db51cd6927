/*
 * session_chain.c
 *	  The sessions of a delta, and what becomes of those that they touch.
 *
 * NOTES
 *	  In the order in which they run, with <i> for the node's number:
 *
 *		pieces_<i>	sessions of the delta's rows, whether they came or went
 *		touched_<i>	sessions of the state that are less than the gap from a piece
 *		links_<i>	both, chained where they are less than the gap apart
 *		folded_<i>	of chains to which rows only came: all their links combined
 *		spans_<i>	the other chains: from when to when
 *		fresh_<i>	the sessions of the rows that the input has in a span now
 *
 *	  Then folded and fresh take the place of touched.  One with the same first is
 *	  updated, which touches no index but that of the ends; when a session goes on,
 *	  its first stays.
 *
 *	  Why the rows in its span are all that a chain needs.  A session of before
 *	  that was not touched is at least the gap away from all rows of the delta and
 *	  from all other rows of before.  So it is a session now, and not within a
 *	  span: in a hole between two links, which is smaller than the gap, it would be
 *	  too near to both.  Hence the rows in a span now are those of the chain's
 *	  touched sessions and of the delta, and they are at least the gap away from
 *	  all other rows of the key: from untouched sessions as was said, from other
 *	  chains because they were not chained.  So is what a chain of mere insertions
 *	  becomes: it is a session, as each of its links holds together and is less
 *	  than the gap from the one before it.  With rows that were late, of which the
 *	  sessions know nothing, session_late.c says why it holds.
 *
 *	  Rows that came and went within the delta make a chain longer than it had to
 *	  be, which does no harm: only more is computed again.
 *
 *	  Sessions whose rows may be gone (base_deletes = keep) cannot be computed
 *	  again.  All their links are folded, also those of rows that went: what can be
 *	  subtracted is, and the session neither splits nor gets shorter.
 *
 *	  Matching of keys: null keys are found by an index as all others are, by a
 *	  statement for each pattern of nulls that there is, be it of keys or the
 *	  event time.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "utils/guc.h"
#include "view/accumulator.h"
#include "view/fast.h"
#include "view/operators.h"
#include "view/run.h"
#include "view/session.h"
#include "view/span.h"
#include "view/text.h"

/* A change on its way. */
typedef struct Following
{
	ViewNode *node;
	SessionChange *change;
	int64 npieces;
	int64 *patterns; /* of nulls in pieces */
	int npatterns;
	char *pieces; /* names of ephemeral relations */
	char *touched;
	char *links;
	char *spans; /* or NULL: there are none */
	int64 nspans;
	char *result; /* what takes the place of touched: chain and columns of the state */
} Following;

/* Whether something is computed again from its rows. */
static bool
computes_again(Following *f)
{
	return (f->change->retracts || braid_accumulators_are_opaque(f->node)) && !f->change->is_final;
}

static char *
relation(Following *f, const char *name)
{
	return psprintf("%s_%d%s", name, f->node->number, f->change->suffix);
}

/* ---------------------------------------------------------------- pieces */

static char *
pieces_of(ViewNode *node, const char *rows, bool retracts, bool computes_again)
{
	char *by = braid_text_columns("i1", node->nkeys);
	char *columns = "";

	if (!braid_accumulators_are_opaque(node))
		columns = braid_accumulator_texts(node, retracts ? braid_accumulator_change
														 : braid_accumulator_insertion);
	return psprintf("SELECT %s, i1.session AS first, max(%s) AS last, %s AS n, %s AS redo%s "
					"FROM %s GROUP BY %s, i1.session",
					braid_text_list(braid_text_key_targets(node->nkeys)), braid_session_time(node),
					retracts ? "sum(i1.w)::int8" : "count(*)",
					!computes_again						  ? "false"
					: braid_accumulators_are_opaque(node) ? "true"
														  : "bool_or(i1.w < 0)",
					columns, braid_session_told(node, rows, by), braid_text_list(by));
}

/* Of the delta of the input. */
static char *
pieces_of_delta(ViewNode *node, bool retracts)
{
	return pieces_of(node, braid_node_delta(braid_node_input(node)), retracts, retracts);
}

/* Returns how many there are. */
static int64
make_pieces(Following *f)
{
	SessionChange *change = f->change;
	int64 n = -1;
	int level;

	if (!change->is_final && braid_node_input(f->node)->changed)
		n = braid_fast_follow(f->node, f->pieces, change->rows, pieces_of_delta, change->retracts);
	if (n >= 0)
		return n;
	level = braid_session_prefer_sorting();
	n = braid_run_into(f->pieces,
					   pieces_of(f->node, change->rows, change->retracts, computes_again(f)),
					   change->nrows);
	AtEOXact_GUC(false, level);
	return n;
}

/* The bit of the event time in a pattern of nulls. */
static int64
time_bit(ViewNode *node)
{
	return INT64CONST(1) << node->nkeys;
}

static void
find_patterns(Following *f)
{
	ViewNode *node = f->node;

	f->patterns = braid_run_values(
		psprintf("SELECT DISTINCT %s | ((g.first IS NULL)::int::int8 << %d) FROM %s g",
				 braid_match_null_pattern(node, "g"), node->nkeys, f->pieces),
		f->npieces, &f->npatterns);
}

/* What a function makes of each pattern of nulls, put together. */
static char *
for_patterns(Following *f, char *(*statement)(Following *f, int64 nulls))
{
	char *all = NULL;

	for (int i = 0; i < f->npatterns; i++)
	{
		char *one = statement(f, f->patterns[i]);

		all = all ? psprintf("%s UNION ALL %s", all, one) : one;
	}
	return all;
}

/* ---------------------------------------------------------------- touched */

/* " AND ..." of sessions that can be touched. */
static char *
within(Following *f, const char *last)
{
	if (f->change->is_within == NULL)
		return "";
	return psprintf(" AND %s", f->change->is_within(f->node, last));
}

/*
 * Where sessions are that a piece touches: the last one that does not begin after
 * it, and those that begin later, but in its reach.  LIMIT and OFFSET make each
 * be looked up by the index.
 */
static char *
touched_places(Following *f, int64 nulls)
{
	ViewNode *node = f->node;
	char *match = braid_match_pattern(node, "x", 'k', "g", nulls);

	if (nulls & time_bit(node))
		return psprintf("SELECT y.place FROM %s g, LATERAL (SELECT x.ctid AS place FROM %s x WHERE "
						"%s AND x.first IS NULL OFFSET 0) y WHERE g.first IS NULL",
						f->pieces, node->state, match);
	return psprintf("SELECT y.place FROM %s g, LATERAL (SELECT x.ctid AS place, x.last FROM %s x "
					"WHERE %s AND x.first <= g.first ORDER BY %s LIMIT 1) y "
					"WHERE g.first <= %s%s UNION ALL "
					"SELECT y.place FROM %s g, LATERAL (SELECT x.ctid AS place FROM %s x "
					"WHERE %s AND x.first > g.first AND x.first <= %s%s OFFSET 0) y",
					f->pieces, node->state, match, braid_session_backwards(node),
					braid_session_reach(node, "y.last"), within(f, "y.last"), f->pieces,
					node->state, match, braid_session_reach(node, "g.last"), within(f, "x.last"));
}

static int64
find_touched(Following *f)
{
	ViewNode *node = f->node;

	return braid_run_into(f->touched,
						  psprintf("SELECT s.ctid AS place%s, %s FROM %s s "
								   "WHERE s.ctid = ANY (ARRAY(%s))",
								   braid_text_keys("s", node->nkeys),
								   braid_session_value_names(node), node->state,
								   for_patterns(f, touched_places)),
						  f->npieces);
}

/* ---------------------------------------------------------------- chains */

/* What becomes a link: pieces, and the sessions that they touch. */
static char *
link_candidates(Following *f)
{
	ViewNode *node = f->node;
	char *begun = braid_accumulators_are_opaque(node)
					  ? ""
					  : braid_accumulator_texts(node, braid_accumulator_begin);
	char *kept = braid_accumulators_are_opaque(node)
					 ? ""
					 : braid_accumulator_texts(node, braid_accumulator_name);

	return psprintf("SELECT NULL::tid AS place, g.redo%s, g.first, g.last, g.n%s FROM %s g "
					"UNION ALL SELECT s.place, false%s, s.first, s.last, s.n%s FROM %s s",
					braid_text_keys("g", node->nkeys), begun, f->pieces,
					braid_text_keys("s", node->nkeys), kept, f->touched);
}

/*
 * A chain has the number of its first link; links count from 0.  A link begins a
 * chain if it is not in the reach of any before it.  At the same time a session
 * comes before a piece, so that the first link, if it can be, is one that exists.
 */
static char *
links_statement(Following *f)
{
	ViewNode *node = f->node;
	const char *keys = braid_text_list(braid_text_keys("x", node->nkeys));
	char *order = psprintf("x.first, x.place IS NULL");
	char *texts = braid_accumulators_are_opaque(node)
					  ? ""
					  : braid_accumulator_texts(node, braid_accumulator_name);

	return psprintf(
		"SELECT x.chain, x.number - x.chain AS link, x.place, x.redo, %s, x.first, x.last, x.n%s "
		"FROM (SELECT x.*, max(x.number) FILTER (WHERE x.begins) OVER "
		"(ORDER BY %s, %s ROWS UNBOUNDED PRECEDING) AS chain "
		"FROM (SELECT x.*, row_number() OVER (ORDER BY %s, %s) AS number, "
		"NOT coalesce(x.first <= %s, x.first IS NULL AND lag(x.first IS NULL) OVER "
		"(PARTITION BY %s ORDER BY %s), false) AS begins FROM (%s) x) x) x",
		keys, texts, keys, order, keys, order,
		braid_session_reach(node, psprintf("max(x.last) OVER (PARTITION BY %s ORDER BY %s "
										   "ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)",
										   keys, order)),
		keys, order, link_candidates(f));
}

/* Spans of the chains that something went from, or that cannot be combined. */
static int64
find_spans(Following *f)
{
	ViewNode *node = f->node;

	return braid_run_into(
		relation(f, "spans"),
		psprintf("SELECT m.chain%s, m.first, x.last FROM %s m JOIN (SELECT m.chain, "
				 "max(m.last) AS last FROM %s m GROUP BY m.chain HAVING bool_or(m.redo)) x "
				 "ON x.chain = m.chain WHERE m.link = 0",
				 braid_text_keys("m", node->nkeys), f->links, f->links),
		f->npieces);
}

/* ---------------------------------------------------------------- folding */

/* Each even link, combined with the one behind it. */
static char *
fold_statement(Following *f, const char *links)
{
	ViewNode *node = f->node;

	return psprintf("SELECT s.chain, s.link / 2 AS link%s, s.first, "
					"greatest(s.last, excluded.last) AS last, s.n + coalesce(excluded.n, 0) AS n%s "
					"FROM %s s LEFT JOIN %s excluded "
					"ON excluded.chain = s.chain AND excluded.link = s.link + 1 "
					"WHERE s.link %% 2 = 0",
					braid_text_keys("s", node->nkeys),
					braid_accumulator_texts(node, braid_accumulator_combine), links, links);
}

static int64
highest_link(Following *f, const char *links)
{
	int n;
	int64 *values = braid_run_values(psprintf("SELECT coalesce(max(x.link), -1) FROM %s x", links),
									 f->npieces, &n);

	return values[0];
}

/* The chains that can be combined, as one link each; NULL if there are none. */
static char *
fold(Following *f)
{
	char *links = f->links;
	int64 highest;

	if (f->spans)
		links = psprintf("(SELECT m.* FROM %s m WHERE m.chain NOT IN (SELECT r.chain FROM %s r))",
						 f->links, f->spans);
	highest = highest_link(f, links);
	for (int round = 0; highest > 0; round++, highest /= 2)
	{
		char *name = psprintf("%s_%d", relation(f, "folded"), round);

		braid_run_into(name, fold_statement(f, links), f->npieces);
		links = name;
	}
	return highest < 0 ? NULL : links;
}

/* ---------------------------------------------------------------- computing again */

static char *
fresh_statement(Following *f)
{
	ViewNode *node = f->node;
	Spans spans = {node, f->spans, f->nspans, f->patterns, f->npatterns};
	char *rows = braid_span_rows(&spans);

	return psprintf("SELECT i1.chain, 0::int8 AS link, %s, i1.session AS first, max(%s) AS last, "
					"count(*) AS n%s FROM %s GROUP BY i1.chain%s, i1.session",
					braid_text_list(braid_text_key_targets(node->nkeys)), braid_session_time(node),
					braid_accumulator_texts(node, braid_accumulator_state),
					braid_session_told(node, rows, ", i1.chain"),
					braid_text_columns("i1", node->nkeys));
}

/* ---------------------------------------------------------------- the result */

/* Columns of the result by name, the same in folded and fresh. */
static char *
result_select(Following *f, const char *name)
{
	return psprintf("SELECT x.chain%s, %s FROM %s x WHERE x.n > 0",
					braid_text_keys("x", f->node->nkeys), braid_session_value_names(f->node), name);
}

/* Combines chains, or computes them from their rows. */
static char *
chained_result(Following *f)
{
	char *fresh = relation(f, "fresh");
	char *folded = NULL;

	braid_run_into(f->links, links_statement(f), f->npieces);
	if (computes_again(f))
		f->nspans = find_spans(f);
	if (f->nspans > 0)
	{
		f->spans = relation(f, "spans");
		braid_run_into(fresh, fresh_statement(f), f->npieces);
	}
	if (!braid_accumulators_are_opaque(f->node))
		folded = fold(f);
	if (f->spans == NULL)
		return psprintf("(%s)", result_select(f, folded));
	if (folded == NULL)
		return psprintf("(%s)", result_select(f, fresh));
	return psprintf("(%s UNION ALL %s)", result_select(f, folded), result_select(f, fresh));
}

/* The pieces, when there is nothing to combine them with. */
static char *
plain_result(Following *f)
{
	return psprintf("(SELECT NULL::int8 AS chain%s, g.first, g.last, g.n%s FROM %s g)",
					braid_text_keys("g", f->node->nkeys),
					braid_accumulator_texts(f->node, braid_accumulator_begin), f->pieces);
}

static void
delete_touched(Following *f)
{
	braid_run(psprintf("DELETE FROM %s WHERE ctid = ANY (ARRAY(SELECT m.place FROM %s m WHERE "
					   "m.place IS NOT NULL AND NOT EXISTS (SELECT FROM %s r WHERE "
					   "r.chain = m.chain AND r.first IS NOT DISTINCT FROM m.first)))",
					   f->node->state, f->links, f->result),
			  f->npieces);
}

static void
insert_result(Following *f, bool can_be_there)
{
	ViewNode *node = f->node;
	const char *keys = braid_text_list(braid_text_key_names(node->nkeys));
	char *overwrite = "";

	if (can_be_there)
		overwrite = psprintf(" ON CONFLICT (%s, first) DO UPDATE SET last = excluded.last, "
							 "n = excluded.n%s",
							 keys, braid_accumulator_texts(node, braid_accumulator_replace));
	braid_run(psprintf("INSERT INTO %s (%s, %s) SELECT %s, %s FROM %s r%s", node->state, keys,
					   braid_session_value_names(node), keys, braid_session_value_names(node),
					   f->result, overwrite),
			  f->npieces);
}

static void
change_sessions(Following *f)
{
	bool is_chained;

	find_patterns(f);
	is_chained =
		find_touched(f) > 0 || f->change->retracts || braid_accumulators_are_opaque(f->node);
	f->result = is_chained ? chained_result(f) : plain_result(f);
	if (is_chained)
		delete_touched(f);
	insert_result(f, is_chained);
	f->change->touched = f->touched;
	f->change->result = f->result;
}

void
braid_session_change(SessionChange *change)
{
	Following f = {.node = change->node, .change = change};

	f.pieces = relation(&f, "pieces");
	f.touched = relation(&f, "touched");
	f.links = relation(&f, "links");
	f.npieces = make_pieces(&f);
	if (f.npieces > 0)
		change_sessions(&f);
}
