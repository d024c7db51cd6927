/*
 * column.h
 *	  A column of the rows that are being collected.
 */
#ifndef BRAID_COLUMN_H
#define BRAID_COLUMN_H

#include "access/attnum.h"
#include "catalog/pg_attribute.h"
#include "stream/dictionary.h"

/* Bytes that become more. */
typedef struct PackBytes
{
	char *data;
	Size used;
	Size room;
} PackBytes;

typedef struct PackColumn
{
	MemoryContext context; /* of all that is allocated */

	AttrNumber attnum;
	Oid type;
	int16 len;
	bool byval;
	uint8 align;
	char storage;
	char compression;

	int nvalues;	  /* that are not null */
	PackBytes values; /* by value: as wide as they are; else as in a message */
	bool has_long;	  /* varlena: some have long headers */
	Size plain_used;  /* by reference: bytes of all values, without padding */

	/*
	 * By reference.  If is_coded, values has only different ones.  As long as there is one, codes
	 * and dictionary are not used.
	 */
	bool is_coded;
	Size first; /* bytes of the first value */
	PackBytes codes;
	Dictionary *dictionary;
	int plain_messages; /* to come, for which codes are not tried */

	uint8 *nulls; /* bitmap; NULL: there has been none yet */
	Size nulls_room;
} PackColumn;

extern void column_describe(PackColumn *column, Form_pg_attribute attr, MemoryContext context);

/* Whether it would be described the same. */
extern bool column_is(const PackColumn *column, Form_pg_attribute attr);

extern void column_add(PackColumn *column, Datum value);
extern void column_add_null(PackColumn *column, int row);

/* Adds the values and the nulls of another one, in front of which there are so many rows. */
extern void column_append(PackColumn *column, int nrows, const PackColumn *other, int other_nrows);

/* For by-reference columns: how many different values there are, if is_coded. */
extern int column_entries(const PackColumn *column);

/* If is_coded: makes values all of them. */
extern void column_expand(PackColumn *column);

/* About the bytes it takes in a message. */
extern Size column_size(const PackColumn *column);

extern void column_empty(PackColumn *column);

#endif /* BRAID_COLUMN_H */
