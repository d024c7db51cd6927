/*
 * relay_session.c
 *	  What a session with a relay has handed out, at the source.
 *
 * NOTES
 *	  It is lost with the connection, and made anew from what the relay has stored.  An error
 *	  leaves it unusable, since a position may have been moved over messages that were
 *	  not handed out.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "topic/catalog.h"
#include "topic/relay.h"
#include "topic/relay_batch.h"
#include "topic/relay_session.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#define MOVE_GROUP_EVERY_MS 1000

typedef struct HandedPart
{
	int part;
	RelayPlace place;
} HandedPart;

typedef struct HandedOut
{
	int64 number;
	int nparts;
	HandedPart parts[FLEXIBLE_ARRAY_MEMBER];
} HandedOut;

static RelaySession *session = NULL;

/* ---------------------------------------------------------------- positions as texts */

static Oid
position_type(void)
{
	Oid type = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum("position"),
							   ObjectIdGetDatum(get_namespace_oid(BRAID_TOPIC_SCHEMA, false)));

	if (!OidIsValid(type))
		elog(ERROR, "type \"%s.position\" does not exist", BRAID_TOPIC_SCHEMA);
	return type;
}

char *
braid_relay_position_out(const BraidPosition *p)
{
	Oid output;
	bool is_varlena;

	getTypeOutputInfo(position_type(), &output, &is_varlena);
	return OidOutputFunctionCall(output, braid_position_to_datum(p));
}

void
braid_relay_position_in(BraidPosition *p, const char *text)
{
	Oid input;
	Oid param;

	getTypeInputInfo(position_type(), &input, &param);
	braid_position_from_datum(p, OidInputFunctionCall(input, unconstify(char *, text), param, -1));
}

/* ---------------------------------------------------------------- places */

static void
set_place(RelayPlace *place, MemoryContext parent, const BraidPosition *position, int64 messages)
{
	MemoryContext context =
		AllocSetContextCreate(parent, "braid relay position", ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);

	/* The old one last: it may be what is copied. */
	braid_position_copy(&place->position, position);
	MemoryContextSwitchTo(caller);
	if (place->context)
		MemoryContextDelete(place->context);
	place->context = context;
	place->messages = messages;
}

/* Hands a place over, to where there may be another one. */
static void
give_place(RelayPlace *to, RelayPlace *from)
{
	if (to->context)
		MemoryContextDelete(to->context);
	from->messages += to->messages;
	*to = *from;
}

/* ---------------------------------------------------------------- the session */

RelaySession *
braid_relay_session_begin(BraidTopic *topic, const BraidGroup *group, BraidPosition *positions,
						  int64 number, int64 confirmed)
{
	MemoryContext context;
	RelaySession *s;

	if (session)
		MemoryContextDelete(session->context);
	session = NULL;
	context =
		AllocSetContextCreate(TopMemoryContext, "braid relay session", ALLOCSET_DEFAULT_SIZES);
	s = MemoryContextAllocZero(context, sizeof(RelaySession));
	s->context = context;
	s->topic = topic->id;
	s->group = *group;
	s->nparts = topic->npartitions;
	s->parts = MemoryContextAllocZero(context, s->nparts * sizeof(RelayPart));
	for (int i = 0; i < s->nparts; i++)
	{
		RelayPart *p = &s->parts[i];

		set_place(&p->at, context, &positions[i], 0);

		/* The last session may have ended before it has moved the group. */
		set_place(&p->durable, context, &positions[i], 0);
		p->is_due = true;
	}
	s->number = number;
	s->confirmed = confirmed;
	session = s;
	return s;
}

RelaySession *
braid_relay_session_get(void)
{
	if (session == NULL || session->in_use)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("this session has not been opened for a relay, or an error has "
							   "ended it")));
	session->in_use = true;
	return session;
}

void
braid_relay_session_release(RelaySession *s)
{
	s->in_use = false;
}

void
braid_relay_session_move(RelaySession *s, int part, const BraidPosition *position, int64 n)
{
	RelayPlace *at = &s->parts[part].at;

	set_place(at, s->context, position, at->messages + n);
}

/* ---------------------------------------------------------------- what was handed out */

int
braid_relay_session_hand_out(RelaySession *s, StringInfo buf)
{
	HandedOut *h;
	MemoryContext caller;
	int n = 0;

	for (int i = 0; i < s->nparts; i++)
		n += s->parts[i].is_touched;
	if (n == 0)
		return 0;
	h = MemoryContextAllocZero(s->context, offsetof(HandedOut, parts) + n * sizeof(HandedPart));
	h->number = s->number;
	for (int i = 0; i < s->nparts; i++)
	{
		RelayPart *p = &s->parts[i];

		if (!p->is_touched)
			continue;
		braid_relay_batch_put_position(buf, i, braid_relay_position_out(&p->at.position));
		h->parts[h->nparts].part = i;
		set_place(&h->parts[h->nparts++].place, s->context, &p->at.position, p->at.messages);
		p->at.messages = 0;
		p->is_touched = false;
	}
	caller = MemoryContextSwitchTo(s->context);
	s->handed = lappend(s->handed, h);
	MemoryContextSwitchTo(caller);
	return n;
}

void
braid_relay_session_acknowledge(RelaySession *s, int64 number)
{
	while (s->handed != NIL)
	{
		HandedOut *h = linitial(s->handed);

		if (h->number > number)
			break;
		for (int i = 0; i < h->nparts; i++)
		{
			RelayPart *p = &s->parts[h->parts[i].part];

			give_place(&p->durable, &h->parts[i].place);
			p->is_due = true;
		}
		s->handed = list_delete_first(s->handed);
		pfree(h);
	}
}

/* ---------------------------------------------------------------- the group */

bool
braid_relay_session_is_due(const RelaySession *s)
{
	if (!TimestampDifferenceExceeds(s->moved_at, GetCurrentTimestamp(), MOVE_GROUP_EVERY_MS))
		return false;
	for (int i = 0; i < s->nparts; i++)
		if (s->parts[i].is_due)
			return true;
	return false;
}

static bool
is_same_position(const BraidPosition *a, const BraidPosition *b)
{
	return strcmp(braid_relay_position_out(a), braid_relay_position_out(b)) == 0;
}

/*
 * Returns whether the group was moved: not if somebody else has the position's lock, the
 * next time then, nor if it is there already.
 */
static bool
move_part(RelaySession *s, int part)
{
	RelayPart *p = &s->parts[part];
	BraidStoredPosition stored;
	Snapshot snapshot;

	if (!p->is_due || !braid_position_lock(s->group.id, part, false))
		return false;
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (!braid_position_read(s->group.id, part, snapshot, &stored))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("the group of the relay, \"%s\", was dropped at its source",
							   NameStr(s->group.name))));
	UnregisterSnapshot(snapshot);
	p->is_due = false;
	if (is_same_position(&stored.position, &p->durable.position))
		return false;
	stored.position = p->durable.position;
	stored.consumed += p->durable.messages;
	braid_position_write(s->group.id, part, &stored);
	p->durable.messages = 0;
	return true;
}

void
braid_relay_session_move_group(RelaySession *s)
{
	for (int i = 0; i < s->nparts; i++)
		s->nmoving += move_part(s, i);
	ForceSyncCommit(); /* the relay is told */
	s->moved_at = GetCurrentTimestamp();
}

void
braid_relay_session_moved_group(RelaySession *s)
{
	s->confirmed += s->nmoving;
	s->nmoving = 0;
}
