/*
 * feed_define.c
 *	  Feeds as users define them: the options braid.feed and braid.feed_key.
 *
 * NOTES
 *	  Feeds are rows of a table of ours, by oids: so renaming needs no care, and a
 *	  dump has them by name.  Who drops a relation ends its feed; a topic that is
 *	  sent to is only dropped with CASCADE, which ends the feed too.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/event_trigger.h"
#include "common/name.h"
#include "common/superuser.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "topic/topic.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/varlena.h"
#include "view/definition.h"
#include "view/feed.h"

bool
braid_feed_is_option(const char *name)
{
	return strcmp(name, "feed") == 0 || strcmp(name, "feed_key") == 0;
}

/* ---------------------------------------------------------------- what is given */

/* The lock keeps the topic until the feed is there for whoever drops it. */
static Oid
find_topic(Oid relation, const char *name)
{
	RangeVar *range = makeRangeVarFromNameList(textToQualifiedNameList(cstring_to_text(name)));
	Oid view = RangeVarGetRelid(range, AccessShareLock, false);
	BraidTopic *topic = braid_topic_get(view);
	Oid owner = braid_definition_owner(relation);

	if (topic->payload != JSONBOID)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("payloads of topic \"%s\" are not jsonb", get_rel_name(view)),
						errdetail("The messages of a feed are JSON objects."),
						errhint("SELECT braid.create_topic(...) makes one whose payloads are.")));
	if (pg_class_aclcheck(view, owner, ACL_INSERT) != ACLCHECK_OK)
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied for topic \"%s\"", get_rel_name(view)),
						errdetail("Messages of a feed are sent as the owner of \"%s\".",
								  get_rel_name(relation)),
						errhint("GRANT INSERT ON %s TO %s.", braid_relation_name(view),
								quote_identifier(GetUserNameFromId(owner, false)))));
	return view;
}

/* Of a list such as "region, day". */
static Datum
key_array(Oid relation, const char *key)
{
	List *names;
	ListCell *lc;
	Datum *elements;

	if (!SplitIdentifierString(pstrdup(key), ',', &names) || names == NIL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid value for parameter \"braid.feed_key\": \"%s\"", key),
						errhint("It is a list of columns, such as 'region, day'.")));
	elements = palloc(sizeof(Datum) * list_length(names));
	foreach (lc, names)
	{
		if (get_attnum(relation, lfirst(lc)) <= 0)
			ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
							errmsg("column \"%s\" of relation \"%s\" does not exist",
								   (char *) lfirst(lc), get_rel_name(relation))));
		elements[foreach_current_index(lc)] = CStringGetTextDatum(lfirst(lc));
	}
	return PointerGetDatum(
		construct_array(elements, list_length(names), TEXTOID, -1, false, TYPALIGN_INT));
}

static void
refuse_key_alone(Oid relation)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("parameter \"braid.feed_key\" needs \"braid.feed\""),
			 errdetail("\"%s\" has no feed whose key it could be.", get_rel_name(relation))));
}

/* ---------------------------------------------------------------- storing */

#define SET_KEY                                                                                    \
	"UPDATE braid_internal.feeds SET key = $3, requests = requests + 1 "                           \
	"WHERE relation = $1 AND $2 IS NULL"

static void
run(const char *sql, Oid relation, Oid topic, Datum key)
{
	Oid types[3] = {REGCLASSOID, REGCLASSOID, TEXTARRAYOID};
	Datum args[3] = {ObjectIdGetDatum(relation), ObjectIdGetDatum(topic), key};
	char nulls[3] = {' ', OidIsValid(topic) ? ' ' : 'n', key ? ' ' : 'n'};

	braid_superuser_execute_with_args(sql, lengthof(types), types, args, nulls);
}

void
braid_feed_set(Oid relation, const char *topic, const char *key)
{
	Datum columns = key ? key_array(relation, key) : (Datum) 0;
	Oid view = topic ? find_topic(relation, topic) : InvalidOid;
	int level = braid_superuser_fix_search_path();

	SPI_connect();
	if (topic)
		run("INSERT INTO braid_internal.feeds VALUES ($1, $2, $3) ON CONFLICT (relation) "
			"DO UPDATE SET topic = excluded.topic, key = coalesce(excluded.key, feeds.key), "
			"requests = feeds.requests + 1",
			relation, view, columns);
	else
	{
		run(SET_KEY, relation, InvalidOid, columns);
		if (SPI_processed == 0)
			refuse_key_alone(relation);
	}
	SPI_finish();
	AtEOXact_GUC(false, level);
}

