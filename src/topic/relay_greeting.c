/*
 * relay_greeting.c
 *	  What a relay and its source say to each other before the first batch, and after the
 *	  last.
 *
 * NOTES
 *	  The source is told which topic of which cluster it was, and where the relay has come
 *	  to, and says whether it is still that; relay_open.c has what it answers.  What
 *	  it answers is stored, or in memory, before anything follows from it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "topic/relay_greeting.h"
#include "topic/relay_status.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/snapmgr.h"

/* ---------------------------------------------------------------- transactions */

MemoryContext
braid_relay_begin_transaction(void)
{
	MemoryContext caller = CurrentMemoryContext;

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	return caller;
}

void
braid_relay_end_transaction(MemoryContext caller)
{
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(caller);
}

/* Nobody else is changing the relay, and it is as we know it; otherwise it is tried again. */
static void
require_unchanged(RelayLink *l)
{
	if (!braid_relay_try_lock(l->relay.id) || braid_relay_has_changed())
		ereport(ERROR, (errcode(ERRCODE_LOCK_NOT_AVAILABLE),
						errmsg("somebody else is changing the relay")));
}

/* ---------------------------------------------------------------- opening the session */

static void
take_position(RelayLink *l, const BraidRelayPosition *p)
{
	RelayCount *c;

	if (p->part >= l->nparts)
	{
		l->counts = l->counts ? repalloc(l->counts, (p->part + 1) * sizeof(RelayCount))
							  : MemoryContextAlloc(l->context, (p->part + 1) * sizeof(RelayCount));
		memset(l->counts + l->nparts, 0, (p->part + 1 - l->nparts) * sizeof(RelayCount));
		l->nparts = p->part + 1;
	}
	c = &l->counts[p->part];
	c->last_id = p->last_id;
	c->messages = p->messages;
	c->bytes = p->bytes;
	c->looped = p->looped;
	l->confirmed = Max(l->confirmed, p->confirmed);
	if (p->number >= l->number)
	{
		l->number = p->number;
		l->timeline = p->timeline;
		l->lsn = p->lsn;
	}
}

static void
complain(RelayLink *l)
{
	ereport(ERROR, (errcode(ERRCODE_CONNECTION_FAILURE),
					errmsg("%s", braid_connection_line(PQerrorMessage(l->connection.pg)))));
}

static char *
group_name(const RelayLink *l)
{
	/* The number is that of this side: another relay of that name is another one. */
	const char *name = NameStr(l->relay.name);

	return psprintf("relay %.*s %016llx", pg_mbcliplen(name, strlen(name), 38), name,
					(unsigned long long) braid_relay_identity(-l->relay.id));
}

static void
append_element(StringInfo array, const char *text)
{
	appendStringInfoString(array, array->len > 1 ? ",\"" : "\"");
	for (const char *c = text; *c; c++)
	{
		if (*c == '"' || *c == '\\')
			appendStringInfoChar(array, '\\');
		appendStringInfoChar(array, *c);
	}
	appendStringInfoChar(array, '"');
}

void
braid_relay_send_open(RelayLink *l)
{
	static const char *const sql =
		"SELECT * FROM braid_internal.relay_open($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
	StringInfoData parts;
	StringInfoData texts;
	List *positions;
	const char *values[12];
	ListCell *lc;
	MemoryContext caller = braid_relay_begin_transaction();

	MemoryContextSwitchTo(l->options_context);
	braid_relay_read_state(l->relay.id, &l->state);
	MemoryContextSwitchTo(caller);
	positions = braid_relay_read_positions(l->relay.id);
	braid_relay_end_transaction(caller);

	l->nparts = 0;
	l->number = l->confirmed = 0;
	l->timeline = 0;
	l->lsn = InvalidXLogRecPtr;
	l->begins = l->state.start != NULL;
	initStringInfo(&parts);
	initStringInfo(&texts);
	appendStringInfoChar(&parts, '{');
	appendStringInfoChar(&texts, '{');
	foreach (lc, positions)
	{
		BraidRelayPosition *p = lfirst(lc);

		take_position(l, p);
		append_element(&parts, psprintf("%d", p->part));
		append_element(&texts, p->position);
	}
	appendStringInfoChar(&parts, '}');
	appendStringInfoChar(&texts, '}');
	values[0] = l->relay.source;
	values[1] = group_name(l);
	values[2] = l->state.start;
	values[3] = psprintf("%lld", (long long) l->number);
	values[4] = parts.data;
	values[5] = texts.data;
	values[6] = psprintf("%lld", (long long) l->confirmed);
	values[7] = psprintf("%lld", (long long) l->state.system);
	values[8] = psprintf("%u", l->state.database);
	values[9] = psprintf("%d", l->state.topic);
	values[10] = psprintf("%u", l->timeline);
	values[11] = psprintf("%X/%X", LSN_FORMAT_ARGS(l->lsn));
	if (!braid_connection_send_params(&l->connection, sql, lengthof(values), values, false))
		complain(l);
}

/* ---------------------------------------------------------------- dropping */

void
braid_relay_send_close(RelayLink *l)
{
	const char *values[2];

	values[0] = l->relay.source;
	values[1] = group_name(l);
	if (!braid_connection_send_params(&l->connection, "SELECT braid_internal.relay_close($1, $2)",
									  2, values, false))
		complain(l);
}

void
braid_relay_take_leave(RelayLink *l)
{
	MemoryContext caller = braid_relay_begin_transaction();

	require_unchanged(l);
	braid_relay_remove(l->relay.id);
	braid_relay_end_transaction(caller);
}

