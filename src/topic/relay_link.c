/*
 * relay_link.c
 *	  The worker's dealings with one relay.
 *
 * NOTES
 *	  A batch is asked for before the last one is stored: so both servers work.  With the
 *	  request goes which batch is stored here durably, so at most two are under way, which is
 *	  all the memory that a relay needs however far it is behind.
 *
 *	  An error of one relay must not stop the others: it ends the transaction, the
 *	  connection is closed, and the relay begins again from what is stored, after a delay that
 *	  grows.  Only what the source says of itself can stop a relay for good.
 */
#include "postgres.h"

#include <limits.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "common/failpoint.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "topic/relay_batch.h"
#include "topic/relay_failure.h"
#include "topic/relay_greeting.h"
#include "topic/relay_link.h"
#include "topic/relay_server.h"
#include "topic/relay_status.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define MIN_RETRY_MS 100
#define MAX_RETRY_MS 10000
#define BUSY_RETRY_MS 50
#define FETCH_WAIT_MS 5000 /* how long a source waits for a message */
#define LOOK_AT_TARGET_EVERY_MS 1000

int braid_relay_timeout = 10000;

/* ---------------------------------------------------------------- life */

RelayLink *
braid_relay_link_create(const BraidRelay *relay)
{
	MemoryContext context =
		AllocSetContextCreate(TopMemoryContext, "braid relay", ALLOCSET_DEFAULT_SIZES);
	RelayLink *l = MemoryContextAllocZero(context, sizeof(RelayLink));

	l->context = context;
	l->relay = *relay;
	l->relay.source = MemoryContextStrdup(context, relay->source);
	l->retry_ms = MIN_RETRY_MS;
	return l;
}

static void
drop_batch(RelayLink *l)
{
	PQclear(l->batch);
	l->batch = NULL;
}

static void
close_link(RelayLink *l)
{
	braid_connection_close(&l->connection);
	drop_batch(l);
	l->step = RELAY_RESTS;
	l->is_proven = false;
}

void
braid_relay_link_forget(RelayLink *l)
{
	close_link(l);
	braid_relay_status_forget(l->relay.id);
	MemoryContextDelete(l->context);
}

static void
fail(RelayLink *l, RelayFailure f)
{
	/* Once: while it goes on, braid.relays says so. */
	if (l->retry_ms == MIN_RETRY_MS)
		ereport(LOG, (errmsg("relay \"%s\": %s", NameStr(l->relay.name), f.reason),
					  errhint("%s", f.advice)));
	close_link(l);
	braid_relay_status_set(l->relay.id, RELAY_FAILING, f.reason, f.advice);
	l->retry_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), l->retry_ms);
	l->retry_ms = Min(l->retry_ms * 2, MAX_RETRY_MS);
}

static void
fail_to_reach(RelayLink *l, const char *message)
{
	fail(l, braid_relay_failure_of_connection(message));
}

/* All has gone well once, up to the commit. */
static void
succeed(RelayLink *l)
{
	if (l->is_proven)
		return;
	l->is_proven = true;
	l->retry_ms = MIN_RETRY_MS;
	braid_relay_status_set(l->relay.id, RELAY_STREAMING, NULL, NULL);
}

/* Runs something that may throw, which is the end of what this relay has begun. */
static bool
guarded(RelayLink *l, void (*step)(RelayLink *l))
{
	MemoryContext caller = CurrentMemoryContext;
	bool done = false;

	PG_TRY();
	{
		step(l);
		done = true;
	}
	PG_CATCH();
	{
		ErrorData *e;

		MemoryContextSwitchTo(caller);
		e = CopyErrorData();
		FlushErrorState();
		HOLD_INTERRUPTS();
		AbortCurrentTransaction();
		RESUME_INTERRUPTS();
		MemoryContextSwitchTo(caller);
		fail(l, braid_relay_failure_here(e));
		FreeErrorData(e);
	}
	PG_END_TRY();
	return done;
}

/* ---------------------------------------------------------------- connecting */

/* What the target is, and where and as whom to connect to. */
static void
take_definition(RelayLink *l)
{
	BraidTopic *topic = braid_topic_by_id(l->relay.target);

	if (topic == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("its target was dropped"),
						errhint("Drop the relay as well, by braid.drop_relay().")));
	l->target = braid_relay_identity(topic->id);
	if (l->options_context)
		MemoryContextDelete(l->options_context);
	l->options_context =
		AllocSetContextCreate(l->context, "braid relay options", ALLOCSET_SMALL_SIZES);
	MemoryContextSwitchTo(l->options_context);
	l->payload = format_type_be(topic->payload);
	l->options = braid_relay_connection_options(NameStr(l->relay.server), braid_relay_owner(topic));
}

static void
prepare(RelayLink *l)
{
	MemoryContext caller = braid_relay_begin_transaction();

	take_definition(l);
	braid_relay_end_transaction(caller);
	if (l->options.needs_password && !l->options.has_password)
		ereport(ERROR, (errcode(ERRCODE_S_R_E_PROHIBITED_SQL_STATEMENT_ATTEMPTED),
						errmsg("a password is required"),
						errdetail("The owner of the target is not a superuser."),
						errhint("Give the password in his user mapping.")));
}

