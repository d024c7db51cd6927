/*
 * fast_window.h
 *	  Windows of a fixed length, as what they are for arithmetic.
 */
#ifndef BRAID_FAST_WINDOW_H
#define BRAID_FAST_WINDOW_H

#include "nodes/primnodes.h"

/* Quotients of what is below that can be computed by doubles. */
#define QUOTIENT_LIMIT (INT64CONST(1) << 51)

/* A call that returns the begin of the window around a time. */
typedef struct FastWindow
{
	Expr *time;
	int64 length; /* more than 1 */
	int64 begin;  /* of one of the windows */
	int64 from;	  /* for which times this holds, and nothing is out of range */
	int64 until;
} FastWindow;

/* False: it is no such call. */
extern bool braid_fast_window(FuncExpr *call, FastWindow *window);

#endif /* BRAID_FAST_WINDOW_H */
