/*
 * layout.h
 *	  The layout of a message of a stream.
 *
 * Native byte order, since WAL is read where it is written.  "Number" is an unsigned integer of
 * 7 bits a byte, the lowest first, all but the last byte with 0x80.
 *
 *   seal        8 bytes, see seal.h
 *   version     1 byte
 *   rows        number, from 1 to PACK_MAX_ROWS
 *   stream      number: its oid
 *   columns     number
 *   for each column, by attnum:
 *     tag       1 byte: PackEncoding, and PACK_HAS_NULLS, PACK_CONSTANT, PACK_NEXT, PACK_CODED
 *     attnum    number; not with PACK_NEXT: one more than that of the column before
 *     type      number: its oid
 *     shape     1 byte: see the encoding; not for PACK_NULL
 *     entries   number, with PACK_CODED: how many different values there are, from 2 to PACK_MAX_ENTRIES
 *     size      number, for by-reference encodings: bytes of one value, if PACK_FIXED, or of the values
 *   for each column, in the same order, except PACK_NULL:
 *     nulls     with PACK_HAS_NULLS: a bit for each row, 1 is null, the first in the lowest bit
 *     padding   zeros, up to the alignment that the encoding says
 *     values    those that are not null; with PACK_CONSTANT one for all of them; with PACK_CODED
 *               the different ones
 *     codes     with PACK_CODED: 1 byte for each row that is not null, which entry its value is
 */
#ifndef BRAID_LAYOUT_H
#define BRAID_LAYOUT_H

#include "catalog/pg_type.h"

#define PACK_VERSION 1
#define PACK_MAX_ROWS (1 << 20)
#define PACK_MAX_ENTRIES 256

typedef enum PackEncoding
{
	PACK_NULL,	/* all rows are null */
	PACK_DENSE, /* by value; shape is their width; not aligned */
	PACK_OFFSETS, /* by value; shape is width and, times 16, the width of what is to be added to a base */
	PACK_FIXED, /* by reference, of fixed length, each aligned as the shape says */
	PACK_VARLENA, /* as in a tuple; long headers are aligned as the shape says, to 1 if there are none */
	PACK_CSTRING /* with their zeros; shape is 1 */
} PackEncoding;

#define PACK_ENCODING 0x0F /* of the tag */
#define PACK_HAS_NULLS 0x10
#define PACK_CONSTANT 0x20
#define PACK_NEXT 0x40
#define PACK_CODED 0x80 /* by reference */

#define PACK_VALUE_WIDTH(shape) ((shape) &0x0F)
#define PACK_OFFSET_WIDTH(shape) ((shape) >> 4)
#define PACK_OFFSETS_SHAPE(width, offset_width) ((width) | (offset_width) << 4)

#define PACK_BITMAP_SIZE(nrows) (((Size) (nrows) + 7) / 8)

/* Of a type, from pg_type.typalign. */
static inline uint8
pack_alignment(char typalign)
{
	switch (typalign)
	{
		case TYPALIGN_CHAR:
			return 1;
		case TYPALIGN_SHORT:
			return ALIGNOF_SHORT;
		case TYPALIGN_INT:
			return ALIGNOF_INT;
		default:
			return ALIGNOF_DOUBLE;
	}
}

#endif /* BRAID_LAYOUT_H */
