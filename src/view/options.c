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

/* ---------------------------------------------------------------- one option */

/* An option, and where its value is kept. */
typedef struct OptionName
{
	const char *name;
	size_t offset;
	const char *choices[4]; /* what it can be; none: any text */
} OptionName;

#define TIME_OPTION(field) offsetof(ContinuousOptions, time.field)

static const OptionName option_names[] = {
	{"schedule", offsetof(ContinuousOptions, schedule)},
	{"read", offsetof(ContinuousOptions, read), {"eventual", "own", "strict"}},
	{"watermark", TIME_OPTION(watermark)},
	{"watermark_idle", TIME_OPTION(idle)},
	{"late", TIME_OPTION(late), {"update", "drop", "divert"}},
	{"emit", TIME_OPTION(emit), {"change", "close"}},
	{"retain", TIME_OPTION(retain)},
	{"base_deletes", TIME_OPTION(base_deletes), {"retract", "keep"}},
	{"feed", offsetof(ContinuousOptions, feed)},
	{"feed_key", offsetof(ContinuousOptions, feed_key)},
};

static char **
value_of(ContinuousOptions *options, const OptionName *name)
{
	return (char **) ((char *) options + name->offset);
}

static const OptionName *
find_name(const char *name)
{
	for (int i = 0; i < lengthof(option_names); i++)
		if (strcmp(option_names[i].name, name) == 0)
			return &option_names[i];
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("unrecognized parameter \"braid.%s\"", name),
					errhint("The parameters are braid.continuous, braid.schedule, braid.read, "
							"braid.watermark, braid.watermark_idle, braid.late, braid.emit, "
							"braid.retain, braid.base_deletes, braid.feed and braid.feed_key.")));
}

static char *
list_of_choices(const OptionName *option)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 0; option->choices[i]; i++)
		appendStringInfo(&s, "%s%s", i ? ", " : "", option->choices[i]);
	return s.data;
}

static void
check_choice(const OptionName *option, const char *value)
{
	bool found = option->choices[0] == NULL;

	for (int i = 0; option->choices[i]; i++)
		found |= strcmp(option->choices[i], value) == 0;
	if (!found)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for parameter \"braid.%s\": \"%s\"", option->name, value),
				 errhint("Available values: %s.", list_of_choices(option))));
}

void
braid_options_check_read(const char *value)
{
	check_choice(find_name("read"), value);
}

/* ---------------------------------------------------------------- all of them */

static void
check_schedule(const ContinuousOptions *options)
{
	if (!braid_options_allow_recompute)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("recomputing a continuous view as a whole is not allowed"),
			 errdetail("A view with a schedule runs its whole query each time."),
			 errhint(
				 "Set braid.allow_recompute to on if that is meant; without a schedule the view is kept up to date, if it can be.")));
	(void) braid_options_milliseconds(options->schedule);
	if (options->time.watermark)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("parameters \"braid.schedule\" and \"braid.watermark\" exclude each other"),
				 errdetail("A view with a schedule is computed as a whole, late rows and all.")));
}

static void
check_read(const ContinuousOptions *options)
{
	if (options->schedule && options->read && strcmp(options->read, "eventual") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a continuous view with a schedule cannot be read %s", options->read),
				 errdetail("It shows what was there when it was computed last.")));
}

static void
check_needs_watermark(const char *name, const char *value)
{
	if (value)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("parameter \"braid.%s\" needs \"braid.watermark\"", name),
						errhint("A watermark is an expression over a table's columns, such as "
								"braid.watermark = 'ts - interval ''10 s'''.")));
}

static void
check_time(const TimeOptions *time)
{
	if (time->idle)
		(void) DirectFunctionCall3(interval_in, CStringGetDatum(time->idle),
								   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
	if (braid_options_emits_on_close(time) && braid_options_late(time) == LATE_UPDATE)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("parameter \"braid.emit\" cannot be \"close\" if \"braid.late\" is \"update\""),
			 errdetail("What is shown when its window closes is final."),
			 errhint("Set braid.late to drop or divert.")));
	if (time->watermark)
		return;
	check_needs_watermark("watermark_idle", time->idle);
	check_needs_watermark("late", time->late);
	check_needs_watermark("emit", time->emit);
	check_needs_watermark("retain", time->retain);
	check_needs_watermark("base_deletes", time->base_deletes);
}

static void
check(ContinuousOptions *options)
{
	for (int i = 0; i < lengthof(option_names); i++)
		if (*value_of(options, &option_names[i]))
			check_choice(&option_names[i], *value_of(options, &option_names[i]));
	if (options->schedule)
		check_schedule(options);
	check_read(options);
	if (options->feed_key && !options->feed)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("parameter \"braid.feed_key\" needs \"braid.feed\"")));
	check_time(&options->time);
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
		else
			*value_of(options, find_name(d->defname)) = defGetString(d);
	}
	if (continuous)
		check(options);
	return continuous;
}

void
braid_options_change(ContinuousOptions *options, List *set, List *reset)
{
	ListCell *lc;

	foreach (lc, set)
		*value_of(options, find_name(((DefElem *) lfirst(lc))->defname)) = defGetString(lfirst(lc));
	foreach (lc, reset)
		*value_of(options, find_name(((DefElem *) lfirst(lc))->defname)) = NULL;
	check(options);
}

void
braid_options_of_stored(Jsonb *json, ContinuousOptions *options)
{
	JsonbIterator *it = JsonbIteratorInit(&json->root);
	JsonbValue value;
	JsonbIteratorToken token;
	const OptionName *option;
	char *name = NULL;

	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			name = pnstrdup(value.val.string.val, value.val.string.len);
		if (token != WJB_VALUE)
			continue;
		option = find_name(name);
		if (value.type != jbvString)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("option \"%s\" of a continuous view must be a string", name)));
		*value_of(options, option) = pnstrdup(value.val.string.val, value.val.string.len);
	}
}

void
braid_options_of_json(Jsonb *json, ContinuousOptions *options)
{
	if (!JB_ROOT_IS_OBJECT(json))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("options of a continuous view must be a JSON object")));
	braid_options_of_stored(json, options);
	check(options);
}

char *
braid_options_text(const ContinuousOptions *options)
{
	StringInfoData s;

	initStringInfo(&s);
	for (int i = 0; i < lengthof(option_names); i++)
	{
		char *value = *value_of((ContinuousOptions *) options, &option_names[i]);

		if (value == NULL)
			continue;
		appendStringInfo(&s, "%s\"%s\": ", s.len > 0 ? ", " : "", option_names[i].name);
		escape_json(&s, value);
	}
	return psprintf("{%s}", s.data);
}

/* ---------------------------------------------------------------- what they mean */

static bool
is_set_to(const char *value, const char *choice)
{
	return value && strcmp(value, choice) == 0;
}

bool
braid_options_emits_on_close(const TimeOptions *time)
{
	return is_set_to(time->emit, "close");
}

/* Who shows a group only when it is closed means it to stay as it is. */
LatePolicy
braid_options_late(const TimeOptions *time)
{
	if (is_set_to(time->late, "divert"))
		return LATE_DIVERT;
	if (is_set_to(time->late, "drop") || (!time->late && braid_options_emits_on_close(time)))
		return LATE_DROP;
	return LATE_UPDATE;
}

bool
braid_options_keeps_deleted(const TimeOptions *time)
{
	return is_set_to(time->base_deletes, "keep");
}

bool
braid_options_freezes(const TimeOptions *time)
{
	return time->watermark &&
		   (braid_options_late(time) != LATE_UPDATE || braid_options_keeps_deleted(time));
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
