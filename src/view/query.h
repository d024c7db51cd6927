/*
 * query.h
 *	  A view's query, taken apart into what can be kept up to date.
 */
#ifndef BRAID_QUERY_H
#define BRAID_QUERY_H

#include "nodes/parsenodes.h"
#include "nodes/primnodes.h"
#include "parser/parse_node.h"

/*
 * How a group follows its rows, from cheap to dear; a view has the dearest of
 * its aggregates.
 */
typedef enum Strategy
{
	STRATEGY_ALGEBRAIC,	   /* add and subtract */
	STRATEGY_COMBINE,	   /* combine; some retractions make the group be recomputed */
	STRATEGY_AFFECTED_KEYS /* every group touched is recomputed */
} Strategy;

typedef enum AccumulatorKind
{
	ACCUMULATE_COUNT, /* rows whose argument is not null */
	ACCUMULATE_SUM,	  /* of int2, int4, int8, numeric */
	ACCUMULATE_MIN,
	ACCUMULATE_MAX,
	ACCUMULATE_OPAQUE /* the aggregate's result, only ever recomputed */
} AccumulatorKind;

/* A value kept for each group, in a column of the state table. */
typedef struct Accumulator
{
	AccumulatorKind kind;
	int number;				   /* column a<number> */
	Expr *argument;			   /* NULL for count(*) */
	Expr *filter;			   /* NULL if there is none */
	Aggref *aggregate;		   /* one that needs it */
	bool is_numeric;		   /* of SUM: the argument is numeric */
	bool has_scale;			   /* of SUM: all arguments have the same scale */
	struct Accumulator *count; /* of SUM: how many there are */
} Accumulator;

/* An aggregate of the query, and what its result is made of. */
typedef struct ViewAggregate
{
	Aggref *aggregate;
	bool is_average;
	Accumulator *accumulator; /* NULL: the number of rows of the group */
} ViewAggregate;

typedef struct ViewQuery
{
	Query *query; /* range table entry 1 is the table */
	Oid relid;
	Bitmapset *attnums; /* columns of the table that are used */
	List *keys;			/* Expr; NIL for one group of all rows */
	List *accumulators;
	List *aggregates; /* ViewAggregate, one for each that differs */
	Strategy strategy;
} ViewQuery;

/*
 * Takes an analyzed query apart, or raises an error that says what cannot be
 * kept up to date and where it is.  pstate has the source text; it is NULL for
 * a query that was accepted before.  The query is scribbled on.
 */
extern ViewQuery *braid_query_take_apart(Query *query, ParseState *pstate);

#endif /* BRAID_QUERY_H */
