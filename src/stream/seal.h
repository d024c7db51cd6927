/*
 * seal.h
 *	  What proves that a message was written by a stream.
 *
 * Everybody may write logical messages of any prefix, by pg_logical_emit_message().  A message that is
 * not sealed is not a stream's, whatever is in it: it may not be opened, since values are
 * taken as they are, and is no error either, or whoever forges one would stop the reader.
 */
#ifndef BRAID_SEAL_H
#define BRAID_SEAL_H

#include "access/transam.h"

/*
 * Writes the first BRAID_SEAL_SIZE bytes of a message that is about to be logged under xid,
 * by GetCurrentTransactionId().  Reads a table of the database when it is first called, and
 * after invalidations: in a transaction, and not under a historic snapshot.
 */
extern void braid_seal_put(char *message, Size size, TransactionId xid);

/* Is the seal that of a message logged under xid?  The same holds. */
extern bool braid_seal_is_right(const char *message, Size size, TransactionId xid);

#endif /* BRAID_SEAL_H */
