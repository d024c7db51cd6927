/*
 * piece.h
 *	  What transactions brought to tables, held for a later cycle.
 */
#ifndef BRAID_CAPTURE_PIECE_H
#define BRAID_CAPTURE_PIECE_H

#include "capture/source.h"

/* Where the transaction's rows of the source are held, if any are; else NULL. */
extern BraidDelta *braid_piece_find(const SourceTransaction *t, BraidSource *source);

/* The same, made anew; t is none of those whose rows were decoded before. */
extern BraidDelta *braid_piece_make(const SourceTransaction *t, BraidSource *source);

/*
 * Where all is held that is visible while the table cannot be locked.  *desc: how rows are
 * put there, see braid_piece_put_shared(); NULL for a stream, whose messages are as ever.
 */
extern BraidDelta *
braid_piece_share(const SourceTransaction *t, BraidSource *source, TupleDesc *desc);

extern void braid_piece_put_shared(BraidDelta *delta, TupleDesc desc, const SourceTransaction *t,
								   Datum *values, bool *nulls);

/* At the begin of a cycle: lets go of the pieces whose time has come, into the sources' deltas. */
extern void braid_piece_release(const BraidFrontier *s);

/* At its end: of each table that is not locked, makes one piece of those that are visible. */
extern void braid_piece_join(const BraidFrontier *s);

extern void braid_piece_forget_all(void);

extern bool braid_piece_any(void);

/* How many transactions are held, and when the oldest was committed; 0 if none is. */
extern int braid_piece_count(TimestampTz *oldest);

/* Start of the commit record of the oldest held transaction, or limit. */
extern XLogRecPtr braid_piece_oldest(XLogRecPtr limit);

extern void braid_piece_setup(void);

#endif /* BRAID_CAPTURE_PIECE_H */
