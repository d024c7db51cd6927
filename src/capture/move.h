/*
 * move.h
 *	  Rows that an UPDATE moves to another partition.
 */
#ifndef BRAID_MOVE_H
#define BRAID_MOVE_H

#include "access/xlogreader.h"

/* Remembers the record that was just read, if it takes such a row away. */
extern void braid_move_note(XLogReaderState *reader);

/* Whether the change with this position does. */
extern bool braid_move_is(XLogRecPtr lsn);

/* The change is decoded. */
extern void braid_move_forget(XLogRecPtr lsn);

#endif /* BRAID_MOVE_H */
