/*
 * pack.c
 *	  Collects rows of a stream by column, and makes a message of them.
 *
 * Each column has a buffer of its values as they will be in the message, except that integers are
 * found to be near to each other, and values to be all the same, only when the message is made.
 * Null values take no place in it.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/toast_internals.h"
#include "access/tupmacs.h"
#include "lib/stringinfo.h"
#include "stream/layout.h"
#include "stream/pack.h"
#include "utils/memutils.h"

/* Varlenas above that are compressed, as heap tables do at about this size of a row. */
#define COMPRESS_ABOVE 2000

#define FIRST_ROOM 64

typedef struct PackColumn
{
	AttrNumber attnum;
	Oid type;
	int16 len;
	bool byval;
	uint8 align;
	char storage;
	char compression;

	int nvalues;  /* that are not null */
	bool is_same; /* by reference: all are like the first one */
	bool is_long; /* varlena: some have long headers */
	Size first;	  /* by reference: bytes of the first value */

	char *data;
	Size used;
	Size room;

	uint8 *nulls; /* NULL: there has been none yet */
	Size nulls_room;
} PackColumn;

struct BraidPack
{
	MemoryContext context;
	Oid stream;
	int nrows;
	int nattrs; /* of the descriptor */
	int ncolumns;
	PackColumn columns[FLEXIBLE_ARRAY_MEMBER];
};

static void
describe_column(PackColumn *column, Form_pg_attribute attr)
{
	column->attnum = attr->attnum;
	column->type = attr->atttypid;
	column->len = attr->attlen;
	column->byval = attr->attbyval;
	column->align = pack_alignment(attr->attalign);
	column->storage = attr->attstorage;
	column->compression = attr->attcompression;
	column->is_same = true;
}

BraidPack *
braid_pack_make(MemoryContext context, Oid stream, TupleDesc desc)
{
	MemoryContext own = AllocSetContextCreate(context, "braid pack", ALLOCSET_DEFAULT_SIZES);
	BraidPack *pack = MemoryContextAllocZero(own, offsetof(BraidPack, columns) +
													  desc->natts * sizeof(PackColumn));

	pack->context = own;
	pack->stream = stream;
	pack->nattrs = desc->natts;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attr = TupleDescAttr(desc, i);

		if (!attr->attisdropped)
			describe_column(&pack->columns[pack->ncolumns++], attr);
	}
	return pack;
}

bool
braid_pack_fits(BraidPack *pack, Oid stream, TupleDesc desc)
{
	int n = 0;

	if (pack->stream != stream || pack->nattrs != desc->natts)
		return false;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attr = TupleDescAttr(desc, i);

		if (attr->attisdropped)
			continue;
		if (n == pack->ncolumns || pack->columns[n].attnum != attr->attnum ||
			pack->columns[n].type != attr->atttypid)
			return false;
		n++;
	}
	return n == pack->ncolumns;
}

/* Room for more bytes; returns where they begin. */
static char *
extend(BraidPack *pack, PackColumn *column, Size more)
{
	char *end;

	if (unlikely(column->used + more > column->room))
	{
		Size room = Max(column->room * 2, FIRST_ROOM);

		room = Max(room, column->used + more);
		column->data = column->data ? repalloc_huge(column->data, room)
									: MemoryContextAllocHuge(pack->context, room);
		column->room = room;
	}
	end = column->data + column->used;
	column->used += more;
	return end;
}

/* The same with zeros in front, so that they are aligned. */
static char *
extend_aligned(BraidPack *pack, PackColumn *column, Size more, uint8 align)
{
	Size padding = TYPEALIGN(align, column->used) - column->used;
	char *end = extend(pack, column, padding + more);

	memset(end, 0, padding);
	return end + padding;
}

static void
add_null(BraidPack *pack, PackColumn *column, int row)
{
	Size size = PACK_BITMAP_SIZE(row + 1);

	if (column->nulls_room < size)
	{
		Size room = Max(size * 2, 16);

		column->nulls =
			column->nulls ? repalloc(column->nulls, room) : MemoryContextAlloc(pack->context, room);
		memset(column->nulls + column->nulls_room, 0, room - column->nulls_room);
		column->nulls_room = room;
	}
	column->nulls[row / 8] |= 1 << row % 8;
}

static inline void
add_by_value(BraidPack *pack, PackColumn *column, Datum value)
{
	char *to = extend(pack, column, column->len);

	store_att_byval(to, value, column->len);
}

/* Is a value, which follows the first one, the same? */
static inline bool
is_like_first(PackColumn *column, const char *value, Size size)
{
	return column->first == size && memcmp(column->data, value, size) == 0;
}

static void
add_bytes(BraidPack *pack, PackColumn *column, const char *value, Size size, uint8 align)
{
	if (column->nvalues == 0)
		column->first = size;
	else if (column->is_same)
		column->is_same = is_like_first(column, value, size);
	memcpy(extend_aligned(pack, column, size, align), value, size);
}

