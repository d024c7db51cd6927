/*
 * event_time.h
 *	  The watermark of a view as the user defines it, and as it is stored.
 */
#ifndef BRAID_EVENT_TIME_H
#define BRAID_EVENT_TIME_H

#include "view/definition.h"
#include "view/plan.h"

/*
 * The expressions of a watermark as SELECT over the tables and continuous views
 * that the query reads, also by way of ordinary views; NULL if the options have
 * none.  Names are looked up under the current search_path.
 */
extern Query *braid_event_time_analyze(const ContinuousOptions *options, Query *query);

/* Stores them for the view with this id, as the current user's. */
extern void braid_event_time_create(int id, Query *sources);

/* Those that are stored; NULL if there are none. */
extern Query *braid_event_time_sources(const ViewDefinition *def);

/* The same as text, under the names that tables and columns have now. */
extern char *braid_event_time_text(const ViewDefinition *def);

/*
 * The plan of a query for a view with this id, by the options and the watermark
 * of the definition.
 */
extern ViewPlan *
braid_event_time_plan(const ViewDefinition *def, Query *query, int id, ParseState *pstate);

#endif /* BRAID_EVENT_TIME_H */
