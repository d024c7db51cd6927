/*
 * batch.c
 *	  Reads messages of streams.
 *
 * A message is damaged if anything in it contradicts layout.h: nothing outside of it is read then, and no
 * value is returned that reaches out of it.  That values are what their type says is not
 * checked: that is what the seal stands for.
 *
 * NOTES
 *	  Values are widened in loops without branches, which compilers turn into vector
 *	  instructions; this file is compiled with those for that.  Values that are not null are read as if
 *	  there were no others, and then moved to their rows from the last to the first.
 */
#include "postgres.h"

#include "common/compat.h"
#include "stream/layout.h"
#include "stream/pack.h"
#include "utils/lsyscache.h"

BRAID_NORETURN static void damaged(const char *detail);

static void
damaged(const char *detail)
{
	ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED), errmsg("message of a stream is damaged"),
					errdetail_internal("%s", detail)));
}

/* What has not been read yet. */
typedef struct Cursor
{
	const char *begin; /* of the message */
	const char *at;
	const char *end;
} Cursor;

static uint8
read_byte(Cursor *cursor)
{
	if (cursor->at == cursor->end)
		damaged("It ends too early.");
	return (uint8) *cursor->at++;
}

static uint32
read_number(Cursor *cursor)
{
	uint64 number = 0;

	for (int shift = 0; shift < 35; shift += 7)
	{
		uint8 byte = read_byte(cursor);

		number |= (uint64) (byte & 0x7F) << shift;
		if (!(byte & 0x80))
		{
			if (number > PG_UINT32_MAX)
				break;
			return (uint32) number;
		}
	}
	damaged("A number is too large.");
}

static const char *
read_bytes(Cursor *cursor, uint64 size)
{
	const char *bytes = cursor->at;

	if (size > (uint64) (cursor->end - cursor->at))
		damaged("It ends too early.");
	cursor->at += size;
	return bytes;
}

static bool
is_width(int width)
{
	return width == 1 || width == 2 || width == 4 || width == 8;
}

static void
read_entries(Cursor *cursor, BraidBatchColumn *column)
{
	column->nentries = read_number(cursor);
	if (column->nentries < 2 || column->nentries > PACK_MAX_ENTRIES)
		damaged("A column has an impossible number of different values.");
	if (column->encoding < PACK_FIXED || column->is_constant)
		damaged("A column has codes that cannot have them.");
}

/* Checks the shape of a column, and reads what follows it. */
static void
read_shape(Cursor *cursor, BraidBatchColumn *column)
{
	int width;

	if (column->encoding == PACK_NULL)
		return;
	column->shape = read_byte(cursor);
	width = PACK_VALUE_WIDTH(column->shape);
	if (!is_width(width))
		damaged("A column has an unknown width.");
	if (column->is_coded)
		read_entries(cursor, column);
	switch (column->encoding)
	{
		case PACK_DENSE:
			column->size = width;
			break;
		case PACK_OFFSETS:
			if (!is_width(PACK_OFFSET_WIDTH(column->shape)) ||
				PACK_OFFSET_WIDTH(column->shape) >= width || column->is_constant)
				damaged("A column has offsets of an unknown width.");
			return;
		case PACK_FIXED:
		case PACK_VARLENA:
		case PACK_CSTRING:
			column->size = read_number(cursor);
			if (column->size == 0)
				damaged("A column of values has none.");
			break;
		default:
			damaged("A column has an unknown encoding.");
	}
	if (column->encoding <= PACK_OFFSETS && PACK_OFFSET_WIDTH(column->shape) != 0)
		damaged("A column has an unknown shape.");
}

static void
read_description(Cursor *cursor, BraidBatchColumn *column, AttrNumber before)
{
	uint8 tag = read_byte(cursor);
	uint32 attnum = tag & PACK_NEXT ? before + 1 : read_number(cursor);

	if (attnum <= before || attnum > PG_INT16_MAX)
		damaged("Columns are out of order.");
	column->attnum = attnum;
	column->encoding = tag & PACK_ENCODING;
	column->has_nulls = (tag & PACK_HAS_NULLS) != 0;
	column->is_constant = (tag & PACK_CONSTANT) != 0;
	column->is_coded = (tag & PACK_CODED) != 0;
	column->type = read_number(cursor);
	if (column->encoding == PACK_NULL && tag & (PACK_HAS_NULLS | PACK_CONSTANT | PACK_CODED))
		damaged("A column without values has nulls marked.");
	read_shape(cursor, column);
}

