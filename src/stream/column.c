/*
 * column.c
 *	  A column of the rows that are being collected.
 *
 * NOTES
 *	  Values by reference are kept as codes and a dictionary of up to 256 values, until there are
 *	  more: then the values are written out, and codes are not tried for the next messages.  One value is
 *	  a dictionary too, whose codes are all zero: nothing is hashed before a second one comes.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/htup_details.h"
#include "access/toast_internals.h"
#include "access/tupmacs.h"
#include "common/hashfn.h"
#include "stream/column.h"
#include "stream/layout.h"
#include "utils/memutils.h"

/* Varlenas above that are compressed, as heap tables do at about this size of a row. */
#define COMPRESS_ABOVE 2000

#define FIRST_ROOM 64

/* For so many messages a column has no codes that did not do with them. */
#define PLAIN_MESSAGES 15

void
column_describe(PackColumn *column, Form_pg_attribute attr, MemoryContext context)
{
	column->context = context;
	column->attnum = attr->attnum;
	column->type = attr->atttypid;
	column->len = attr->attlen;
	column->byval = attr->attbyval;
	column->align = pack_alignment(attr->attalign);
	column->storage = attr->attstorage;
	column->compression = attr->attcompression;
	column->is_coded = !attr->attbyval;
}

bool
column_is(const PackColumn *column, Form_pg_attribute attr)
{
	return column->attnum == attr->attnum && column->type == attr->atttypid &&
		   column->storage == attr->attstorage && column->compression == attr->attcompression;
}

/* Room for more bytes; returns where they begin. */
static char *
extend(MemoryContext context, PackBytes *buffer, Size more)
{
	char *end;

	if (unlikely(buffer->used + more > buffer->room))
	{
		Size room = Max(buffer->room * 2, FIRST_ROOM);

		room = Max(room, buffer->used + more);
		buffer->data = buffer->data ? repalloc_huge(buffer->data, room)
									: MemoryContextAllocHuge(context, room);
		buffer->room = room;
	}
	end = buffer->data + buffer->used;
	buffer->used += more;
	return end;
}

/* The same with zeros in front, so that they are aligned. */
static char *
extend_aligned(MemoryContext context, PackBytes *buffer, Size more, uint8 align)
{
	Size padding = TYPEALIGN(align, buffer->used) - buffer->used;
	char *end = extend(context, buffer, padding + more);

	memset(end, 0, padding);
	return end + padding;
}

void
column_add_null(PackColumn *column, int row)
{
	Size size = PACK_BITMAP_SIZE(row + 1);

	if (column->nulls_room < size)
	{
		Size room = Max(size * 2, 16);

		column->nulls = column->nulls ? repalloc(column->nulls, room)
									  : MemoryContextAlloc(column->context, room);
		memset(column->nulls + column->nulls_room, 0, room - column->nulls_room);
		column->nulls_room = room;
	}
	column->nulls[row / 8] |= 1 << row % 8;
}

static void
add_plain(PackColumn *column, const char *bytes, Size size, uint8 align)
{
	memcpy(extend_aligned(column->context, &column->values, size, align), bytes, size);
}

/* Alignment of a value that is in the form of messages. */
static uint8
alignment_of(const PackColumn *column, const char *bytes)
{
	if (column->len == -1 && VARATT_IS_1B(bytes))
		return 1;
	return column->len == -2 ? 1 : column->align;
}

int
column_entries(const PackColumn *column)
{
	Assert(column->is_coded);

	return column->codes.used > 0 ? dictionary_count(column->dictionary) : Min(column->nvalues, 1);
}

static Size
entry_offset(const PackColumn *column, int code)
{
	return code == 0 ? 0 : dictionary_offset(column->dictionary, code);
}

static Size
entry_size(const PackColumn *column, int code)
{
	return code == 0 ? column->first : dictionary_size(column->dictionary, code);
}

/* The value of a coded column; *size are its bytes. */
static const char *
coded_value(const PackColumn *column, int i, Size *size)
{
	int code = column->codes.used > 0 ? (uint8) column->codes.data[i] : 0;

	*size = entry_size(column, code);
	return column->values.data + entry_offset(column, code);
}

void
column_expand(PackColumn *column)
{
	PackColumn plain = *column;

	Assert(column->is_coded);

	plain.values = (PackBytes){NULL};
	for (int i = 0; i < column->nvalues; i++)
	{
		Size size;
		const char *bytes = coded_value(column, i, &size);

		add_plain(&plain, bytes, size, alignment_of(column, bytes));
	}
	if (column->values.data)
		pfree(column->values.data);
	column->values = plain.values;
	column->codes.used = 0;
	column->is_coded = false;
	column->plain_messages = PLAIN_MESSAGES;
}

static uint32
hash_of(const char *bytes, Size size)
{
	return hash_bytes((const unsigned char *) bytes, size);
}

/* A second value has come: the first one gets a code. */
static void
begin_codes(PackColumn *column)
{
	if (column->dictionary == NULL)
		column->dictionary = dictionary_make(column->context);
	else
		dictionary_empty(column->dictionary);
	dictionary_add(column->dictionary, 0, column->first,
				   hash_of(column->values.data, column->first));
	memset(extend(column->context, &column->codes, column->nvalues), 0, column->nvalues);
}

