/*
 * wal.h
 *	  Positions in the write-ahead log.
 */
#ifndef BRAID_WAL_H
#define BRAID_WAL_H

#include "access/xlogdefs.h"

/*
 * Where the last record ends that was inserted.  Whatever was visible before the call has its commit
 * record below that.
 */
extern XLogRecPtr braid_wal_end(void);

#endif
