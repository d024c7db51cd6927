/*
 * fast_session.c
 *	  Sessions of the rows of a delta, without SQL for each row.
 *
 * NOTES
 *	  session_chain.c calls them pieces.  All rows are read into columns first.  Those of
 *	  one key are brought together, in the order in which they came, which is that of their
 *	  times more often than not; else they are sorted.  They are cut where a row is too far
 *	  from the one before, as braid.session() does it.  From there on pieces are groups.
 *
 *		columns ─► the key of each row ─► rows by key and time ─► the piece of each row ─► steps
 *		           fast_groups                                                             fast_step
 *
 *	  The gap is asked of braid_internal.session_reach(), as a number: how far a session
 *	  reaches whose last row is at zero.  Rows without a time are a piece for each key.
 *	  What takes more memory than sorting may take is left to SQL, which sorts in files.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "view/fast_session.h"
#include "view/run.h"

#define NO_PIECE PG_UINT32_MAX
#define FIRST_PIECES 64

typedef struct TimedRow
{
	int64 at;
	uint32 row;
} TimedRow;

#define ST_SORT sort_rows
#define ST_ELEMENT_TYPE TimedRow
#define ST_COMPARE(a, b) ((a)->at < (b)->at ? -1 : (a)->at > (b)->at)
#define ST_CHECK_FOR_INTERRUPTS
#define ST_SCOPE static
#define ST_DECLARE
#define ST_DEFINE
#include "lib/sort_template.h"

/* A column of all rows. */
typedef struct WholeColumn
{
	FastColumn *column;
	Datum *values; /* NULL: nobody asks for them */
	bool *nulls;
	bool any_null;
} WholeColumn;

typedef struct Piece
{
	int64 first;
	int64 last;
	uint32 key; /* group of the task */
	bool has_time;
} Piece;

typedef struct Sessions
{
	FastTask *task; /* its groups are keys, its steps are for pieces */
	Size limit;		/* bytes */
	FastColumn *time;
	bool time_is_kept; /* something is made of it for each piece */
	uint64 gap;
	uint32 nrows;
	uint32 room;
	uint32 *keys; /* of each row */
	WholeColumn *columns;
	int ncolumns;
	TimedRow *timed; /* rows with a time, by key */
	uint32 *ends;	 /* where those of each key end */
	Piece *pieces;
	uint32 npieces;
	uint32 piece_room;
	FastGroups groups; /* what is kept for pieces */
} Sessions;

/* ---------------------------------------------------------------- what is asked for */

static const char *
zero_of(Oid type)
{
	return type == INT4OID || type == INT8OID ? "0" : "2000-01-01 00:00:00+00";
}

/* The time, and how far a session reaches from zero. */
void
braid_fast_session_select(FastPath *path)
{
	ViewNode *node = path->node;
	Oid type = getBaseType(braid_node_input(node)->columns[node->nkeys].type);

	braid_fast_path_select_more(path, psprintf("i1.c%d", node->nkeys + 1));
	braid_fast_path_select_more(path, psprintf("braid_internal.session_reach('%s'::%s, %s)",
											   zero_of(type), format_type_be(type), node->gap));
}

/* False: the gap is so long that it is near the end of all time. */
static bool
take_time(Sessions *s, FastPath *path)
{
	Const *reach = (Const *) braid_fast_path_target(path, path->ntargets);
	int64 limit;

	s->time = braid_fast_path_column(path, path->ntargets - 1);
	limit = s->time->length == sizeof(int32) ? INT64CONST(1) << 30 : INT64CONST(1) << 62;
	if (!IsA(reach, Const) || reach->constisnull || (int64) reach->constvalue >= limit)
		return false;
	s->gap = reach->constvalue + 1;
	return true;
}

/* ---------------------------------------------------------------- all rows */