/* ---------------------------------------------------------------- the answer */

/* What is to be done by whoever reads braid.relays, for each verdict. */
static const char *
advice_for(const char *verdict)
{
	if (strcmp(verdict, "another") == 0)
		return "If it has all that was there before, as after a restore or an upgrade that nothing "
			   "was written in between, braid.resume_relay(name, 'position'); else from a time, or "
			   "from the beginning, with what comes twice.";
	if (strcmp(verdict, "removed") == 0)
		return "braid.resume_relay(name, 'position') goes on with what is left there.";
	return "Messages that are here may be missing there, and come again under other numbers: "
		   "braid.resume_relay(name, ...) with beginning, end, a time, or an id.";
}

void
braid_relay_take_refusal(RelayLink *l)
{
	const char *detail = PQgetvalue(l->answer, 0, ANSWER_DETAIL);
	MemoryContext caller;

	pg_verifymbstr(detail, strlen(detail), false);
	caller = braid_relay_begin_transaction();
	require_unchanged(l);
	braid_relay_write_stop(l->relay.id, detail,
						   advice_for(PQgetvalue(l->answer, 0, ANSWER_VERDICT)));
	braid_relay_end_transaction(caller);
	ereport(LOG, (errmsg("relay \"%s\" has stopped: %s", NameStr(l->relay.name), detail),
				  errhint("See braid.relays.")));
	braid_relay_status_set(l->relay.id, RELAY_STOPPED, detail, NULL);
}

/* Positions as the source has drawn them; the counts go on. */
static List *
first_positions(RelayLink *l)
{
	BraidRelayPosition common = {
		.number = l->number + 1,
		.timeline = strtoul(PQgetvalue(l->answer, 0, ANSWER_TIMELINE), NULL, 10),
		.confirmed = strtoll(PQgetvalue(l->answer, 0, ANSWER_CONFIRMED), NULL, 10)};
	Datum array =
		OidFunctionCall3(F_ARRAY_IN, CStringGetDatum(PQgetvalue(l->answer, 0, ANSWER_POSITIONS)),
						 ObjectIdGetDatum(TEXTOID), Int32GetDatum(-1));
	List *positions = NIL;
	Datum *texts;
	int n;

	common.lsn = DatumGetLSN(
		DirectFunctionCall1(pg_lsn_in, CStringGetDatum(PQgetvalue(l->answer, 0, ANSWER_LSN))));
	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, 'i', &texts, NULL, &n);
	for (int i = 0; i < n && i < BRAID_MAX_PARTITIONS; i++)
	{
		BraidRelayPosition *p = palloc(sizeof(BraidRelayPosition));

		*p = common;
		p->part = i;
		p->position = TextDatumGetCString(texts[i]);
		pg_verifymbstr(p->position, strlen(p->position), false);
		if (i < l->nparts)
		{
			p->last_id = l->counts[i].last_id;
			p->messages = l->counts[i].messages;
			p->bytes = l->counts[i].bytes;
			p->looped = l->counts[i].looped;
		}
		positions = lappend(positions, p);
	}
	return positions;
}

/*
 * Stores where the relay begins.  If this is not reached after all, it is tried again
 * with the same start, and the source moves its group again.
 */
static void
begin_relay(RelayLink *l)
{
	BraidRelayState state = {
		.system = l->state.system, .database = l->state.database, .topic = l->state.topic};
	MemoryContext turn = CurrentMemoryContext;
	MemoryContext caller = braid_relay_begin_transaction();
	List *positions;
	ListCell *lc;

	MemoryContextSwitchTo(turn);
	positions = first_positions(l);
	require_unchanged(l);
	braid_relay_write_begin(l->relay.id, &state, positions);
	braid_relay_end_transaction(caller);
	foreach (lc, positions)
		take_position(l, lfirst(lc));
}

static void
check_answer(RelayLink *l)
{
	if (strcmp(PQgetvalue(l->answer, 0, ANSWER_PAYLOAD), l->payload) != 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("the payload of its source is of type %s, that of its target of type %s",
					PQgetvalue(l->answer, 0, ANSWER_PAYLOAD), l->payload),
			 errhint(
				 "Drop the relay with braid.drop_relay(); make a target of the source's type.")));
	l->encoding = pg_char_to_encoding(PQgetvalue(l->answer, 0, ANSWER_ENCODING));
	if (l->encoding < 0)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("the encoding of the source, \"%s\", is not known",
							   PQgetvalue(l->answer, 0, ANSWER_ENCODING))));
	l->source = (uint64) strtoll(PQgetvalue(l->answer, 0, ANSWER_IDENTITY), NULL, 10);
	if (l->source == l->target)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("its source is its target, or a physical copy of it"),
						errhint("Drop the relay with braid.drop_relay().")));
}

void
braid_relay_take_answer(RelayLink *l)
{
	l->state.system = strtoll(PQgetvalue(l->answer, 0, ANSWER_SYSTEM), NULL, 10);
	l->state.database = strtoul(PQgetvalue(l->answer, 0, ANSWER_DATABASE), NULL, 10);
	l->state.topic = strtol(PQgetvalue(l->answer, 0, ANSWER_TOPIC), NULL, 10);
	check_answer(l);
	if (l->begins)
		begin_relay(l);
	else
		l->confirmed =
			Max(l->confirmed, strtoll(PQgetvalue(l->answer, 0, ANSWER_CONFIRMED), NULL, 10));
}
