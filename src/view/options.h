/*
 * options.h
 *	  Options of a continuous view, as WITH (braid.name = value) or as JSON.
 */
#ifndef BRAID_OPTIONS_H
#define BRAID_OPTIONS_H

#include "nodes/parsenodes.h"
#include "utils/jsonb.h"

typedef struct ContinuousOptions
{
	char *schedule; /* interval between recomputations; NULL: kept up to date */
	char *read;		/* how it is read by default: eventual, own or strict; NULL: eventual */
} ContinuousOptions;

/*
 * Options of a CREATE statement.  False if they do not ask for a continuous view;
 * an error if one in the namespace "braid" is not known.
 */
extern bool braid_options_of_statement(List *list, ContinuousOptions *options);

/* The same from an object such as {"schedule": "5 min"}. */
extern void braid_options_of_json(Jsonb *json, ContinuousOptions *options);

/* As JSON, for storing. */
extern char *braid_options_text(const ContinuousOptions *options);

/* Error 22023 unless the value is one of option braid.read. */
extern void braid_options_check_read(const char *value);

/* Milliseconds of an interval such as "5 min"; an error unless it is at least a second. */
extern int64 braid_options_milliseconds(const char *interval);

/* Whether views that are recomputed as a whole may be made. */
extern bool braid_options_allow_recompute;

extern void braid_options_init(void);

#endif /* BRAID_OPTIONS_H */
