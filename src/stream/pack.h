/*
 * pack.h
 *	  Rows of a stream, packed by column into a message, and out of it again.
 *
 * A leaf: it uses nothing of other modules, and capture and view read messages
 * through it.  The layout is in layout.h.
 */
#ifndef BRAID_PACK_H
#define BRAID_PACK_H

#include "access/attnum.h"
#include "access/tupdesc.h"

/* Rows that are being collected. */
typedef struct BraidPack BraidPack;

/*
 * A pack for rows of desc, in a memory context of its own below the one given.
 * Columns that are dropped are left out; generated ones are rows' values like others.
 * The descriptor is copied.
 */
extern BraidPack *braid_pack_make(MemoryContext context, Oid stream, TupleDesc desc);

/*
 * Copies a row.  Out-of-line and expanded values are fetched.  After an error the pack can only be
 * freed, as the (sub)transaction that it belongs to ends.
 */
extern void braid_pack_add(BraidPack *pack, Datum *values, bool *nulls);

/* Moves the rows of one pack behind those of another one of the same stream and shape. */
extern void braid_pack_append(BraidPack *to, BraidPack *from);

/* Would rows of desc fit this pack, and packs of these be appended? */
extern bool braid_pack_fits(BraidPack *pack, Oid stream, TupleDesc desc);

extern int braid_pack_rows(BraidPack *pack);

/* About what the message will have, if columns are not found to be smaller. */
extern Size braid_pack_size(BraidPack *pack);

/*
 * Makes the message of at least one row, in the current memory context, and
 * empties the pack.  Its first BRAID_SEAL_SIZE bytes are zeros, and the seal's: see seal.h.
 */
extern char *braid_pack_message(BraidPack *pack, Size *size);

extern void braid_pack_free(BraidPack *pack);

/* Puts its memory context below another one. */
extern void braid_pack_move(BraidPack *pack, MemoryContext context);

/* Bytes of memory that it takes. */
extern Size braid_pack_memory(BraidPack *pack);

#define BRAID_SEAL_SIZE 8

/* A column of a message; a matter of batch.c. */
typedef struct BraidBatchColumn
{
	AttrNumber attnum;
	uint8 encoding;
	uint8 shape; /* widths and alignment */
	bool has_nulls;
	bool is_constant;
	bool is_coded;
	Oid type;
	uint32 nvalues;	   /* that are not null */
	uint32 size;	   /* of data */
	uint32 nentries;   /* different values, if there are codes */
	const char *nulls; /* bitmap, one bit for each row */
	const char *data;
	const uint8 *codes;
} BraidBatchColumn;

/* Columns of a batch that need no allocation. */
#define BRAID_BATCH_FEW 16

/* A message, opened.  May not be copied, and points into the message. */
typedef struct BraidBatch
{
	const char *message;
	Size size; /* of it */
	Oid stream;
	int nrows;
	int ncolumns;
	BraidBatchColumn *columns; /* few, or in the memory context it was opened in */
	BraidBatchColumn few[BRAID_BATCH_FEW];
} BraidBatch;

/*
 * The stream of a message, which may begin anywhere, and how many rows it has.
 * Error: ERRCODE_DATA_CORRUPTED.
 */
extern void braid_batch_peek(const char *message, Size size, Oid *stream, int *nrows);

/*
 * Opens a message, which begins at a multiple of MAXIMUM_ALIGNOF and stays as it is
 * while the batch or values are used.  Of more than BRAID_BATCH_FEW columns the array
 * is allocated in the current memory context.  What is read outside of a column's own
 * bytes is checked here, the lengths of its values when it is read.
 * Error: ERRCODE_DATA_CORRUPTED.  The caller adds as context where the message was found.
 */
extern void braid_batch_open(BraidBatch *batch, const char *message, Size size);

/*
 * One column as arrays of batch->nrows, with 0 where a value is null.  By-reference values point into the
 * message; varlenas may have short headers or be compressed, but are never out of line.
 * *any_null says whether nulls was filled, with at least one true.  Returns false if the message
 * has no such column: then nothing is filled, and it is null in all rows.
 * Errors: ERRCODE_DATA_CORRUPTED; ERRCODE_DATATYPE_MISMATCH, if it is not of this type.
 */
extern bool braid_batch_column(BraidBatch *batch, AttrNumber attnum, Oid type, Datum *values,
							   bool *nulls, bool *any_null);

#endif /* BRAID_PACK_H */
