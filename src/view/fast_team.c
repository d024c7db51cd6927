/*
 * fast_team.c
 *	  Groups of a large delta of a stream, made by several processes.
 *
 * NOTES
 *	  The worker that has decoded the delta deals its messages out, each to whoever
 *	  has room for it, and groups itself what nobody has room for.  So it does not
 *	  matter which keys a message has: the rows of one key are spread over the
 *	  processes as well as any others, and each brings one group for it in the end.
 *
 *		delta ── message ──► queue ──► helper: groups ──┐
 *		      ── message ──► queue ──► helper: groups ──┤ combined
 *		      ── message ──────────►   here:   groups ──┘
 *
 *	  Helpers are parallel workers, as queries have them: they have the
 *	  transaction, the snapshot, the user and the settings of this process, and what
 *	  goes wrong in one of them is an error here.  They write nothing.
 *
 *	  Deltas of tables are not dealt out: to decode them takes several times as
 *	  long as to group them.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "catalog/pg_proc.h"
#include "common/failpoint.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "storage/proc.h"
#include "storage/shm_mq.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "view/fast_program.h"
#include "view/fast_team.h"

/* To have helpers takes some milliseconds. */
#define TEAM_ROWS 200000

#define INPUT_SIZE (1024 * 1024)
#define OUTPUT_SIZE (256 * 1024)
#define OUTPUT_CHUNK (64 * 1024)

/* Of the table of contents. */
#define KEY_PROGRAM UINT64CONST(0xB4A1D00000000001)
#define KEY_LIMIT UINT64CONST(0xB4A1D00000000002)
#define KEY_INPUT UINT64CONST(0xB4A1D00000000003) /* of all helpers, one behind the other */
#define KEY_OUTPUT UINT64CONST(0xB4A1D00000000004)

/* In front of a message in a queue. */
typedef struct ChunkHeader
{
	XLogRecPtr lsn;
	Oid stream;
} ChunkHeader;

#define CHUNK_HEADER MAXALIGN(sizeof(ChunkHeader))

typedef struct Helper
{
	shm_mq_handle *input;
	shm_mq_handle *output;
	StringInfoData chunk; /* what goes to him */
	bool is_sending;	  /* there is a part of it that did not fit */
	bool is_gone;
} Helper;

typedef struct Team
{
	FastTask *task;
	ParallelContext *context;
	Helper *helpers;
	int nhelpers;
	int turn;
} Team;

extern PGDLLEXPORT void braid_fast_team_main(dsm_segment *segment, shm_toc *toc);

static int most_helpers = 0;

/* Says that all groups have been sent; smaller than any group. */
static const uint64 end_of_groups = 0;

/* ---------------------------------------------------------------- who may help */

static bool
is_unsafe_function(Oid function, void *context)
{
	return func_parallel(function) != PROPARALLEL_SAFE;
}

/* Whether it can be evaluated here only. */
static bool
is_unsafe(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (check_functions_in_node(node, is_unsafe_function, context) || IsA(node, Param) ||
		IsA(node, CoerceToDomain) || IsA(node, NextValueExpr))
		return true;
	return expression_tree_walker(node, is_unsafe, context);
}

bool
braid_fast_team_has_helpers(int64 nrows)
{
	return most_helpers > 0 && nrows >= TEAM_ROWS;
}

bool
braid_fast_team_is_wanted(FastTask *task, int64 nrows)
{
	ListCell *lc;

	if (!braid_fast_team_has_helpers(nrows) || task->rows.message == NULL ||
		is_unsafe((Node *) task->rows.scan->plan.qual, NULL))
		return false;
	foreach (lc, task->rows.columns)
		if (is_unsafe((Node *) ((FastColumn *) lfirst(lc))->expr, NULL))
			return false;
	return true;
}

/* ---------------------------------------------------------------- making a team */

static shm_mq *
queue_of(char *queues, Size size, int i)
{
	return (shm_mq *) (queues + i * size);
}

static char *
make_queues(Team *team, uint64 key, Size size)
{
	ParallelContext *context = team->context;
	char *queues = shm_toc_allocate(context->toc, size * context->nworkers);

	for (int i = 0; i < context->nworkers; i++)
		(void) shm_mq_create(queue_of(queues, size, i), size);
	shm_toc_insert(context->toc, key, queues);
	return queues;
}

