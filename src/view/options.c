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

void
braid_options_check_read(const char *value)
{
	if (strcmp(value, "eventual") != 0 && strcmp(value, "own") != 0 && strcmp(value, "strict") != 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid value for parameter \"braid.read\": \"%s\"", value),
						errhint("Available values: eventual, own, strict.")));
}

static void
set_read(ContinuousOptions *options, char *value)
{
	braid_options_check_read(value);
	options->read = value;
}

/* What contradicts each other. */
static void
check_together(const ContinuousOptions *options)
{
	if (options->schedule && options->read && strcmp(options->read, "eventual") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a continuous view with a schedule cannot be read %s", options->read),
				 errdetail("It shows what was there when it was computed last.")));
}

static void
refuse_unknown(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unrecognized parameter \"braid.%s\"", name),
			 errhint("The parameters are braid.continuous, braid.read and braid.schedule.")));
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
		else if (strcmp(d->defname, "read") == 0)
			set_read(options, defGetString(d));
		else
			refuse_unknown(d->defname);
	}
	check_together(options);
	return continuous;
}

void
braid_options_of_json(Jsonb *json, ContinuousOptions *options)
{
	JsonbIterator *it;
	JsonbValue value;
	JsonbIteratorToken token;
	char *name = NULL;
	char *text;

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
		if (strcmp(name, "schedule") != 0 && strcmp(name, "read") != 0)
			refuse_unknown(name);
		if (value.type != jbvString)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("option \"%s\" of a continuous view must be a string", name)));
		text = pnstrdup(value.val.string.val, value.val.string.len);
		if (strcmp(name, "read") == 0)
			set_read(options, text);
		else
			set_schedule(options, text);
	}
	check_together(options);
}

static void
append_option(StringInfo s, const char *name, const char *value)
{
	if (value == NULL)
		return;
	appendStringInfo(s, "%s\"%s\": ", s->len > 1 ? ", " : "", name);
	escape_json(s, value);
}

char *
braid_options_text(const ContinuousOptions *options)
{
	StringInfoData s;

	initStringInfo(&s);
	appendStringInfoChar(&s, '{');
	append_option(&s, "schedule", options->schedule);
	append_option(&s, "read", options->read);
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