static void
add_column(Sessions *s, FastColumn *column)
{
	WholeColumn *whole = &s->columns[s->ncolumns];

	if (column == NULL)
		return;
	for (int i = 0; i < s->ncolumns; i++)
		if (s->columns[i].column == column)
		{
			s->time_is_kept |= column == s->time;
			return;
		}
	*whole = (WholeColumn){.column = column};
	s->ncolumns++;
}

static void
add_columns(Sessions *s)
{
	FastTask *task = s->task;

	s->columns = palloc(sizeof(WholeColumn) * (2 + 2 * task->nsteps));
	add_column(s, s->time);
	add_column(s, task->weight);
	for (int i = 0; i < task->nsteps; i++)
	{
		add_column(s, task->steps[i].value);
		add_column(s, task->steps[i].second);
	}
}

static void *
allocate(Size size, Size n)
{
	return MemoryContextAllocHuge(CurrentMemoryContext, size * Max(n, 1));
}

/* Takes memory; false: there is not so much left. */
static bool
reserve(Sessions *s, Size size)
{
	if (size > s->limit)
		return false;
	s->limit -= size;
	return true;
}

/* False: rows take more memory than there is. */
static bool
make_room(Sessions *s)
{
	FastRows *rows = &s->task->rows;
	int64 nrows = rows->message ? rows->message->delta->nrows : tuplestore_tuple_count(rows->store);
	Size width =
		s->ncolumns * (sizeof(Datum) + sizeof(bool)) + sizeof(TimedRow) + 2 * sizeof(uint32);

	if (nrows > PG_INT32_MAX || !reserve(s, nrows * width))
		return false;
	s->room = nrows;
	s->keys = allocate(sizeof(uint32), nrows);
	for (int i = 0; i < s->ncolumns; i++)
	{
		WholeColumn *whole = &s->columns[i];

		whole->nulls = allocate(sizeof(bool), nrows);
		if (!whole->column->is_null_only)
			whole->values = allocate(sizeof(Datum), nrows);
	}
	return true;
}

/* Appends the rows that are looked at to a column. */
static void
append(Sessions *s, WholeColumn *whole, int nrows)
{
	FastColumn *c = whole->column;

	if (c->any_null)
		memcpy(whole->nulls + s->nrows, c->nulls, sizeof(bool) * nrows);
	else
		memset(whole->nulls + s->nrows, false, sizeof(bool) * nrows);
	whole->any_null |= c->any_null;
	if (whole->values)
		memcpy(whole->values + s->nrows, c->values, sizeof(Datum) * nrows);
}

/* False: there are more keys than there is memory for. */
static bool
read_rows(Sessions *s)
{
	FastRows *rows = &s->task->rows;
	FastGroups *keys = &s->task->groups;

	while (braid_fast_rows_next(rows))
	{
		CHECK_FOR_INTERRUPTS();
		if (s->nrows + rows->nrows > s->room)
			elog(ERROR, "more than %u rows in a delta", s->room);
		if (!braid_fast_groups_find(keys, rows))
			return false;
		memcpy(s->keys + s->nrows, keys->found, sizeof(uint32) * rows->nrows);
		for (int i = 0; i < s->ncolumns; i++)
			append(s, &s->columns[i], rows->nrows);
		s->nrows += rows->nrows;
	}
	for (int i = 0; i < s->ncolumns; i++)
	{
		WholeColumn *whole = &s->columns[i];

		whole->column->values = whole->values;
		whole->column->nulls = whole->nulls;
		whole->column->any_null = whole->any_null;
	}
	return true;
}

/* ---------------------------------------------------------------- rows by key and time */

static inline int64
time_of(Sessions *s, uint32 row)
{
	Datum value = s->time->values[row];

	return s->time->length == sizeof(int32) ? DatumGetInt32(value) : DatumGetInt64(value);
}

static inline bool
has_time(Sessions *s, uint32 row)
{
	return !s->time->any_null || !s->time->nulls[row];
}

