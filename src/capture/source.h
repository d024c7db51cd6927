/*
 * source.h
 *	  The captured tables of this worker, their deltas and held transactions.
 */
#ifndef BRAID_SOURCE_H
#define BRAID_SOURCE_H

#include "access/xlogdefs.h"
#include "capture/capture.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

/*
 * A relation that carries rows of a source.  One that is captured by itself and
 * as a partition of another table carries rows of both.
 */
typedef struct SourceMember
{
	Oid relid; /* as WAL names it: the table or a leaf partition */
	BraidSource *source;
	AttrNumber *attnums;	   /* of the source's columns in relid */
	struct SourceMember *also; /* the same relation for another source */
} SourceMember;

/* A transaction whose rows come; its top-level id. */
typedef struct SourceTransaction
{
	TransactionId xid;
	XLogRecPtr commit; /* start of the commit record */
	TimestampTz committed;
} SourceTransaction;

struct SourceMessage; /* rows.h */

/* A new set of sources, to be filled by wants and then used or thrown away. */
extern void braid_source_begin_set(void);
/* Returns the name of the weight's column. */
extern const char *braid_source_want(Oid relid, Bitmapset *attnums);

/* The same for all columns, and those of braid_capture_want_log(). */
extern void braid_source_want_log(Oid relid);

/* Of the new set: see braid_capture_want_deletes(). */
extern void braid_source_want_deletes(Oid relid);
extern bool braid_source_next_tells_deletes(Oid relid);

/* Ties two sources of the new set. */
extern void braid_source_tie(Oid a, Oid b);
/* The same for all sources that are tied to each other. */
extern BraidSource *braid_source_representative(BraidSource *source);

/* The new set: whether a relation is in it, and its list of BraidSource. */
extern bool braid_source_next_member(Oid relid);
extern List *braid_source_next_list(void);

/*
 * Puts the new set in place of the old.  Returns false, and changes nothing,
 * if transactions are held whose rows would not fit it, or messages of running
 * ones were let go that it wants: decode again then, after
 * braid_piece_forget_all() and braid_decoder_close().
 */
extern bool braid_source_use_set(void);

/* List of BraidSource. */
extern List *braid_source_list(void);
extern BraidSource *braid_source_find(Oid relid); /* NULL if there is none */
extern SourceMember *braid_source_member(Oid relid);

/* The cycle: from begin on, decoded rows go where snapshot S says. */
extern void braid_source_begin_cycle(Snapshot s);
extern void braid_source_end_cycle(void);

/* The decoder: rows of a transaction. */
extern void
braid_source_begin_transaction(TransactionId xid, XLogRecPtr commit, TimestampTz committed);
extern BraidDelta *braid_source_target(BraidSource *source);

/* The gid by which the transaction that comes next is committed; NULL if it is not in two phases. */
extern void braid_source_set_gid(const char *gid);

/* Of a source that is logged: puts into a row where its change is in WAL. */
extern void
braid_source_note_change(BraidSource *source, XLogRecPtr change, Datum *values, bool *nulls);
extern void braid_source_put(BraidDelta *delta, TupleDesc desc, Datum *values, bool *nulls);

/* The same for a message of a stream, of the transaction that has begun. */
extern void braid_source_put_message(BraidSource *source, struct SourceMessage *m);

/* The same for all rows of the transaction, of which from has some left, or none. */
extern void braid_source_put_all(BraidSource *source, BraidDelta *from);

/* From pieces: rows for the delta of the running cycle, from this transaction. */
extern void
braid_source_bring(BraidSource *source, const SourceTransaction *t, Datum *values, bool *nulls);
extern void
braid_source_bring_all(BraidSource *source, const SourceTransaction *t, BraidDelta *from);
extern void braid_source_bring_message(BraidSource *source, const struct SourceMessage *m);

extern void braid_source_setup(void);

#endif /* BRAID_SOURCE_H */