static void
add_short(BraidPack *pack, PackColumn *column, struct varlena *value)
{
	char buffer[VARATT_SHORT_MAX];
	Size size = VARATT_CONVERTED_SHORT_SIZE(value);

	SET_VARSIZE_SHORT(buffer, size);
	memcpy(buffer + VARHDRSZ_SHORT, VARDATA(value), size - VARHDRSZ_SHORT);
	add_bytes(pack, column, buffer, size, 1);
}

static struct varlena *
compressed(PackColumn *column, struct varlena *value)
{
	Datum result = (Datum) 0;

	if (column->storage == TYPSTORAGE_EXTENDED || column->storage == TYPSTORAGE_MAIN)
		result = toast_compress_datum(PointerGetDatum(value), column->compression);
	return DatumGetPointer(result) ? (struct varlena *) DatumGetPointer(result) : value;
}

static void
add_varlena(BraidPack *pack, PackColumn *column, struct varlena *value)
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
		add_bytes(pack, column, (char *) value, VARSIZE_SHORT(value), 1);
	else if (column->storage != TYPSTORAGE_PLAIN && VARATT_CAN_MAKE_SHORT(value))
		add_short(pack, column, value);
	else
	{
		column->is_long = true;
		add_bytes(pack, column, (char *) value, VARSIZE(value), column->align);
	}
	if (value != original)
		pfree(value);
}

static inline void
add_value(BraidPack *pack, PackColumn *column, Datum value)
{
	if (column->byval)
		add_by_value(pack, column, value);
	else if (column->len > 0)
		add_bytes(pack, column, DatumGetPointer(value), column->len, column->align);
	else if (column->len == -1)
		add_varlena(pack, column, (struct varlena *) DatumGetPointer(value));
	else
		add_bytes(pack, column, DatumGetCString(value), strlen(DatumGetCString(value)) + 1, 1);
	column->nvalues++;
}

void
braid_pack_add(BraidPack *pack, Datum *values, bool *nulls)
{
	for (int i = 0; i < pack->ncolumns; i++)
	{
		PackColumn *column = &pack->columns[i];

		if (nulls[column->attnum - 1])
			add_null(pack, column, pack->nrows);
		else
			add_value(pack, column, values[column->attnum - 1]);
	}
	pack->nrows++;
}

static void
append_nulls(BraidPack *to, PackColumn *column, BraidPack *from, PackColumn *other)
{
	if (other->nvalues == from->nrows)
		return;
	for (int row = 0; row < from->nrows; row++)
	{
		if (row / 8 < other->nulls_room && other->nulls[row / 8] & 1 << row % 8)
			add_null(to, column, to->nrows + row);
	}
}

static void
append_values(BraidPack *to, PackColumn *column, PackColumn *other)
{
	/* Where a long header may follow, alignment within the other buffer has to hold here. */
	uint8 align = column->byval || (column->len < 0 && !other->is_long) ? 1 : column->align;

	if (other->nvalues == 0)
		return;
	if (!column->byval && column->nvalues == 0)
	{
		column->first = other->first;
		column->is_same = other->is_same;
	}
	else if (!column->byval)
		column->is_same =
			column->is_same && other->is_same && is_like_first(column, other->data, other->first);
	column->is_long |= other->is_long;
	memcpy(extend_aligned(to, column, other->used, align), other->data, other->used);
	column->nvalues += other->nvalues;
}

static void
empty(BraidPack *pack)
{
	pack->nrows = 0;
	for (int i = 0; i < pack->ncolumns; i++)
	{
		PackColumn *column = &pack->columns[i];

		column->nvalues = 0;
		column->used = 0;
		column->is_same = true;
		column->is_long = false;
		if (column->nulls)
			memset(column->nulls, 0, column->nulls_room);
	}
}

void
braid_pack_append(BraidPack *to, BraidPack *from)
{
	Assert(to->stream == from->stream && to->ncolumns == from->ncolumns);

	for (int i = 0; i < to->ncolumns; i++)
	{
		Assert(to->columns[i].attnum == from->columns[i].attnum);
		Assert(to->columns[i].type == from->columns[i].type);
		append_nulls(to, &to->columns[i], from, &from->columns[i]);
		append_values(to, &to->columns[i], &from->columns[i]);
	}
	to->nrows += from->nrows;
	empty(from);
}

int
braid_pack_rows(BraidPack *pack)
{
	return pack->nrows;
}

/* A byte for each row, whatever it has: this bounds the rows of a message by its size. */
Size
braid_pack_size(BraidPack *pack)
{
	Size size = 16 + pack->ncolumns * 4 + pack->nrows;

	for (int i = 0; i < pack->ncolumns; i++)
		size += pack->columns[i].used;
	return size;
}