/* Where the rows of each key begin. */
static uint32 *
count_rows(Sessions *s)
{
	uint32 nkeys = s->task->groups.n;
	uint32 *begins = allocate(sizeof(uint32), nkeys);
	uint32 sum = 0;

	memset(begins, 0, sizeof(uint32) * nkeys);
	for (uint32 row = 0; row < s->nrows; row++)
		begins[s->keys[row]] += has_time(s, row);
	for (uint32 key = 0; key < nkeys; key++)
	{
		uint32 n = begins[key];

		begins[key] = sum;
		sum += n;
	}
	return begins;
}

static void
bring_together(Sessions *s)
{
	s->ends = count_rows(s);
	s->timed = allocate(sizeof(TimedRow), s->room);
	for (uint32 row = 0; row < s->nrows; row++)
		if (has_time(s, row))
			s->timed[s->ends[s->keys[row]]++] = (TimedRow){time_of(s, row), row};
}

/* ---------------------------------------------------------------- pieces */

/* NO_PIECE: there is no memory for it. */
static uint32
add_piece(Sessions *s, uint32 key, int64 first, bool has_time)
{
	if (s->npieces == s->piece_room)
	{
		uint32 room = Max(2 * s->piece_room, FIRST_PIECES);

		if (!reserve(s, sizeof(Piece) * (Size) (room - s->piece_room)))
			return NO_PIECE;
		s->pieces = s->pieces ? repalloc_huge(s->pieces, sizeof(Piece) * (Size) room)
							  : allocate(sizeof(Piece), room);
		s->piece_room = room;
	}
	s->pieces[s->npieces] = (Piece){first, first, key, has_time};
	return s->npieces++;
}

static bool
is_infinite(Oid type, int64 at)
{
	if (type == DATEOID)
		return DATE_NOT_FINITE(at);
	return (type == TIMESTAMPTZOID || type == TIMESTAMPOID) && TIMESTAMP_NOT_FINITE(at);
}

/* Whether a row belongs to the session of the row before it. */
static inline bool
goes_on(Sessions *s, int64 last, int64 at)
{
	if (at == last)
		return true;
	return (uint64) at - (uint64) last < s->gap && !is_infinite(s->time->type, at) &&
		   !is_infinite(s->time->type, last);
}

/* The rows of a key, from begin to end.  False, here and below: there is no memory for the pieces. */
static bool
cut(Sessions *s, uint32 key, uint32 begin, uint32 end)
{
	uint32 piece = NO_PIECE;

	sort_rows(s->timed + begin, end - begin);
	for (uint32 i = begin; i < end; i++)
	{
		TimedRow *row = &s->timed[i];

		if (piece == NO_PIECE || !goes_on(s, s->pieces[piece].last, row->at))
			piece = add_piece(s, key, row->at, true);
		if (piece == NO_PIECE)
			return false;
		s->pieces[piece].last = row->at;
		s->groups.found[row->row] = piece;
	}
	return true;
}

/* Rows without a time: those of a key are a piece. */
static bool
take_timeless(Sessions *s)
{
	uint32 nkeys = s->task->groups.n;
	uint32 *pieces;

	if (!s->time->any_null)
		return true;
	pieces = allocate(sizeof(uint32), nkeys);
	memset(pieces, 0xff, sizeof(uint32) * nkeys);
	for (uint32 row = 0; row < s->nrows; row++)
	{
		uint32 *piece = &pieces[s->keys[row]];

		if (has_time(s, row))
			continue;
		if (*piece == NO_PIECE)
			*piece = add_piece(s, s->keys[row], 0, false);
		if (*piece == NO_PIECE)
			return false;
		s->groups.found[row] = *piece;
	}
	return true;
}