void
braid_feed_reset(Oid relation, bool key_only)
{
	int level = braid_superuser_fix_search_path();

	SPI_connect();
	if (key_only)
		run(SET_KEY, relation, InvalidOid, (Datum) 0);
	else
		run("DELETE FROM braid_internal.feeds WHERE relation = $1 AND $2 IS NULL AND $3 IS NULL",
			relation, InvalidOid, (Datum) 0);
	SPI_finish();
	AtEOXact_GUC(false, level);
}

void
braid_feed_follow_column(Oid relation, const char *old, const char *new)
{
	Oid types[3] = {REGCLASSOID, TEXTOID, TEXTOID};
	Datum args[3] = {ObjectIdGetDatum(relation), CStringGetTextDatum(old),
					 CStringGetTextDatum(new)};
	int level;

	if (!OidIsValid(braid_feed_catalog()))
		return;
	level = braid_superuser_fix_search_path();
	SPI_connect();
	braid_superuser_execute_with_args(
		"SELECT FROM braid_internal.feeds WHERE relation = $1 AND $2 = ANY (key) AND $3 <> ''", 3,
		types, args, NULL);
	if (SPI_processed > 0)
		braid_superuser_execute_with_args(
			"UPDATE braid_internal.feeds SET key = array_replace(key, $2, $3) WHERE relation = $1",
			3, types, args, NULL);
	SPI_finish();
	AtEOXact_GUC(false, level);
}

char *
braid_feed_clause(Oid relation)
{
	Oid types[1] = {REGCLASSOID};
	Datum args[1] = {ObjectIdGetDatum(relation)};
	MemoryContext caller = CurrentMemoryContext;
	char *clause = "";

	SPI_connect();
	SPI_execute_with_args(
		"SELECT format(', braid.feed = %L', topic) || coalesce((SELECT "
		"format(', braid.feed_key = %L', string_agg(quote_ident(k), ', ')) "
		"FROM unnest(key) k HAVING count(*) > 0), '') FROM braid_internal.feeds WHERE relation = $1",
		1, types, args, NULL, true, 1);
	if (SPI_processed > 0)
		clause = MemoryContextStrdup(caller,
									 SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
	SPI_finish();
	return clause;
}

/* ---------------------------------------------------------------- what is dropped */

PG_FUNCTION_INFO_V1(braid_sql_feed_dropped);

/* braid_internal.feed_dropped(): on sql_drop */
Datum
braid_sql_feed_dropped(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function must be called as an event trigger")));
	if (!OidIsValid(braid_feed_catalog()))
		PG_RETURN_NULL(); /* the extension itself is dropped */
	SPI_connect();
	braid_superuser_execute(
		"SELECT d.objid FROM pg_catalog.pg_event_trigger_dropped_objects() d "
		"JOIN braid_internal.feeds f ON f.relation OPERATOR(pg_catalog.=) d.objid "
		"WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass "
		"AND d.objsubid OPERATOR(pg_catalog.=) 0");
	if (SPI_processed > 0)
		braid_superuser_execute(
			"DELETE FROM braid_internal.feeds f USING "
			"pg_catalog.pg_event_trigger_dropped_objects() d "
			"WHERE f.relation OPERATOR(pg_catalog.=) d.objid "
			"AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass "
			"AND d.objsubid OPERATOR(pg_catalog.=) 0");
	SPI_finish();
	PG_RETURN_NULL();
}

/* Before a topic is dropped. */
static void
drop(int id, bool cascade)
{
	Oid types[1] = {INT4OID};
	Datum args[1] = {Int32GetDatum(id)};
	StringInfoData names;

	braid_superuser_execute_with_args(
		"SELECT f.relation::regclass::text FROM braid_internal.feeds f "
		"JOIN braid_internal.topics t ON t.view = f.topic WHERE t.id = $1 ORDER BY 1",
		1, types, args, NULL);
	if (SPI_processed == 0)
		return;
	initStringInfo(&names);
	for (uint64 i = 0; i < SPI_processed; i++)
		appendStringInfo(&names, "%s%s", i > 0 ? ", " : "",
						 SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1));
	if (!cascade)
		ereport(ERROR, (errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
						errmsg("cannot drop the topic because changefeeds depend on it"),
						errdetail("Changes of %s are sent to it.", names.data),
						errhint("End them by ALTER ... RESET (braid.feed), or use CASCADE.")));
	ereport(NOTICE, (errmsg("the changefeed of %s ends", names.data)));
	braid_superuser_execute_with_args(
		"DELETE FROM braid_internal.feeds f USING braid_internal.topics t "
		"WHERE t.view = f.topic AND t.id = $1",
		1, types, args, NULL);
}

static const BraidTopicFollower follower = {.drop = drop};

void
braid_feed_init(void)
{
	braid_topic_register(&follower);
}