static uint32
count_ones(const char *bytes, Size size)
{
	uint32 count = 0;

	while (size > 0)
	{
		uint64 bits = 0;
		Size n = Min(size, sizeof(bits));

		/* In pairs of bits, in fours, in bytes, then the sum of the bytes. */
		memcpy(&bits, bytes, n);
		bits -= bits >> 1 & UINT64CONST(0x5555555555555555);
		bits = (bits & UINT64CONST(0x3333333333333333)) +
			   (bits >> 2 & UINT64CONST(0x3333333333333333));
		bits = (bits + (bits >> 4)) & UINT64CONST(0x0F0F0F0F0F0F0F0F);
		count += bits * UINT64CONST(0x0101010101010101) >> 56;
		bytes += n;
		size -= n;
	}
	return count;
}

/* The bitmap of nulls: its place, and how many values there are. */
static void
read_nulls(Cursor *cursor, BraidBatchColumn *column, int nrows)
{
	Size size = PACK_BITMAP_SIZE(nrows);

	column->nvalues = nrows;
	if (!column->has_nulls)
		return;
	column->nulls = read_bytes(cursor, size);
	if (nrows % 8 != 0 && (uint8) column->nulls[size - 1] >> nrows % 8 != 0)
		damaged("Rows are null that are not there.");
	column->nvalues -= count_ones(column->nulls, size);
	if (column->nvalues == 0 || column->nvalues == nrows)
		damaged("All or none of the values of a column with some nulls are null.");
}

/* How many values there are in the data of a column. */
static uint32
stored_values(const BraidBatchColumn *column)
{
	if (column->is_constant)
		return 1;
	return column->is_coded ? column->nentries : column->nvalues;
}

/* Bytes of these, after they have been aligned. */
static uint64
data_size(const BraidBatchColumn *column)
{
	uint64 n = stored_values(column);

	switch (column->encoding)
	{
		case PACK_DENSE:
			return n * column->size;
		case PACK_OFFSETS:
			return PACK_VALUE_WIDTH(column->shape) + n * PACK_OFFSET_WIDTH(column->shape);
		case PACK_FIXED:
			return (n - 1) * TYPEALIGN64(column->shape, (uint64) column->size) + column->size;
		default:
			return column->size;
	}
}

static void
read_data(Cursor *cursor, BraidBatchColumn *column, int nrows)
{
	if (column->encoding == PACK_NULL)
		return;
	read_nulls(cursor, column, nrows);
	if (column->encoding >= PACK_FIXED)
	{
		Size offset = cursor->at - cursor->begin;

		read_bytes(cursor, TYPEALIGN(column->shape, offset) - offset);
	}
	column->data = read_bytes(cursor, data_size(column));
	if (column->is_coded)
		column->codes = (const uint8 *) read_bytes(cursor, column->nvalues);
}

static void
read_head(Cursor *cursor, Oid *stream, int *nrows)
{
	uint32 n;

	read_bytes(cursor, BRAID_SEAL_SIZE);
	if (read_byte(cursor) != PACK_VERSION)
		damaged("It is of an unknown version.");
	n = read_number(cursor);
	if (n == 0 || n > PACK_MAX_ROWS)
		damaged("It has an impossible number of rows.");
	*nrows = n;
	*stream = read_number(cursor);
}

void
braid_batch_peek(const char *message, Size size, Oid *stream, int *nrows)
{
	Cursor cursor = {message, message, message + size};

	read_head(&cursor, stream, nrows);
}

void
braid_batch_open(BraidBatch *batch, const char *message, Size size)
{
	Cursor cursor = {message, message, message + size};
	AttrNumber before = 0;
	uint32 ncolumns;

	Assert(message == (const char *) MAXALIGN(message));
	batch->message = message;
	batch->size = size;

	read_head(&cursor, &batch->stream, &batch->nrows);
	ncolumns = read_number(&cursor);
	if (ncolumns > MaxAttrNumber)
		damaged("It has an impossible number of columns.");
	batch->ncolumns = ncolumns;

	batch->columns = batch->few;
	if (batch->ncolumns > BRAID_BATCH_FEW)
		batch->columns = palloc(batch->ncolumns * sizeof(BraidBatchColumn));
	memset(batch->columns, 0, batch->ncolumns * sizeof(BraidBatchColumn));
	for (int i = 0; i < batch->ncolumns; i++)
	{
		read_description(&cursor, &batch->columns[i], before);
		before = batch->columns[i].attnum;
	}
	for (int i = 0; i < batch->ncolumns; i++)
		read_data(&cursor, &batch->columns[i], batch->nrows);
	if (cursor.at != cursor.end)
		damaged("Something follows its last column.");
}

