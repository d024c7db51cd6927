/*
 * fast_program.c
 *	  What is done with messages of a stream, and what came of it, for other processes.
 *
 * NOTES
 *	  A task is written as a list of lists, in the text form of PostgreSQL's nodes.
 *	  Columns are referred to by their number, from 0; -1 is none.
 *
 *	  A group goes as its words, and behind them, for each sum of floats that has
 *	  one, the number that did not fit into words.  Everything is aligned to words.
 */
#include "postgres.h"

#include "nodes/readfuncs.h"
#include "utils/memutils.h"
#include "view/fast_exact.h"
#include "view/fast_program.h"

/* Parts of the text. */
typedef enum ProgramPart
{
	PART_SCAN,	  /* the node of the plan */
	PART_OPTIONS, /* flags of compiling */
	PART_TYPES,	  /* of the columns of what is scanned */
	PART_TYPMODS,
	PART_ATTNUMS, /* of these in the stream, but for the first, which is the weight */
	PART_EXPRESSIONS,
	PART_FILTERS, /* column that is the filter */
	PART_IS_NULL_ONLY,
	PART_KEYS,	/* columns */
	PART_STEPS, /* kinds */
	PART_VALUES,
	PART_SECONDS,
	PART_WORDS,
	PART_WEIGHT
} ProgramPart;

/* ---------------------------------------------------------------- writing */

static int
number_of(FastTask *task, FastColumn *column)
{
	int i = 0;
	ListCell *lc;

	foreach (lc, task->rows.columns)
	{
		if (lfirst(lc) == column)
			return i;
		i++;
	}
	return -1;
}

static List *
write_columns(FastTask *task, List *program)
{
	List *expressions = NIL;
	List *filters = NIL;
	List *is_null_only = NIL;
	ListCell *lc;

	foreach (lc, task->rows.columns)
	{
		FastColumn *c = lfirst(lc);

		expressions = lappend(expressions, c->expr);
		filters = lappend_int(filters, number_of(task, c->filter));
		is_null_only = lappend_int(is_null_only, c->is_null_only);
	}
	return lappend(lappend(lappend(program, expressions), filters), is_null_only);
}

static List *
write_scan(FastTask *task, List *program)
{
	FastRows *rows = &task->rows;
	TupleDesc desc = rows->slot->tts_tupleDescriptor;
	List *types = NIL;
	List *typmods = NIL;
	List *attnums = NIL;

	for (int i = 0; i < desc->natts; i++)
	{
		types = lappend_oid(types, TupleDescAttr(desc, i)->atttypid);
		typmods = lappend_int(typmods, TupleDescAttr(desc, i)->atttypmod);
		if (i > 0)
			attnums = lappend_int(attnums, rows->message->source->attnums[i - 1]);
	}
	program = lappend(program, rows->scan);
	program = lappend(program, list_make1_int(rows->estate->es_jit_flags));
	return lappend(lappend(lappend(program, types), typmods), attnums);
}

static List *
write_steps(FastTask *task, List *program)
{
	List *kinds = NIL;
	List *values = NIL;
	List *seconds = NIL;
	List *words = NIL;

	for (int i = 0; i < task->nsteps; i++)
	{
		FastStep *step = &task->steps[i];

		kinds = lappend_int(kinds, step->kind);
		values = lappend_int(values, number_of(task, step->value));
		seconds = lappend_int(seconds, number_of(task, step->second));
		words = lappend_int(words, step->word);
	}
	return lappend(lappend(lappend(lappend(program, kinds), values), seconds), words);
}

char *
braid_fast_program_write(FastTask *task)
{
	List *program = write_columns(task, write_scan(task, NIL));
	List *keys = NIL;

	for (int i = 0; i < task->groups.nkeys; i++)
		keys = lappend_int(keys, number_of(task, task->groups.keys[i].column));
	program = write_steps(task, lappend(program, keys));
	program = lappend(program, list_make1_int(number_of(task, task->weight)));
	return nodeToString(program);
}

/* ---------------------------------------------------------------- reading */

static FastColumn *
column_of(FastTask *task, int number)
{
	return number < 0 ? NULL : list_nth(task->rows.columns, number);
}

static TupleDesc
read_scan(FastTask *task, List *program)
{
	FastRows *rows = &task->rows;
	List *types = list_nth(program, PART_TYPES);
	List *typmods = list_nth(program, PART_TYPMODS);
	List *attnums = list_nth(program, PART_ATTNUMS);
	TupleDesc desc = CreateTemplateTupleDesc(list_length(types));
	BraidSource *source = palloc0(sizeof(BraidSource));

	rows->scan = list_nth(program, PART_SCAN);
	source->desc = desc;
	source->attnums = palloc(sizeof(AttrNumber) * desc->natts);
	for (int i = 0; i < desc->natts; i++)
	{
		TupleDescInitEntry(desc, i + 1, NULL, list_nth_oid(types, i), list_nth_int(typmods, i), 0);
		if (i > 0)
			source->attnums[i - 1] = list_nth_int(attnums, i - 1);
	}
	rows->message = braid_fast_message_make(palloc0(sizeof(BraidDelta)), source);
	return desc;
}

