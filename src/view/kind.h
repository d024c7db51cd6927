/*
 * kind.h
 *	  What nodes there are, and how they follow.
 */
#ifndef BRAID_KIND_H
#define BRAID_KIND_H

typedef enum NodeKind
{
	NODE_TABLE,		/* a table that is captured */
	NODE_VIEW,		/* another continuous view */
	NODE_BLOCK,		/* inner joins, conditions, projection */
	NODE_OUTER,		/* LEFT or FULL join of two inputs */
	NODE_MARK,		/* semi join, anti join, or EXISTS as a column */
	NODE_UNION,		/* UNION ALL of inputs with the same columns */
	NODE_GROUP,		/* groups with accumulators: stateful */
	NODE_PARTITION, /* computed for each key from all of its rows: stateful */
	NODE_QUERY,		/* any query over its inputs, only ever run as a whole */
	NODE_ROWS,		/* rows as they are, with duplicates: stateful, on top */
	NODE_WATERMARK, /* how far event time has come: stateful, see watermark.h */
	NODE_DIVERT,	/* rows that came too late for a group: stateful */
	NODE_CLOSE,		/* groups whose window is closed */
	NODE_SESSION	/* a group for each session of a key: stateful */
} NodeKind;

/* How a node follows, from cheap to dear. */
typedef enum Strategy
{
	STRATEGY_ALGEBRAIC,		/* add and subtract */
	STRATEGY_COMBINE,		/* combine; some retractions make the group be recomputed */
	STRATEGY_AFFECTED_KEYS, /* every key touched is recomputed */
	STRATEGY_RECOMPUTE		/* the whole query is run, on a schedule */
} Strategy;

typedef enum MarkMode
{
	MARK_SEMI,	/* rows of i1 with a match */
	MARK_ANTI,	/* rows of i1 without */
	MARK_COLUMN /* all rows of i1, and whether there is a match */
} MarkMode;

/* To users. */
extern const char *braid_strategy_name(Strategy strategy);

#endif /* BRAID_KIND_H */
