/*
 * work_options.c
 *	  Options of groups of mode work.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "topic/catalog.h"
#include "topic/work.h"
#include "topic/work_store.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#define GROUPS_ID 1
#define GROUPS_OPTIONS 7

static const WorkOptions defaults = {
	.max_attempts = 20, .backoff = USECS_PER_SEC, .max_backoff = USECS_PER_HOUR};

static void
refuse_value(const char *name, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("invalid value for option \"%s\" of a consumer group", name),
					errhint("%s", hint)));
}

static int64
read_interval(const char *name, const JsonbValue *v)
{
	Interval *i;
	int64 us;

	if (v->type != jbvString)
		refuse_value(name, "An interval is wanted, as a string: \"10 s\".");
	i = DatumGetIntervalP(DirectFunctionCall3(
		interval_in, CStringGetDatum(pnstrdup(v->val.string.val, v->val.string.len)),
		ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	us = i->time + (i->day + (int64) i->month * DAYS_PER_MONTH) * USECS_PER_DAY;
	if (us < 0 || i->time < 0 || i->day < 0 || i->month < 0 || us > 1000 * 365 * USECS_PER_DAY)
		refuse_value(name, "It must not be negative, nor longer than 1000 years.");
	return us;
}

static int
read_number(const char *name, const JsonbValue *v)
{
	double d = -1;

	if (v->type == jbvNumeric)
		d = DatumGetFloat8(DirectFunctionCall1(numeric_float8, NumericGetDatum(v->val.numeric)));
	if (!(d >= 0 && d <= PG_INT16_MAX && d == (int) d))
		refuse_value(name, "A number from 0 to 32767 is wanted; 0 is no limit.");
	return (int) d;
}

static void
read_option(WorkOptions *o, const char *name, const JsonbValue *v)
{
	if (strcmp(name, "max_attempts") == 0)
		o->max_attempts = read_number(name, v);
	else if (strcmp(name, "backoff") == 0)
		o->backoff = read_interval(name, v);
	else if (strcmp(name, "max_backoff") == 0)
		o->max_backoff = read_interval(name, v);
	else if (strcmp(name, "one_per_key") == 0)
	{
		if (v->type != jbvBool)
			refuse_value(name, "It is true or false.");
		o->one_per_key = v->val.boolean;
	}
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown option \"%s\" of a consumer group", name),
				 errhint("Options are max_attempts, backoff, max_backoff and one_per_key.")));
}

static void
read_options(WorkOptions *o, Jsonb *options)
{
	JsonbIterator *it = JsonbIteratorInit(&options->root);
	JsonbIteratorToken token;
	JsonbValue v;
	char *name = NULL;

	*o = defaults;
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			name = pnstrdup(v.val.string.val, v.val.string.len);
		else if (token == WJB_VALUE)
			read_option(o, name, &v);
	}
}

void
braid_work_check_options(Datum options)
{
	WorkOptions o;

	read_options(&o, DatumGetJsonbP(options));
}

void
braid_work_options_read(int group, WorkOptions *options)
{
	Relation rel = table_open(braid_topic_relation("groups"), AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple row;

	*options = defaults;
	ScanKeyInit(&key, GROUPS_ID, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(group));
	scan = systable_beginscan(rel, braid_topic_relation("groups_id"), true, NULL, 1, &key);
	row = systable_getnext(scan);
	if (HeapTupleIsValid(row))
	{
		bool is_null;
		Datum d = heap_getattr(row, GROUPS_OPTIONS, RelationGetDescr(rel), &is_null);
		Jsonb *jsonb = DatumGetJsonbP(d);

		if (JB_ROOT_COUNT(jsonb) > 0)
			read_options(options, jsonb);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

int64
braid_work_backoff(const WorkOptions *o, int attempts)
{
	int64 us = o->backoff;

	for (int i = 1; i < attempts && us < o->max_backoff; i++)
		us *= 2;
	return Min(us, o->max_backoff);
}