/* Adds a value by its code.  Returns false if it has none and cannot get one. */
static bool
add_code(PackColumn *column, const char *bytes, Size size, uint8 align)
{
	uint32 hash;
	int code;

	if (column->codes.used == 0)
	{
		if (column->first == size && memcmp(column->values.data, bytes, size) == 0)
			return true;
		begin_codes(column);
	}
	hash = hash_of(bytes, size);
	code = dictionary_find(column->dictionary, column->values.data, bytes, size, hash);
	if (code < 0)
	{
		code = dictionary_count(column->dictionary);
		if (code == DICTIONARY_MAX)
			return false;
		add_plain(column, bytes, size, align);
		dictionary_add(column->dictionary, column->values.used - size, size, hash);
	}
	*extend(column->context, &column->codes, 1) = (char) code;
	return true;
}

/* A value in the form of messages. */
static void
add_bytes(PackColumn *column, const char *bytes, Size size, uint8 align)
{
	if (column->len == -1 && align > 1)
		column->has_long = true;
	column->plain_used += size;
	if (column->is_coded)
	{
		if (column->nvalues == 0)
			column->first = size;
		else if (add_code(column, bytes, size, align))
			return;
		else
			column_expand(column);
	}
	add_plain(column, bytes, size, align);
}

static void
add_short(PackColumn *column, struct varlena *value)
{
	char buffer[VARATT_SHORT_MAX];
	Size size = VARATT_CONVERTED_SHORT_SIZE(value);

	SET_VARSIZE_SHORT(buffer, size);
	memcpy(buffer + VARHDRSZ_SHORT, VARDATA(value), size - VARHDRSZ_SHORT);
	add_bytes(column, buffer, size, 1);
}

/* The value compressed, or itself. */
static struct varlena *
compressed(PackColumn *column, struct varlena *value)
{
	Datum result = (Datum) 0;

	if (column->storage == TYPSTORAGE_EXTENDED || column->storage == TYPSTORAGE_MAIN)
		result = toast_compress_datum(PointerGetDatum(value), column->compression);
	return DatumGetPointer(result) ? (struct varlena *) DatumGetPointer(result) : value;
}

static void
add_varlena(PackColumn *column, struct varlena *value)
{
	struct varlena *original = value;

	if (VARATT_IS_EXTERNAL(value))
		value = detoast_external_attr(value);
	if (VARATT_IS_4B_U(value) && VARSIZE(value) > COMPRESS_ABOVE)
	{
		struct varlena *smaller = compressed(column, value);

		if (value != original && value != smaller)
			pfree(value);
		value = smaller;
	}

	if (VARATT_IS_SHORT(value))
		add_bytes(column, (char *) value, VARSIZE_SHORT(value), 1);
	else if (column->storage != TYPSTORAGE_PLAIN && VARATT_CAN_MAKE_SHORT(value))
		add_short(column, value);
	else
		add_bytes(column, (char *) value, VARSIZE(value), column->align);
	if (value != original)
		pfree(value);
}

void
column_add(PackColumn *column, Datum value)
{
	if (column->byval)
	{
		char *to = extend(column->context, &column->values, column->len);

		store_att_byval(to, value, column->len);
	}
	else if (column->len > 0)
		add_bytes(column, DatumGetPointer(value), column->len, column->align);
	else if (column->len == -1)
		add_varlena(column, (struct varlena *) DatumGetPointer(value));
	else
		add_bytes(column, DatumGetCString(value), strlen(DatumGetCString(value)) + 1, 1);
	column->nvalues++;
}

static void
append_nulls(PackColumn *column, int nrows, const PackColumn *other, int other_nrows)
{
	if (other->nvalues == other_nrows)
		return;
	for (int row = 0; row < other_nrows && row / 8 < other->nulls_room; row++)
	{
		if (other->nulls[row / 8] & 1 << row % 8)
			column_add_null(column, nrows + row);
	}
}

void
column_append(PackColumn *column, int nrows, const PackColumn *other, int other_nrows)
{
	append_nulls(column, nrows, other, other_nrows);
	if (other->nvalues == 0)
		return;
	if (other->is_coded)
	{
		for (int i = 0; i < other->nvalues; i++)
		{
			Size size;
			const char *bytes = coded_value(other, i, &size);

			add_bytes(column, bytes, size, alignment_of(other, bytes));
			column->nvalues++;
		}
		return;
	}
	if (column->is_coded)
		column_expand(column);

	/* Where a long header may follow, the alignment within the other's values has to hold here. */
	add_plain(column, other->values.data, other->values.used,
			  other->byval || (other->len < 0 && !other->has_long) ? 1 : other->align);
	column->has_long |= other->has_long;
	column->plain_used += other->plain_used;
	column->nvalues += other->nvalues;
}

Size
column_size(const PackColumn *column)
{
	return column->values.used + column->codes.used;
}

void
column_empty(PackColumn *column)
{
	column->nvalues = 0;
	column->values.used = 0;
	column->codes.used = 0;
	column->has_long = false;
	column->plain_used = 0;
	column->is_coded = !column->byval && column->plain_messages == 0;
	if (column->plain_messages > 0)
		column->plain_messages--;
	if (column->nulls)
		memset(column->nulls, 0, column->nulls_room);
}