/* NULL: there is none. */
static BraidBatchColumn *
find_column(BraidBatch *batch, AttrNumber attnum)
{
	int low = 0;
	int high = Min(batch->ncolumns, attnum) - 1;

	/* Most streams have all of their columns. */
	if (attnum == high + 1 && high >= 0 && batch->columns[high].attnum == attnum)
		return &batch->columns[high];
	while (low <= high)
	{
		int middle = (low + high) / 2;
		BraidBatchColumn *column = &batch->columns[middle];

		if (column->attnum == attnum)
			return column;
		if (column->attnum < attnum)
			low = middle + 1;
		else
			high = middle - 1;
	}
	return NULL;
}

/* A column that says of itself something else than its type is damaged: it must not become pointers. */
static void
check_type(BraidBatchColumn *column, Oid type)
{
	int width = PACK_VALUE_WIDTH(column->shape);
	int16 len;
	bool byval;
	char align;
	bool fits;

	if (column->type != type)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column %d of a message of a stream is not of the type that is expected",
						column->attnum),
				 errdetail_internal("Its type is %u, not %u.", column->type, type)));
	get_typlenbyvalalign(type, &len, &byval, &align);
	switch (column->encoding)
	{
		case PACK_NULL:
			fits = true;
			break;
		case PACK_DENSE:
		case PACK_OFFSETS:
			fits = byval && width == len;
			break;
		case PACK_FIXED:
			fits = !byval && len == column->size && width == pack_alignment(align);
			break;
		case PACK_VARLENA:
			fits = len == -1 && (width == 1 || width == pack_alignment(align));
			break;
		default:
			fits = len == -2;
			break;
	}
	if (!fits)
		damaged("A column does not look like its type.");
}

static void
fill(Datum *values, int n, Datum value)
{
	for (int i = 0; i < n; i++)
		values[i] = value;
}

#define DEFINE_WIDEN(name, type)                                                                   \
	static void name(Datum *pg_restrict values, int n, const char *pg_restrict data, Datum base)   \
	{                                                                                              \
		for (int i = 0; i < n; i++)                                                                \
		{                                                                                          \
			type value;                                                                            \
                                                                                                   \
			memcpy(&value, data + i * sizeof(type), sizeof(type));                                 \
			values[i] = base + (Datum) value;                                                      \
		}                                                                                          \
	}

/* Signed ones as fetch_att() has them, whatever the type. */
DEFINE_WIDEN(widen_int8, int8)
DEFINE_WIDEN(widen_int16, int16)
DEFINE_WIDEN(widen_int32, int32)
DEFINE_WIDEN(widen_uint8, uint8)
DEFINE_WIDEN(widen_uint16, uint16)
DEFINE_WIDEN(widen_uint32, uint32)

static void
widen(Datum *values, int n, const char *data, int width)
{
	switch (width)
	{
		case 1:
			widen_int8(values, n, data, 0);
			break;
		case 2:
			widen_int16(values, n, data, 0);
			break;
		case 4:
			widen_int32(values, n, data, 0);
			break;
		default:
			memcpy(values, data, n * sizeof(Datum));
			break;
	}
}

static void
widen_offsets(BraidBatchColumn *column, Datum *values)
{
	int width = PACK_VALUE_WIDTH(column->shape);
	const char *data = column->data + width;
	int n = column->nvalues;
	Datum base;

	widen(&base, 1, column->data, width);
	switch (PACK_OFFSET_WIDTH(column->shape))
	{
		case 1:
			widen_uint8(values, n, data, base);
			break;
		case 2:
			widen_uint16(values, n, data, base);
			break;
		default:
			widen_uint32(values, n, data, base);
			break;
	}
}

static void
point_to_fixed(BraidBatchColumn *column, Datum *values, int n)
{
	Size step = TYPEALIGN(column->shape, (Size) column->size);

	for (int i = 0; i < n; i++)
		values[i] = PointerGetDatum(column->data + i * step);
}

/* A value that has a long header or zeros in front: where it is, and its size, which may be too large. */
static const char *
after_padding(const char *at, const char *end, uint8 align, Size *size)
{
	if (*at == '\0')
		at = (const char *) TYPEALIGN(align, at);
	if (at >= end)
		damaged("A value begins after the end of its column.");
	if (VARATT_IS_1B(at))
	{
		if (VARATT_IS_1B_E(at))
			damaged("A value is out of line.");
		*size = VARSIZE_1B(at);
	}
	else
	{
		if (at != (const char *) TYPEALIGN(ALIGNOF_INT, at) || align < ALIGNOF_INT ||
			end - at < VARHDRSZ)
			damaged("A value begins at an impossible place.");
		*size = VARSIZE_4B(at);
		if (*size < (VARATT_IS_4B_C(at) ? VARHDRSZ_COMPRESSED : VARHDRSZ))
			damaged("A value has an impossible length.");
	}
	return at;
}

