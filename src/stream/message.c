/*
 * message.c
 *	  Makes a message of the rows that have been collected.
 *
 * Here integers are found to be near to each other, and codes to be worth it or not.
 */
#include "postgres.h"

#include "access/tupmacs.h"
#include "lib/stringinfo.h"
#include "stream/column.h"
#include "stream/layout.h"
#include "stream/message.h"
#include "stream/pack.h"

/* How a column is put into the message. */
typedef struct Choice
{
	PackEncoding encoding;
	int entries; /* different values, of which there are codes, or one; 0: all values */
	uint8 shape;
	uint64 base;
} Choice;

#define DEFINE_RANGE(type)                                                                         \
	static void range_##type(const char *data, int n, uint64 *base, uint64 *span)                  \
	{                                                                                              \
		const type *values = (const type *) data;                                                  \
		type min = values[0];                                                                      \
		type max = values[0];                                                                      \
                                                                                                   \
		for (int i = 1; i < n; i++)                                                                \
		{                                                                                          \
			min = Min(min, values[i]);                                                             \
			max = Max(max, values[i]);                                                             \
		}                                                                                          \
		*base = (uint64) (int64) min;                                                              \
		*span = (uint64) (int64) max - *base;                                                      \
	}

DEFINE_RANGE(int8)
DEFINE_RANGE(int16)
DEFINE_RANGE(int32)
DEFINE_RANGE(int64)

static void
find_range(PackColumn *column, uint64 *base, uint64 *span)
{
	switch (column->len)
	{
		case 1:
			range_int8(column->values.data, column->nvalues, base, span);
			break;
		case 2:
			range_int16(column->values.data, column->nvalues, base, span);
			break;
		case 4:
			range_int32(column->values.data, column->nvalues, base, span);
			break;
		default:
			range_int64(column->values.data, column->nvalues, base, span);
			break;
	}
}

static Choice
choose_by_value(PackColumn *column)
{
	Choice choice = {.encoding = PACK_DENSE, .shape = column->len};
	Size n = column->nvalues;
	uint64 span;
	int width;

	find_range(column, &choice.base, &span);
	width = span <= PG_UINT8_MAX ? 1 : span <= PG_UINT16_MAX ? 2 : span <= PG_UINT32_MAX ? 4 : 8;
	if (span == 0)
		choice.entries = 1;
	else if (column->len + n * width < n * column->len)
	{
		choice.encoding = PACK_OFFSETS;
		choice.shape = PACK_OFFSETS_SHAPE(column->len, width);
	}
	return choice;
}

/* Different values of a column by reference, or 0, if it is better off without codes. */
static int
choose_entries(PackColumn *column)
{
	if (!column->is_coded)
		return 0;
	if (column_entries(column) > 1 &&
		column->values.used + column->codes.used >= column->plain_used)
	{
		column_expand(column);
		return 0;
	}
	return column_entries(column);
}

static Choice
choose(PackColumn *column)
{
	Choice choice = {.encoding = PACK_NULL};

	if (column->nvalues == 0)
		return choice;
	if (column->byval)
		return choose_by_value(column);

	if (column->len > 0)
		choice.encoding = PACK_FIXED;
	else
		choice.encoding = column->len == -1 ? PACK_VARLENA : PACK_CSTRING;
	choice.entries = choose_entries(column);
	choice.shape = column->len > 0 || column->has_long ? column->align : 1;
	return choice;
}

static void
append_number(StringInfo message, uint32 number)
{
	while (number >= 0x80)
	{
		appendStringInfoCharMacro(message, (char) (number | 0x80));
		number >>= 7;
	}
	appendStringInfoCharMacro(message, (char) number);
}

static bool
has_nulls(PackColumn *column, int nrows)
{
	return column->nvalues < nrows && column->nvalues > 0;
}

static uint8
tag_of(PackColumn *column, int nrows, Choice *choice, AttrNumber before)
{
	uint8 tag = choice->encoding;

	if (has_nulls(column, nrows))
		tag |= PACK_HAS_NULLS;
	if (choice->entries == 1)
		tag |= PACK_CONSTANT;
	if (choice->entries > 1)
		tag |= PACK_CODED;
	if (column->attnum == before + 1)
		tag |= PACK_NEXT;
	return tag;
}