void
braid_pack_free(BraidPack *pack)
{
	MemoryContextDelete(pack->context);
}

/* How a column is put into the message. */
typedef struct Choice
{
	PackEncoding encoding;
	bool is_constant;
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
			range_int8(column->data, column->nvalues, base, span);
			break;
		case 2:
			range_int16(column->data, column->nvalues, base, span);
			break;
		case 4:
			range_int32(column->data, column->nvalues, base, span);
			break;
		default:
			range_int64(column->data, column->nvalues, base, span);
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
		choice.is_constant = true;
	else if (column->len + n * width < n * column->len)
	{
		choice.encoding = PACK_OFFSETS;
		choice.shape = PACK_OFFSETS_SHAPE(column->len, width);
	}
	return choice;
}

static Choice
choose(PackColumn *column)
{
	Choice choice = {.encoding = PACK_NULL};

	if (column->nvalues == 0)
		return choice;
	if (column->byval)
		return choose_by_value(column);

	choice.is_constant = column->is_same;
	choice.encoding = column->len > 0	  ? PACK_FIXED
					  : column->len == -1 ? PACK_VARLENA
										  : PACK_CSTRING;
	choice.shape = column->len > 0 || column->is_long ? column->align : 1;
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
has_nulls(BraidPack *pack, PackColumn *column)
{
	return column->nvalues < pack->nrows && column->nvalues > 0;
}

/* Of a column that is by reference. */
static Size
data_size(PackColumn *column, Choice *choice)
{
	return choice->is_constant ? column->first : column->used;
}

static void
append_description(StringInfo message, BraidPack *pack, PackColumn *column, Choice *choice,
				   AttrNumber before)
{
	bool is_next = column->attnum == before + 1;

	appendStringInfoCharMacro(
		message, choice->encoding | (choice->is_constant ? PACK_CONSTANT : 0) |
					 (has_nulls(pack, column) ? PACK_HAS_NULLS : 0) | (is_next ? PACK_NEXT : 0));
	if (!is_next)
		append_number(message, column->attnum);
	append_number(message, column->type);
	if (choice->encoding == PACK_NULL)
		return;
	appendStringInfoCharMacro(message, choice->shape);
	if (choice->encoding == PACK_FIXED)
		append_number(message, column->len);
	else if (choice->encoding == PACK_VARLENA || choice->encoding == PACK_CSTRING)
		append_number(message, data_size(column, choice));
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
		write_int16_offsets(to, width, column->data, column->nvalues, choice->base);
	else if (column->len == 4)
		write_int32_offsets(to, width, column->data, column->nvalues, choice->base);
	else
		write_int64_offsets(to, width, column->data, column->nvalues, choice->base);
	message->len += column->len + size;
}

static void
append_data(StringInfo message, BraidPack *pack, PackColumn *column, Choice *choice)
{
	if (choice->encoding == PACK_NULL)
		return;
	if (has_nulls(pack, column))
	{
		Size size = PACK_BITMAP_SIZE(pack->nrows);
		Size there = Min(size, column->nulls_room);

		appendBinaryStringInfo(message, (char *) column->nulls, there);
		appendStringInfoSpaces(message, size - there);
		memset(message->data + message->len - (size - there), 0, size - there);
	}
	if (choice->encoding == PACK_DENSE)
		appendBinaryStringInfo(message, column->data,
							   choice->is_constant ? column->len : column->used);
	else if (choice->encoding == PACK_OFFSETS)
		append_offsets(message, column, choice);
	else
	{
		while (message->len % choice->shape != 0)
			appendStringInfoCharMacro(message, '\0');
		appendBinaryStringInfo(message, column->data, data_size(column, choice));
	}
}

char *
braid_pack_message(BraidPack *pack, Size *size)
{
	Choice *choices = palloc(pack->ncolumns * sizeof(Choice));
	StringInfoData message;
	AttrNumber before = 0;

	Assert(pack->nrows > 0 && pack->nrows <= PACK_MAX_ROWS);

	initStringInfo(&message);
	enlargeStringInfo(&message, braid_pack_size(pack));
	memset(message.data, 0, BRAID_SEAL_SIZE);
	message.len = BRAID_SEAL_SIZE;
	appendStringInfoCharMacro(&message, PACK_VERSION);
	append_number(&message, pack->nrows);
	append_number(&message, pack->stream);
	append_number(&message, pack->ncolumns);
	for (int i = 0; i < pack->ncolumns; i++)
	{
		choices[i] = choose(&pack->columns[i]);
		append_description(&message, pack, &pack->columns[i], &choices[i], before);
		before = pack->columns[i].attnum;
	}
	for (int i = 0; i < pack->ncolumns; i++)
		append_data(&message, pack, &pack->columns[i], &choices[i]);

	pfree(choices);
	empty(pack);
	*size = message.len;
	return message.data;
}
