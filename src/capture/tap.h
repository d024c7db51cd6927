/*
 * tap.h
 *	  Changes set aside for what is made beside the worker.
 */
#ifndef BRAID_TAP_H
#define BRAID_TAP_H

#include "capture/capture.h"

struct SourceMessage; /* rows.h */

/* The sources are in a new set, whose rows have another form. */
extern void braid_tap_rebind(void);

/* A row for the delta of the running cycle, from this transaction. */
extern void
braid_tap_put(BraidSource *source, TransactionId xid, const Datum *values, const bool *nulls);

/* A message, of a stream. */
extern void braid_tap_put_message(BraidSource *source, const struct SourceMessage *m);

/* All that the cycle brings has been decoded. */
extern void braid_tap_end_of_decoding(void);
extern void braid_tap_end_cycle(void);

#endif /* BRAID_TAP_H */