static void
attach(Team *team, char *inputs, char *outputs)
{
	ParallelContext *context = team->context;

	team->nhelpers = context->nworkers_launched;
	team->helpers = palloc0(sizeof(Helper) * Max(team->nhelpers, 1));
	for (int i = 0; i < team->nhelpers; i++)
	{
		Helper *helper = &team->helpers[i];
		shm_mq *input = queue_of(inputs, INPUT_SIZE, i);
		shm_mq *output = queue_of(outputs, OUTPUT_SIZE, i);

		shm_mq_set_sender(input, MyProc);
		shm_mq_set_receiver(output, MyProc);
		helper->input = shm_mq_attach(input, context->seg, context->worker[i].bgwhandle);
		helper->output = shm_mq_attach(output, context->seg, context->worker[i].bgwhandle);
		initStringInfo(&helper->chunk);
	}
}

static void
make_team(Team *team)
{
	char *program = braid_fast_program_write(team->task);
	Size length = strlen(program) + 1;
	ParallelContext *context = CreateParallelContext("braid", "braid_fast_team_main", most_helpers);
	char *inputs;
	char *outputs;
	Size *limit;

	team->context = context;
	shm_toc_estimate_chunk(&context->estimator, length);
	shm_toc_estimate_chunk(&context->estimator, sizeof(Size));
	shm_toc_estimate_chunk(&context->estimator, INPUT_SIZE * context->nworkers);
	shm_toc_estimate_chunk(&context->estimator, OUTPUT_SIZE * context->nworkers);
	shm_toc_estimate_keys(&context->estimator, 4);
	InitializeParallelDSM(context);
	shm_toc_insert(context->toc, KEY_PROGRAM,
				   memcpy(shm_toc_allocate(context->toc, length), program, length));
	limit = shm_toc_allocate(context->toc, sizeof(Size));
	*limit = team->task->groups.limit;
	shm_toc_insert(context->toc, KEY_LIMIT, limit);
	inputs = make_queues(team, KEY_INPUT, INPUT_SIZE);
	outputs = make_queues(team, KEY_OUTPUT, OUTPUT_SIZE);
	LaunchParallelWorkers(context);
	attach(team, inputs, outputs);
}

/* ---------------------------------------------------------------- dealing */

/*
 * Sends what is on its way to a helper; false: nothing more can be sent to him now.  If he
 * has gone it may be by an error, which will be ours, or as he has too many groups.
 */
static bool
send_chunk(Helper *helper, bool wait)
{
	shm_mq_result result =
		shm_mq_send(helper->input, helper->chunk.len, helper->chunk.data, !wait, true);

	helper->is_gone |= result == SHM_MQ_DETACHED;
	helper->is_sending = result == SHM_MQ_WOULD_BLOCK;
	return result == SHM_MQ_SUCCESS;
}

static void
put_message(Helper *helper, BraidDelta *delta, BraidBatch *batch)
{
	ChunkHeader header = {delta->lsn, delta->stream};

	resetStringInfo(&helper->chunk);
	appendBinaryStringInfo(&helper->chunk, (char *) &header, sizeof(header));
	while (helper->chunk.len < CHUNK_HEADER)
		appendStringInfoChar(&helper->chunk, '\0');
	appendBinaryStringInfo(&helper->chunk, batch->message, batch->size);
}

/* Whether somebody has taken the message. */
static bool
deal(Team *team, BraidBatch *batch)
{
	for (int i = 0; i < team->nhelpers; i++)
	{
		Helper *helper = &team->helpers[team->turn];

		team->turn = (team->turn + 1) % team->nhelpers;
		if (helper->is_gone || (helper->is_sending && !send_chunk(helper, false)))
			continue;
		put_message(helper, team->task->rows.message->delta, batch);
		(void) send_chunk(helper, false);
		return true;
	}
	return false;
}

/* The next message that nobody else takes. */
static bool
next_not_dealt(FastRows *rows, BraidBatch *batch)
{
	while (braid_delta_next(rows->message->delta, batch))
	{
		CHECK_FOR_INTERRUPTS();
		if (!deal(rows->feed, batch))
			return true;
	}
	return false;
}

/* ---------------------------------------------------------------- collecting */

static bool
take_groups(Team *team, char *data, Size size)
{
	StringInfoData s = {.data = data, .len = (int) size, .maxlen = (int) size};
	bool fits = true;

	while (fits && s.cursor < s.len)
		fits = braid_fast_program_take(&s, team->task);
	return fits;
}