static void
read_columns(FastTask *task, List *program)
{
	List *expressions = list_nth(program, PART_EXPRESSIONS);

	for (int i = 0; i < list_length(expressions); i++)
	{
		FastColumn *filter = column_of(task, list_nth_int(list_nth(program, PART_FILTERS), i));
		FastColumn *c = braid_fast_column(&task->rows, list_nth(expressions, i), filter);

		Assert(list_length(task->rows.columns) == i + 1);
		c->is_null_only = list_nth_int(list_nth(program, PART_IS_NULL_ONLY), i);
	}
}

static void
read_keys(FastTask *task, List *program)
{
	FastGroups *groups = &task->groups;
	List *keys = list_nth(program, PART_KEYS);

	groups->nkeys = list_length(keys);
	groups->keys = palloc0(sizeof(FastKey) * (groups->nkeys + 1));
	for (int i = 0; i < groups->nkeys; i++)
		groups->keys[i].column = column_of(task, list_nth_int(keys, i));
}

/* Returns how many words they need. */
static int
read_steps(FastTask *task, List *program)
{
	List *kinds = list_nth(program, PART_STEPS);
	int nwords = 0;

	task->nsteps = list_length(kinds);
	task->steps = palloc0(sizeof(FastStep) * task->nsteps);
	for (int i = 0; i < task->nsteps; i++)
	{
		FastStep *step = &task->steps[i];

		step->kind = list_nth_int(kinds, i);
		step->value = column_of(task, list_nth_int(list_nth(program, PART_VALUES), i));
		step->second = column_of(task, list_nth_int(list_nth(program, PART_SECONDS), i));
		step->word = list_nth_int(list_nth(program, PART_WORDS), i);
		nwords += braid_fast_step_words(step->kind);
	}
	return nwords;
}

FastTask *
braid_fast_program_read(const char *text, Size limit)
{
	List *program = stringToNode(text);
	FastTask *task = palloc0(sizeof(FastTask));
	TupleDesc desc;
	int nwords;

	desc = read_scan(task, program);
	read_columns(task, program);
	read_keys(task, program);
	nwords = read_steps(task, program);
	task->weight = column_of(task, linitial_int(list_nth(program, PART_WEIGHT)));
	braid_fast_rows_prepare(&task->rows, linitial_int(list_nth(program, PART_OPTIONS)), desc);
	braid_fast_groups_open(&task->groups, nwords, limit);
	return task;
}

/* ---------------------------------------------------------------- groups */

/* The sum of floats among the words of a group; NULL if the step keeps another value. */
static FastExact *
exact_of(FastStep *step, uint64 *group)
{
	bool is_exact = step->kind == FAST_EXACT || step->kind == FAST_PRODUCT;

	return is_exact ? (FastExact *) (group + step->word) : NULL;
}

void
braid_fast_program_put(StringInfo s, FastTask *task, uint32 group)
{
	uint64 *words = braid_fast_group(&task->groups, group);

	appendBinaryStringInfo(s, (char *) words, task->groups.nwords * sizeof(uint64));
	for (int i = 0; i < task->nsteps; i++)
	{
		FastExact *sum = exact_of(&task->steps[i], words);

		if (sum == NULL || sum->rest == NULL)
			continue;
		appendBinaryStringInfo(s, (char *) sum->rest, VARSIZE(sum->rest));
		while (s->len % sizeof(uint64) != 0)
			appendStringInfoChar(s, '\0');
	}
}

bool
braid_fast_program_take(StringInfo s, FastTask *task)
{
	Size size = task->groups.nwords * sizeof(uint64);
	uint64 *other = palloc(size);
	uint64 *group;

	memcpy(other, s->data + s->cursor, size);
	s->cursor += size;
	group = braid_fast_groups_find_one(&task->groups, other);
	for (int i = 0; i < task->nsteps; i++)
	{
		FastExact *sum = exact_of(&task->steps[i], other);

		if (sum && sum->rest)
		{
			sum->rest = (Numeric) (s->data + s->cursor);
			s->cursor += TYPEALIGN(sizeof(uint64), VARSIZE(sum->rest));
		}
		if (group)
			braid_fast_step_combine(&task->steps[i], group, other);
	}
	pfree(other);
	return group != NULL;
}