static void
append_description(StringInfo message, PackColumn *column, int nrows, Choice *choice,
				   AttrNumber before)
{
	uint8 tag = tag_of(column, nrows, choice, before);

	appendStringInfoCharMacro(message, tag);
	if (!(tag & PACK_NEXT))
		append_number(message, column->attnum);
	append_number(message, column->type);
	if (choice->encoding == PACK_NULL)
		return;
	appendStringInfoCharMacro(message, choice->shape);
	if (tag & PACK_CODED)
		append_number(message, choice->entries);
	if (choice->encoding == PACK_FIXED)
		append_number(message, column->len);
	else if (choice->encoding == PACK_VARLENA || choice->encoding == PACK_CSTRING)
		append_number(message, column->values.used);
}

#define DEFINE_OFFSETS(type)                                                                       \
	static void write_##type##_offsets(char *to, int width, const char *data, int n, uint64 base)  \
	{                                                                                              \
		const type *values = (const type *) data;                                                  \
                                                                                                   \
		for (int i = 0; i < n; i++)                                                                \
		{                                                                                          \
			uint64 offset = (uint64) (int64) values[i] - base;                                     \
                                                                                                   \
			if (width == 1)                                                                        \
				((uint8 *) to)[i] = offset;                                                        \
			else if (width == 2)                                                                   \
				memcpy(to + 2 * i, &(uint16){offset}, 2);                                          \
			else                                                                                   \
				memcpy(to + 4 * i, &(uint32){offset}, 4);                                          \
		}                                                                                          \
	}

DEFINE_OFFSETS(int16)
DEFINE_OFFSETS(int32)
DEFINE_OFFSETS(int64)

/* Unaligned.  Returns the width. */
static int
put_integer(char *to, uint64 value, int width)
{
	Datum aligned;

	store_att_byval(&aligned, (Datum) value, width);
	memcpy(to, &aligned, width);
	return width;
}

static void
append_offsets(StringInfo message, PackColumn *column, Choice *choice)
{
	int width = PACK_OFFSET_WIDTH(choice->shape);
	Size size = (Size) column->nvalues * width;
	char *to;

	enlargeStringInfo(message, column->len + size);
	to = message->data + message->len;
	to += put_integer(to, choice->base, column->len);
	if (column->len == 2)
		write_int16_offsets(to, width, column->values.data, column->nvalues, choice->base);
	else if (column->len == 4)
		write_int32_offsets(to, width, column->values.data, column->nvalues, choice->base);
	else
		write_int64_offsets(to, width, column->values.data, column->nvalues, choice->base);
	message->len += column->len + size;
}

static void
append_nulls(StringInfo message, PackColumn *column, int nrows)
{
	Size size = PACK_BITMAP_SIZE(nrows);
	Size there = Min(size, column->nulls_room);

	appendBinaryStringInfo(message, (char *) column->nulls, there);
	while (there++ < size)
		appendStringInfoCharMacro(message, '\0');
}

static void
append_data(StringInfo message, PackColumn *column, int nrows, Choice *choice)
{
	if (choice->encoding == PACK_NULL)
		return;
	if (has_nulls(column, nrows))
		append_nulls(message, column, nrows);
	if (choice->encoding == PACK_DENSE)
		appendBinaryStringInfo(message, column->values.data,
							   choice->entries == 1 ? column->len : column->values.used);
	else if (choice->encoding == PACK_OFFSETS)
		append_offsets(message, column, choice);
	else
	{
		while (message->len % choice->shape != 0)
			appendStringInfoCharMacro(message, '\0');
		appendBinaryStringInfo(message, column->values.data, column->values.used);
		if (choice->entries > 1)
			appendBinaryStringInfo(message, column->codes.data, column->codes.used);
	}
}

char *
message_make(Oid stream, int nrows, PackColumn *columns, int ncolumns, Size *size)
{
	Choice *choices = palloc(ncolumns * sizeof(Choice));
	StringInfoData message;
	AttrNumber before = 0;

	initStringInfo(&message);
	appendStringInfoSpaces(&message, BRAID_SEAL_SIZE);
	memset(message.data, 0, BRAID_SEAL_SIZE);
	appendStringInfoCharMacro(&message, PACK_VERSION);
	append_number(&message, nrows);
	append_number(&message, stream);
	append_number(&message, ncolumns);
	for (int i = 0; i < ncolumns; i++)
	{
		choices[i] = choose(&columns[i]);
		append_description(&message, &columns[i], nrows, &choices[i], before);
		before = columns[i].attnum;
	}
	for (int i = 0; i < ncolumns; i++)
		append_data(&message, &columns[i], nrows, &choices[i]);

	pfree(choices);
	*size = message.len;
	return message.data;
}