static void
connect_link(RelayLink *l)
{
	const char *error;

	braid_relay_status_set(l->relay.id, RELAY_CONNECTING, NULL, NULL);
	if (!guarded(l, prepare))
		return;
	if (braid_connection_open(&l->connection, &l->options, &error))
		l->step = RELAY_OPENS;
	else
		fail_to_reach(l, error);
}

/* ---------------------------------------------------------------- beginning and end */

static void
send_fetch(RelayLink *l)
{
	char *sql =
		psprintf("CALL braid_internal.relay_fetch(%lld, %d, %d, %d, NULL)", (long long) l->number,
				 l->relay.batch_rows, l->relay.batch_bytes, l->is_proven ? FETCH_WAIT_MS : 0);

	l->step = RELAY_FETCHES;
	if (!braid_connection_send_params(&l->connection, sql, 0, NULL, true))
		fail_to_reach(l, PQerrorMessage(l->connection.pg));
}

static void
turn_off(RelayLink *l)
{
	close_link(l);
	l->is_on = false;
}

/* The source is to be asked for batches, or has refused. */
static void
end_open(RelayLink *l, PGresult *r)
{
	if (PQresultStatus(r) != PGRES_TUPLES_OK || PQntuples(r) != 1 ||
		PQnfields(r) != ANSWER_NCOLUMNS)
	{
		fail(l, braid_relay_failure_of_source(r));
		return;
	}
	l->answer = r;
	if (strcmp(PQgetvalue(r, 0, ANSWER_VERDICT), "ok") != 0)
	{
		if (guarded(l, braid_relay_take_refusal))
			turn_off(l);
	}
	else if (guarded(l, braid_relay_take_answer))
		send_fetch(l);
	l->answer = NULL;
}

static void
end_close(RelayLink *l, PGresult *r)
{
	if (PQresultStatus(r) != PGRES_TUPLES_OK)
		fail(l, braid_relay_failure_of_source(r));
	else if (guarded(l, braid_relay_take_leave))
		turn_off(l);
}

/* ---------------------------------------------------------------- batches */

/* Whether the target needs more room than it may; looked at now and then. */
static void
look_at_target(RelayLink *l)
{
	TimestampTz now = GetCurrentTimestamp();
	MemoryContext caller;
	BraidTopic *topic;
	int64 size = 0;

	if (l->relay.target_limit == 0)
	{
		l->is_large = false;
		return;
	}
	if (!TimestampDifferenceExceeds(l->looked_at, now, LOOK_AT_TARGET_EVERY_MS))
		return;
	l->looked_at = now;
	caller = braid_relay_begin_transaction();
	topic = braid_topic_by_id(l->relay.target);
	for (int i = 0; topic && i < topic->nsegments; i++)
		size += DatumGetInt64(
			DirectFunctionCall1(pg_total_relation_size, ObjectIdGetDatum(topic->tables[i])));
	braid_relay_end_transaction(caller);
	l->is_large = size > l->relay.target_limit;
}

static void
ask_for_more(RelayLink *l)
{
	if (!guarded(l, look_at_target))
		return;
	if (l->is_large)
	{
		l->step = RELAY_HOLDS_BACK;
		braid_relay_status_set(l->relay.id, RELAY_HELD, "the target needs more than target_limit",
							   "Let the target's consumers read on, or raise target_limit with "
							   "braid.alter_relay().");
		return;
	}
	if (l->step == RELAY_HOLDS_BACK)
		braid_relay_status_set(l->relay.id, RELAY_STREAMING, NULL, NULL);
	send_fetch(l);
}

/* What the source says of itself, beside the messages. */
static void
note_contact(RelayLink *l)
{
	StringInfoData bytes = {
		.data = PQgetvalue(l->batch, 0, 0), .len = PQgetlength(l->batch, 0, 0), .cursor = 0};
	BraidRelayBatch header;

	braid_relay_batch_read(&bytes, &header);
	braid_relay_status_contact(l->relay.id, header.more ? header.behind : 0,
							   header.more ? header.oldest : 0);
}

static void
store_batch(RelayLink *l)
{
	note_contact(l);
	if (!braid_relay_apply(l, l->batch))
		return;
	drop_batch(l);
	succeed(l);
}

static void
end_fetch(RelayLink *l, PGresult *r)
{
	if (PQresultStatus(r) != PGRES_TUPLES_OK || PQntuples(r) != 1 || PQnfields(r) != 1 ||
		PQgetisnull(r, 0, 0))
	{
		fail(l, braid_relay_failure_of_source(r));
		PQclear(r);
		return;
	}
	Assert(l->batch == NULL);
	l->batch = r;
	ask_for_more(l);
	if (l->batch)
		(void) guarded(l, store_batch);
}

/* ---------------------------------------------------------------- events */

