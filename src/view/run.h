/*
 * run.h
 *	  Running the statements of nodes within a cycle.
 *
 * All of it is called as the view's owner, connected to SPI, with S as the
 * active snapshot.  Ephemeral relations made here can be read by name by every
 * statement of the same view in the same cycle.
 */
#ifndef BRAID_RUN_H
#define BRAID_RUN_H

#include "access/tupdesc.h"
#include "capture/capture.h"
#include "utils/hsearch.h"
#include "utils/queryenvironment.h"
#include "utils/tuplestore.h"
#include "view/node.h"

/*
 * Runs a statement.  Its plan is kept, by text and by the order of magnitude of
 * nrows and of the ephemeral relations that it reads.
 */
extern void braid_run(const char *sql, int64 nrows);

/* The same for "INSERT INTO state SELECT ... ON CONFLICT ... DO UPDATE ...", faster if it can be. */
extern void braid_run_merge(const char *sql, int64 nrows);

/* The same for a SELECT; its rows can be read as name.  Returns their number. */
extern int64 braid_run_into(const char *name, const char *sql, int64 nrows);

/* The same for a SELECT of one column of type int8, without nulls; how many there are in *n. */
extern int64 *braid_run_values(const char *sql, int64 nrows, int *n);

/* How many rows are in the delta of a node, at most, if it can be told; else a guess. */
extern int64 braid_run_delta_rows(ViewNode *node);

/* The same of all of its inputs. */
extern int64 braid_run_rows_below(ViewNode *node);

/* Whether there can be a negative weight in the delta of a node. */
extern bool braid_run_retracts(ViewNode *node);

/* Whether somebody reads the delta of the node, so that it has to be made. */
extern bool braid_run_delta_is_read(ViewNode *node);

/*
 * For follow.c.  Between begin and end one view's statements are run; plans are
 * kept in its table, in a context that lives as long.  If an error is thrown,
 * end need not be called.
 */
extern HTAB *braid_run_make_plans(MemoryContext context);
extern void braid_run_free_plans(HTAB *plans);
extern void braid_run_begin(HTAB *plans);
extern void braid_run_end(void);

/* Makes rows readable by name.  They and their descriptor stay the caller's. */
extern void braid_run_name(const char *name, Tuplestorestate *rows, TupleDesc desc);

/* The same for messages of a stream, whose rows are made when a statement reads them. */
extern void braid_run_name_batches(const char *name, BraidDelta *batches, BraidSource *source);

/* Runs a SELECT and appends what it returns; its descriptor, in the current context. */
extern TupleDesc braid_run_append(Tuplestorestate *rows, const char *sql, int64 nrows);

/* Rows that can be read by this name; -1 if there is no such relation. */
extern int64 braid_run_count(const char *name);

/* All relations that can be read by name, for who runs queries by himself. */
extern QueryEnvironment *braid_run_environment(void);

/* A value of the first of these rows, which are not none; its type is passed by value. */
extern Datum braid_run_value(const char *name, int column, bool *isnull);

/* Rows that statements have written or made since begin. */
extern int64 braid_run_processed(void);

/*
 * For fast.c.  The plan of a statement, found or made as for running it; and what a
 * SELECT returns.
 */
struct _SPI_plan;
extern struct _SPI_plan *braid_run_plan(const char *sql, int64 nrows);
extern TupleDesc braid_run_describe(const char *sql, int64 nrows);

/* Rows that can be read by this name, which has some; NULL if they are not made.  Or messages; or NULL. */
extern Tuplestorestate *braid_run_rows(const char *name, TupleDesc *desc);
extern BraidDelta *braid_run_batches(const char *name, BraidSource **source);

/* Rows to be filled, and then to be read by a name.  Returns their number. */
extern Tuplestorestate *braid_run_begin_rows(void);
extern int64 braid_run_own(const char *name, Tuplestorestate *rows, TupleDesc desc);

/* Of the memory for rows, in kB; what an error leaves is returned by the next begin. */
extern int braid_run_take_memory(int at_most);
extern void braid_run_return_memory(int kb);

#endif /* BRAID_RUN_H */
