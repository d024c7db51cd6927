/*
 * options.h
 *	  Options of a continuous view, as WITH (braid.name = value) or as JSON.
 */
#ifndef BRAID_OPTIONS_H
#define BRAID_OPTIONS_H

#include "nodes/parsenodes.h"
#include "utils/jsonb.h"

/* What becomes of rows for a group whose window is closed. */
typedef enum LatePolicy
{
	LATE_UPDATE, /* they are merged, as all are */
	LATE_DROP,	 /* ignored, and counted */
	LATE_DIVERT	 /* put aside */
} LatePolicy;

typedef struct TimeOptions
{
	char *watermark; /* expressions; NULL: the view has none, and none of the others */
	char *idle;		 /* interval after which a source that brings nothing is left out; or NULL */
	char *late;		 /* as it was given; NULL if it was not */
	char *emit;
	char *retain; /* how long groups are kept behind the watermark; NULL: for ever */
	char *base_deletes;
} TimeOptions;

typedef struct ContinuousOptions
{
	char *schedule; /* interval between recomputations; NULL: kept up to date */
	char *read;		/* how it is read by default: eventual, own or strict; NULL: eventual */
	TimeOptions time;
	char *feed;		/* topic that changes go to, and its key: taken out before they are stored, */
	char *feed_key; /* see feed.h */
} ContinuousOptions;

/*
 * Options of a CREATE statement.  False if they do not ask for a continuous view;
 * an error if one in the namespace "braid" is not known, or does not go with the
 * others.
 */
extern bool braid_options_of_statement(List *list, ContinuousOptions *options);

/* The same from an object such as {"schedule": "5 min"}. */
extern void braid_options_of_json(Jsonb *json, ContinuousOptions *options);

/* The same of one that was stored: nothing is checked. */
extern void braid_options_of_stored(Jsonb *json, ContinuousOptions *options);

/* Changes those named by ALTER ... SET (...) and RESET (...); an error as for CREATE. */
extern void braid_options_change(ContinuousOptions *options, List *set, List *reset);

/* As JSON, for storing. */
extern char *braid_options_text(const ContinuousOptions *options);

/* Error 22023 unless the value is one of option braid.read. */
extern void braid_options_check_read(const char *value);

extern LatePolicy braid_options_late(const TimeOptions *options);
extern bool braid_options_emits_on_close(const TimeOptions *options);
extern bool braid_options_keeps_deleted(const TimeOptions *options);

/* Whether closed groups stay as they are when the view is made anew. */
extern bool braid_options_freezes(const TimeOptions *options);

/* Milliseconds of an interval such as "5 min"; an error unless it is at least a second. */
extern int64 braid_options_milliseconds(const char *interval);

/* Whether views that are recomputed as a whole may be made. */
extern bool braid_options_allow_recompute;

extern void braid_options_init(void);

#endif /* BRAID_OPTIONS_H */