static void
end_command(RelayLink *l)
{
	PGresult *r;

	/* One after the other: what has come stays with libpq until the last one is stored. */
	if (l->batch)
		return;
	r = braid_connection_take_result(&l->connection);
	if (l->step == RELAY_FETCHES)
		end_fetch(l, r);
	else
	{
		if (l->relay.dropped)
			end_close(l, r);
		else
			end_open(l, r);
		PQclear(r);
	}
}

static void
end_connecting(RelayLink *l)
{
	if (l->options.needs_password && !PQconnectionUsedPassword(l->connection.pg))
		fail_to_reach(l, "a password is required, and the source has not asked for it");
	else
		(void) guarded(l, l->relay.dropped ? braid_relay_send_close : braid_relay_send_open);
}

void
braid_relay_link_advance(RelayLink *l)
{
	switch (braid_connection_advance(&l->connection))
	{
		case BRAID_OUTCOME_NONE:
			break;
		case BRAID_OUTCOME_CONNECTED:
			end_connecting(l);
			break;
		case BRAID_OUTCOME_RESULT:
			end_command(l);
			break;
		case BRAID_OUTCOME_FAILED:
			fail_to_reach(l, PQerrorMessage(l->connection.pg));
			break;
	}
}

/* ---------------------------------------------------------------- tending */

static long
check_time_out(RelayLink *l)
{
	BraidConnection *c = &l->connection;
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz began = c->began;
	TimestampTz deadline;
	uint32 serial;

	if (c->state != BRAID_CONNECTION_CONNECTING && c->state != BRAID_CONNECTION_BUSY)
		return LONG_MAX;
	deadline = TimestampTzPlusMilliseconds(
		c->began, braid_relay_timeout + (l->step == RELAY_FETCHES ? FETCH_WAIT_MS : 0));
	if (deadline > now)
		return TimestampDifferenceMilliseconds(now, deadline) + 1;

	/* The answer may have come while this process was busy. */
	serial = c->serial;
	braid_relay_link_advance(l);
	if (c->serial == serial && c->state == BRAID_CONNECTION_BUSY && c->began == began && !l->batch)
		fail_to_reach(l, "it does not answer");
	return 0;
}

long
braid_relay_link_tend(RelayLink *l)
{
	TimestampTz now = GetCurrentTimestamp();

	if (!l->is_on)
		return LONG_MAX;
	if (l->step == RELAY_RESTS)
	{
		if (l->retry_at > now)
			return TimestampDifferenceMilliseconds(now, l->retry_at) + 1;
		connect_link(l);
		return l->step == RELAY_RESTS ? l->retry_ms : check_time_out(l);
	}
	if (l->batch)
	{
		(void) guarded(l, store_batch);
		if (l->batch)
			return BUSY_RETRY_MS;
		if (l->step == RELAY_FETCHES)
			braid_relay_link_advance(l);
	}
	if (l->step == RELAY_HOLDS_BACK)
	{
		ask_for_more(l);
		if (l->step == RELAY_HOLDS_BACK)
			return LOOK_AT_TARGET_EVERY_MS;
	}
	return check_time_out(l);
}

/* ---------------------------------------------------------------- changes */

static bool
is_same(const BraidRelay *a, const BraidRelay *b)
{
	return strcmp(a->source, b->source) == 0 && a->target == b->target &&
		   strcmp(NameStr(a->server), NameStr(b->server)) == 0 && a->paused == b->paused &&
		   a->dropped == b->dropped;
}

/* Whether the connection is still the one that would be made now. */
static void
compare_options(RelayLink *l)
{
	BraidConnectionOptions before = l->options;
	MemoryContext context = l->options_context;
	MemoryContext caller = braid_relay_begin_transaction();

	l->options_context = NULL;
	take_definition(l);
	braid_relay_end_transaction(caller);
	if (!braid_connection_same_options(&before, &l->options))
		close_link(l);
	if (context)
		MemoryContextDelete(context);
}

void
braid_relay_link_follow(RelayLink *l, const BraidRelay *relay)
{
	BraidRelayState state;
	char *source = l->relay.source;
	MemoryContext caller = braid_relay_begin_transaction();

	MemoryContextSwitchTo(caller);
	braid_relay_read_state(relay->id, &state);
	braid_relay_end_transaction(caller);
	if (!is_same(&l->relay, relay) || state.start || state.stopped)
	{
		close_link(l);
		l->retry_at = 0;
		l->retry_ms = MIN_RETRY_MS;
	}
	else if (l->step != RELAY_RESTS)
		(void) guarded(l, compare_options);
	l->relay = *relay;
	l->relay.source = MemoryContextStrdup(l->context, relay->source);
	pfree(source);
	l->looked_at = 0;
	l->is_on = relay->dropped || (!relay->paused && state.stopped == NULL);
	if (l->is_on)
		return;
	if (relay->paused)
		braid_relay_status_set(relay->id, RELAY_PAUSED, NULL, NULL);
	else
		braid_relay_status_set(relay->id, RELAY_STOPPED, state.stopped, NULL);
}