static bool
cut_all(Sessions *s)
{
	FastGroups *keys = &s->task->groups;
	uint32 *sorted = braid_fast_groups_sort(keys, 0);

	for (uint32 i = 0; i < keys->n; i++)
	{
		uint32 key = sorted[i];

		CHECK_FOR_INTERRUPTS();
		if (!cut(s, key, key > 0 ? s->ends[key - 1] : 0, s->ends[key]))
			return false;
	}
	return true;
}

/* What rows are brought together by is not needed any more. */
static void
free_keys(Sessions *s)
{
	pfree(s->keys);
	s->limit += s->room * sizeof(uint32);
	if (s->time_is_kept)
		return;
	pfree(s->columns[0].values);
	pfree(s->columns[0].nulls);
	s->limit += s->room * (sizeof(bool) + sizeof(Datum));
}

static bool
make_pieces(Sessions *s)
{
	s->groups.found = allocate(sizeof(uint32), s->room);
	bring_together(s);
	if (!take_timeless(s))
		return false;
	free_keys(s);
	if (!cut_all(s))
		return false;
	pfree(s->timed);
	s->limit += s->room * sizeof(TimedRow);
	return true;
}

/* What is kept for them; false: there is no memory for it. */
static bool
take_steps(Sessions *s, int nwords)
{
	FastTask *task = s->task;
	Size size = (Size) s->npieces * nwords * sizeof(uint64);

	if (!reserve(s, size))
		return false;
	s->groups.nkeys = 1; /* not a single group */
	s->groups.nwords = nwords;
	s->groups.words = MemoryContextAllocExtended(CurrentMemoryContext, Max(size, 1),
												 MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (int i = 0; i < task->nsteps; i++)
	{
		CHECK_FOR_INTERRUPTS();
		braid_fast_step(&task->steps[i], &s->groups, task->weight, (int) s->nrows);
	}
	return true;
}

/* ---------------------------------------------------------------- results */

static void
put_piece(Sessions *s, uint32 nth, Tuplestorestate *rows, TupleDesc desc)
{
	FastTask *task = s->task;
	Piece *piece = &s->pieces[nth];
	Datum values[MaxTupleAttributeNumber];
	bool nulls[MaxTupleAttributeNumber];
	int n = 0;

	for (; n < task->groups.nkeys; n++)
		values[n] = braid_fast_groups_key(&task->groups, piece->key, n, &nulls[n]);
	values[n] = (Datum) piece->first;
	nulls[n++] = !piece->has_time;
	values[n] = (Datum) piece->last;
	nulls[n++] = !piece->has_time;
	for (int i = 0; i < task->nsteps; i++)
		n += braid_fast_step_result(&task->steps[i], braid_fast_group(&s->groups, nth), values + n,
									nulls + n);
	Assert(n == desc->natts);
	tuplestore_putvalues(rows, desc, values, nulls);
}

static void
put_pieces(Sessions *s, Tuplestorestate *rows, TupleDesc desc)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "braid piece", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);

	for (uint32 i = 0; i < s->npieces; i++)
	{
		put_piece(s, i, rows, desc);
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(old);
}

static bool
make_all(Sessions *s, int nwords)
{
	if (!make_room(s))
		return false;
	s->limit /= 2;
	braid_fast_groups_open(&s->task->groups, 0, s->limit);
	return read_rows(s) && make_pieces(s) && take_steps(s, nwords);
}

bool
braid_fast_session_make(FastPath *path, PlannedStmt *stmt, Tuplestorestate *rows, TupleDesc desc)
{
	int kb = braid_run_take_memory(PG_INT32_MAX);
	Sessions s = {.task = &path->task, .limit = (Size) Max(kb, maintenance_work_mem) * 1024};
	bool done = false;

	if (take_time(&s, path))
	{
		add_columns(&s);
		braid_fast_rows_open(&path->task.rows, stmt);
		done = make_all(&s, path->nwords);
		braid_fast_rows_close(&path->task.rows);
	}
	if (done)
		put_pieces(&s, rows, desc);
	braid_run_return_memory(kb);
	return done;
}
