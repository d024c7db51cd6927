/*
 * span.h
 *	  The rows of a node's input whose event times are in given spans.
 */
#ifndef BRAID_SPAN_H
#define BRAID_SPAN_H

#include "view/node.h"

/* Spans of event time, by key; those of a key do not overlap. */
typedef struct Spans
{
	ViewNode *node;	 /* its input has the keys, then the event time */
	char *relation;	 /* ephemeral: chain (a number), k1, ..., first, last */
	int64 nspans;	 /* how many there are */
	int64 *patterns; /* of nulls in keys and times: all that there are, and maybe others */
	int npatterns;
} Spans;

/* A FROM item: the rows in spans, under S, as chain, c1, c2, ... */
extern char *braid_span_rows(Spans *spans);

#endif /* BRAID_SPAN_H */
