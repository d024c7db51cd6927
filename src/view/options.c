/*
 * options.c
 *	  Options of a continuous view, as WITH (braid.name = value) or as JSON.
 */
#include "postgres.h"

#include "commands/defrem.h"
#include "datatype/timestamp.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/timestamp.h"
#include "view/options.h"

bool braid_options_allow_recompute = false;

int64
braid_options_milliseconds(const char *text)
{
	Interval *interval = DatumGetIntervalP(DirectFunctionCall3(
		interval_in, CStringGetDatum(text), ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	int64 ms = interval->time / 1000 +
			   ((int64) interval->month * DAYS_PER_MONTH + interval->day) * SECS_PER_DAY * 1000;

	if (ms < 1000)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("schedule \"%s\" of a continuous view is too short", text),
						errdetail("It must be at least one second.")));
	return ms;
}

static void
set_schedule(ContinuousOptions *options, char *value)
{
	if (!braid_options_allow_recompute)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("recomputing a continuous view as a whole is not allowed"),
			 errdetail("A view with a schedule runs its whole query each time."),
			 errhint(
				 "Set braid.allow_recompute to on if that is meant; without a schedule the view is kept up to date, if it can be.")));
	(void) braid_options_milliseconds(value);
	options->schedule = value;
}

static void
refuse_unknown(const char *name)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("unrecognized parameter \"braid.%s\"", name),
					errhint("The parameters are braid.continuous and braid.schedule.")));
}

bool
braid_options_of_statement(List *list, ContinuousOptions *options)
{
	bool continuous = false;
	ListCell *lc;

	foreach (lc, list)
	{
		DefElem *d = lfirst(lc);

		if (d->defnamespace == NULL || strcmp(d->defnamespace, "braid") != 0)
			continue;
		if (strcmp(d->defname, "continuous") == 0)
			continuous = d->arg == NULL || defGetBoolean(d);
		else if (strcmp(d->defname, "schedule") == 0)
			set_schedule(options, defGetString(d));
		else
			refuse_unknown(d->defname);
	}
	return continuous;
}

void
braid_options_of_json(Jsonb *json, ContinuousOptions *options)
{
	JsonbIterator *it;
	JsonbValue value;
	JsonbIteratorToken token;
	char *name = NULL;

	if (!JB_ROOT_IS_OBJECT(json))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("options of a continuous view must be a JSON object")));
	it = JsonbIteratorInit(&json->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			name = pnstrdup(value.val.string.val, value.val.string.len);
		if (token != WJB_VALUE)
			continue;
		if (strcmp(name, "schedule") != 0)
			refuse_unknown(name);
		if (value.type != jbvString)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("option \"%s\" of a continuous view must be a string", name)));
		set_schedule(options, pnstrdup(value.val.string.val, value.val.string.len));
	}
}

char *
braid_options_text(const ContinuousOptions *options)
{
	StringInfoData s;

	initStringInfo(&s);
	appendStringInfoChar(&s, '{');
	if (options->schedule)
	{
		appendStringInfoString(&s, "\"schedule\": ");
		escape_json(&s, options->schedule);
	}
	appendStringInfoChar(&s, '}');
	return s.data;
}

void
braid_options_init(void)
{
	DefineCustomBoolVariable(
		"braid.allow_recompute",
		"Allows continuous views with a schedule, whose whole query is run each time.",
		"Off: CREATE refuses them. Views that exist are not affected.",
		&braid_options_allow_recompute, false, PGC_USERSET, 0, NULL, NULL, NULL);
}