static void
point_to_varlenas(BraidBatchColumn *column, Datum *values, int n)
{
	const char *at = column->data;
	const char *end = at + column->size;

	for (int i = 0; i < n; i++)
	{
		Size size;

		if (unlikely(at >= end))
			damaged("A column has too few values.");
		if (likely(VARATT_IS_1B(at) && !VARATT_IS_1B_E(at)))
			size = VARSIZE_1B(at);
		else
			at = after_padding(at, end, column->shape, &size);
		if (unlikely(size > end - at))
			damaged("A value ends after the end of its column.");
		values[i] = PointerGetDatum(at);
		at += size;
	}
	if (at != end)
		damaged("A column has too many values.");
}

static void
point_to_cstrings(BraidBatchColumn *column, Datum *values, int n)
{
	const char *at = column->data;
	const char *end = at + column->size;

	for (int i = 0; i < n; i++)
	{
		const char *zero = at < end ? memchr(at, '\0', end - at) : NULL;

		if (zero == NULL)
			damaged("A column has too few values.");
		values[i] = CStringGetDatum(at);
		at = zero + 1;
	}
	if (at != end)
		damaged("A column has too many values.");
}

/* All values that are in the data. */
static void
read_stored(BraidBatchColumn *column, Datum *values)
{
	int n = stored_values(column);

	switch (column->encoding)
	{
		case PACK_DENSE:
			widen(values, n, column->data, PACK_VALUE_WIDTH(column->shape));
			break;
		case PACK_OFFSETS:
			widen_offsets(column, values);
			break;
		case PACK_FIXED:
			point_to_fixed(column, values, n);
			break;
		case PACK_VARLENA:
			point_to_varlenas(column, values, n);
			break;
		case PACK_CSTRING:
			point_to_cstrings(column, values, n);
			break;
	}
}

static void
decode(BraidBatchColumn *column, Datum *values)
{
	Datum entries[PACK_MAX_ENTRIES];
	const uint8 *codes = column->codes;
	int n = column->nvalues;
	uint8 highest = 0;

	read_stored(column, entries);
	for (int i = 0; i < n; i++)
		highest = Max(highest, codes[i]);
	if (highest >= column->nentries)
		damaged("A code stands for no value.");
	for (int i = 0; i < n; i++)
		values[i] = entries[codes[i]];
}

/* The values that are not null, one after the other. */
static void
read_values(BraidBatchColumn *column, Datum *values)
{
	if (column->is_coded)
		decode(column, values);
	else
		read_stored(column, values);
	if (column->is_constant)
		fill(values + 1, column->nvalues - 1, values[0]);
}

static void
expand_nulls(const char *bitmap, bool *nulls, int nrows)
{
	int row = 0;

#ifndef WORDS_BIGENDIAN
	/* Eight at once: each byte gets the bits, keeps its own one, and becomes 0 or 1. */
	for (; row + 8 <= nrows; row += 8)
	{
		uint64 bits = (uint8) bitmap[row / 8] * UINT64CONST(0x0101010101010101);

		bits &= UINT64CONST(0x8040201008040201);
		bits = (bits + UINT64CONST(0x7F7F7F7F7F7F7F7F)) >> 7 & UINT64CONST(0x0101010101010101);
		memcpy(nulls + row, &bits, 8);
	}
#endif
	for (; row < nrows; row++)
		nulls[row] = bitmap[row / 8] >> row % 8 & 1;
}

/* Moves values to their rows.  A row's value is never before it. */
static void
spread(Datum *values, const bool *nulls, int nrows, int nvalues)
{
	int from = nvalues;

	for (int row = nrows - 1; row >= 0; row--)
	{
		Datum is_null = nulls[row];

		from -= !is_null;
		values[row] = values[from] & (is_null - 1);
	}
	Assert(from == 0);
}

bool
braid_batch_column(BraidBatch *batch, AttrNumber attnum, Oid type, Datum *values, bool *nulls,
				   bool *any_null)
{
	BraidBatchColumn *column = find_column(batch, attnum);

	if (column == NULL)
		return false;
	check_type(column, type);
	*any_null = column->encoding == PACK_NULL || column->has_nulls;
	if (column->encoding == PACK_NULL)
	{
		fill(values, batch->nrows, (Datum) 0);
		memset(nulls, true, batch->nrows);
		return true;
	}
	read_values(column, values);
	if (column->has_nulls)
	{
		expand_nulls(column->nulls, nulls, batch->nrows);
		spread(values, nulls, batch->nrows, column->nvalues);
	}
	return true;
}
