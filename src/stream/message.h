/*
 * message.h
 *	  Makes a message of the rows that have been collected.
 */
#ifndef BRAID_MESSAGE_H
#define BRAID_MESSAGE_H

#include "stream/column.h"

/* In the current memory context.  The columns are to be emptied then. */
extern char *message_make(Oid stream, int nrows, PackColumn *columns, int ncolumns, Size *size);

#endif /* BRAID_MESSAGE_H */