/* False: there are too many groups, for him or for us. */
static bool
collect_from(Team *team, Helper *helper)
{
	bool is_whole = false;
	bool fits = true;

	for (;;)
	{
		Size size;
		void *data;
		shm_mq_result result = shm_mq_receive(helper->output, &size, &data, false);

		if (result != SHM_MQ_SUCCESS)
			break;
		if (size == sizeof(end_of_groups))
			is_whole = true;
		else
			fits = fits && take_groups(team, data, size);
	}
	return is_whole && fits;
}

static bool
collect(Team *team)
{
	bool fits = true;

	for (int i = 0; i < team->nhelpers; i++)
	{
		Helper *helper = &team->helpers[i];

		if (helper->is_sending)
			(void) send_chunk(helper, true);
		shm_mq_detach(helper->input);
	}
	for (int i = 0; i < team->nhelpers; i++)
		fits = collect_from(team, &team->helpers[i]) && fits;
	return fits;
}

bool
braid_fast_team_run(FastTask *task)
{
	Team team = {.task = task};
	bool fits;

	EnterParallelMode();
	make_team(&team);
	task->nhelpers = team.nhelpers;
	task->rows.next_message = next_not_dealt;
	task->rows.feed = &team;
	fits = braid_fast_task_run(task);
	fits = collect(&team) && fits;
	WaitForParallelWorkersToFinish(team.context);
	DestroyParallelContext(team.context);
	ExitParallelMode();
	return fits;
}

/* ---------------------------------------------------------------- a helper */

/* The next message of the queue. */
static bool
next_of_queue(FastRows *rows, BraidBatch *batch)
{
	Size size;
	void *data;
	ChunkHeader *header;

	CHECK_FOR_INTERRUPTS();
	if (shm_mq_receive(rows->feed, &size, &data, false) != SHM_MQ_SUCCESS)
		return false;
	header = data;
	braid_delta_take(rows->message->delta, batch, header->lsn, header->stream,
					 (char *) data + CHUNK_HEADER, size - CHUNK_HEADER);
	return true;
}

static void
send_groups(FastTask *task, shm_mq_handle *output)
{
	StringInfoData s;

	initStringInfo(&s);
	for (uint32 group = 0; group < task->groups.n; group++)
	{
		braid_fast_program_put(&s, task, group);
		if (s.len < OUTPUT_CHUNK && group + 1 < task->groups.n)
			continue;
		if (shm_mq_send(output, s.len, s.data, false, true) != SHM_MQ_SUCCESS)
			return;
		resetStringInfo(&s);
	}
	(void) shm_mq_send(output, sizeof(end_of_groups), &end_of_groups, false, true);
}

void
braid_fast_team_main(dsm_segment *segment, shm_toc *toc)
{
	shm_mq *input =
		queue_of(shm_toc_lookup(toc, KEY_INPUT, false), INPUT_SIZE, ParallelWorkerNumber);
	shm_mq *output =
		queue_of(shm_toc_lookup(toc, KEY_OUTPUT, false), OUTPUT_SIZE, ParallelWorkerNumber);
	Size *limit = shm_toc_lookup(toc, KEY_LIMIT, false);
	shm_mq_handle *results;
	FastTask *task;

	shm_mq_set_receiver(input, MyProc);
	shm_mq_set_sender(output, MyProc);
	results = shm_mq_attach(output, segment, NULL);
	task = braid_fast_program_read(shm_toc_lookup(toc, KEY_PROGRAM, false), *limit);
	task->rows.next_message = next_of_queue;
	task->rows.feed = shm_mq_attach(input, segment, NULL);
	if (braid_fast_task_run(task))
	{
		BRAID_FAILPOINT("fast-team-helps");
		send_groups(task, results);
	}
	braid_fast_rows_close(&task->rows);
	shm_mq_detach(task->rows.feed);
	shm_mq_detach(results);
}

void
braid_fast_team_init(void)
{
	DefineCustomIntVariable(
		"braid.view_workers",
		"Processes that help the capture worker to group many rows of streams.",
		"They are parallel workers, of which max_parallel_workers are the most.", &most_helpers, 0,
		0, 64, PGC_SIGHUP, 0, NULL, NULL, NULL);
}
