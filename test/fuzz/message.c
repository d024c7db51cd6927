/*
 * message.c
 *	  Fuzzes the reader of messages of streams.
 *
 * Messages lie in memory of their exact size, under the address sanitizer, and all that the reader returns is
 * touched. Damage has to end in an error, and what is no error has to be usable: aligned and inside.
 * The reader itself is compiled in, with stand-ins for what it needs of the server.
 *
 * With libFuzzer (tools/fuzz), or with a main() of its own, which plays the files
 * given and mutates them: message SEED MUTATIONS FILE...
 */
#include "postgres.h"

#include <setjmp.h>

#undef Assert
#define Assert(condition) ((condition) ? (void) 0 : abort())

#include "../../src/stream/batch.c"

#undef printf
#undef fprintf
#undef snprintf

static jmp_buf error_exit;
static int error_code;

bool
errstart(int level, const char *domain)
{
	error_code = 0;
	return level >= ERROR;
}

bool
errstart_cold(int level, const char *domain)
{
	return errstart(level, domain);
}

int
errcode(int code)
{
	error_code = code;
	return 0;
}

int
errmsg(const char *format, ...)
{
	return 0;
}

int
errdetail_internal(const char *format, ...)
{
	return 0;
}

void
errfinish(const char *file, int line, const char *function)
{
	if (error_code != ERRCODE_DATA_CORRUPTED)
		abort();
	longjmp(error_exit, 1);
}

/* The array of columns, if they are many: the only allocation. */
static void *allocated;

void *
palloc(Size size)
{
	if (allocated != NULL)
		abort();
	return allocated = malloc(size);
}

/* All kinds that there are; known ones, so that messages written by a server can be read. */
void
get_typlenbyvalalign(Oid type, int16 *len, bool *byval, char *align)
{
	static const struct
	{
		Oid type;
		int16 len;
		char align;
	} types[] = {{BOOLOID, 1, 'c'},		{INT2OID, 2, 's'},	  {INT4OID, 4, 'i'},
				 {INT8OID, 8, 'd'},		{UUIDOID, 16, 'c'},	  {INTERVALOID, 16, 'd'},
				 {TIDOID, 6, 's'},		{NAMEOID, 64, 'c'},	  {TEXTOID, -1, 'i'},
				 {POLYGONOID, -1, 'd'}, {CSTRINGOID, -2, 'c'}};
	int found = type % lengthof(types);

	for (int i = 0; i < lengthof(types); i++)
	{
		if (types[i].type == type)
			found = i;
	}
	*len = types[found].len;
	*align = types[found].align;
	*byval = *len == 1 || *len == 2 || *len == 4 || *len == 8;
}

static volatile uint64 sum;

static void
touch(const char *bytes, Size size)
{
	for (Size i = 0; i < size; i++)
		sum += bytes[i];
}

static void
use_value(Datum value, Oid type)
{
	const char *bytes = DatumGetPointer(value);
	int16 len;
	bool byval;
	char align;

	get_typlenbyvalalign(type, &len, &byval, &align);
	if (byval)
		sum += value;
	else if (len == -2)
		touch(bytes, strlen(bytes));
	else if (len == -1 && VARATT_IS_1B(bytes))
		touch(bytes, VARSIZE_1B(bytes));
	else if (bytes != (const char *) TYPEALIGN(pack_alignment(align), bytes))
		abort();
	else
		touch(bytes, len == -1 ? VARSIZE_4B(bytes) : len);
}

static void
use_column(BraidBatch *batch, BraidBatchColumn *column, Datum *values, bool *nulls)
{
	bool any_null = false;
	bool seen_null = false;

	if (!braid_batch_column(batch, column->attnum, column->type, values, nulls, &any_null))
		abort();
	for (int row = 0; row < batch->nrows; row++)
	{
		if (!any_null || !nulls[row])
			use_value(values[row], column->type);
		else if (values[row] != 0)
			abort();
		else
			seen_null = true;
	}
	if (any_null != seen_null)
		abort();
}

extern int LLVMFuzzerTestOneInput(const uint8 *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	char *message = malloc(size);
	Datum *volatile values = NULL;
	bool *volatile nulls = NULL;
	BraidBatch batch;

	memcpy(message, data, size);
	if (setjmp(error_exit) == 0)
	{
		Oid stream;
		int nrows;

		braid_batch_peek(message, size, &stream, &nrows);
		braid_batch_open(&batch, message, size);
		if (batch.stream != stream || batch.nrows != nrows)
			abort();
		values = malloc(batch.nrows * sizeof(Datum));
		nulls = malloc(batch.nrows);
		for (int i = 0; i < batch.ncolumns && (int64) i * batch.nrows < 1 << 22; i++)
			use_column(&batch, &batch.columns[i], values, nulls);
	}
	free(values);
	free(nulls);
	free(message);
	free(allocated);
	allocated = NULL;
	return 0;
}

#ifndef LIBFUZZER

/* xorshift64* */
static uint64
next_random(uint64 *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64CONST(2685821657736338717);
}

/* One to four changes, most of them at the beginning, where the description is. */
static size_t
mutate(uint8 *data, size_t size, uint64 *state)
{
	static const uint8 interesting[] = {0, 1, 2, 3, 4, 7, 8, 0x7F, 0x80, 0x81, 0xFE, 0xFF};

	for (int n = next_random(state) % 4; n >= 0; n--)
	{
		uint64 r = next_random(state);
		size_t at = r % (r >> 60 < 12 ? Min(size, 64) : size);

		switch (r >> 32 & 7)
		{
			case 0:
				data[at] = r >> 40;
				break;
			case 1:
				data[at] = interesting[(r >> 40) % lengthof(interesting)];
				break;
			case 2:
				data[at]++;
				break;
			case 3:
				data[at]--;
				break;
			case 4:
				size = at + 1;
				break;
			case 5:
				memmove(data + at, data + at + 1, size - at - 1);
				break;
			case 6:
				memmove(data + at + 1, data + at, size - at - 1);
				break;
			default:
				data[at] ^= 1 << (r >> 40 & 7);
				break;
		}
	}
	return size;
}

static uint8 *
read_file(const char *name, size_t *size)
{
	FILE *file = fopen(name, "rb");
	uint8 *data = malloc(1 << 20);

	if (file == NULL)
	{
		perror(name);
		exit(2);
	}
	*size = fread(data, 1, 1 << 20, file);
	fclose(file);
	return data;
}

int
main(int argc, char **argv)
{
	uint64 state = strtoull(argv[1], NULL, 10) * 2 + 1;
	long mutations = atol(argv[2]) / (argc - 3);

	for (int i = 3; i < argc; i++)
	{
		size_t size;
		uint8 *original = read_file(argv[i], &size);
		uint8 *data = malloc(size);

		LLVMFuzzerTestOneInput(original, size);
		for (long m = 0; m < mutations; m++)
		{
			memcpy(data, original, size);
			LLVMFuzzerTestOneInput(data, mutate(data, size, &state));
		}
		free(data);
		free(original);
	}
	printf("%ld mutations of %d messages\n", mutations, argc - 3);
	return 0;
}

#endif
