/*
 * pack_test.c
 *	  Messages in the hands of tests: rows to messages, and back.
 *
 * Only in a build with failpoints, and declared by the tests that use them.
 */
#include "postgres.h"

#ifdef BRAID_FAILPOINTS

#include <time.h>

#include "common/pg_prng.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "stream/pack.h"
#include "stream/seal.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

PG_FUNCTION_INFO_V1(braid_sql_test_pack);
PG_FUNCTION_INFO_V1(braid_sql_test_unpack);
PG_FUNCTION_INFO_V1(braid_sql_test_unpack_time);
PG_FUNCTION_INFO_V1(braid_sql_test_seal);
PG_FUNCTION_INFO_V1(braid_sql_test_seal_is_right);

static void
put_message(ReturnSetInfo *result, BraidPack *pack)
{
	Size size;
	char *message = braid_pack_message(pack, &size);
	bytea *bytes = palloc(VARHDRSZ + size);
	Datum values[2];
	bool nulls[2] = {false, false};

	SET_VARSIZE(bytes, VARHDRSZ + size);
	memcpy(VARDATA(bytes), message, size);
	values[0] = PointerGetDatum(bytes);
	values[1] = PointerGetDatum(cstring_to_text(psprintf("%zu", size)));
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	pfree(message);
	pfree(bytes);
}

/*
 * braid_test_pack(query text, rows int, parts int, stream oid, OUT message bytea, OUT bytes text): the messages
 * that the query's rows make, of so many rows each, as if they had been written to the stream.  With parts > 1, packs of one to so many rows are appended.
 */
Datum
braid_sql_test_pack(PG_FUNCTION_ARGS)
{
	char *query = text_to_cstring(PG_GETARG_TEXT_PP(0));
	int rows = PG_GETARG_INT32(1);
	int parts = PG_GETARG_INT32(2);
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	BraidPack *packs[2] = {NULL, NULL};
	TupleDesc desc;
	Datum *values;
	bool *nulls;
	pg_prng_state random;
	int until_append = 0;

	InitMaterializedSRF(fcinfo, 0);
	pg_prng_seed(&random, rows + parts);
	SPI_connect();
	if (SPI_execute(query, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "query expected");
	desc = SPI_tuptable->tupdesc;
	values = palloc(desc->natts * sizeof(Datum));
	nulls = palloc(desc->natts * sizeof(bool));
	for (int i = 0; i < 2; i++)
		packs[i] = braid_pack_make(CurrentMemoryContext, PG_GETARG_OID(3), desc);

	for (uint64 i = 0; i < SPI_processed; i++)
	{
		BraidPack *pack = packs[parts > 1];

		heap_deform_tuple(SPI_tuptable->vals[i], desc, values, nulls);
		braid_pack_add(pack, values, nulls);
		if (parts > 1 && --until_append < 0)
		{
			braid_pack_append(packs[0], pack);
			until_append = pg_prng_uint64_range(&random, 0, parts - 1);
		}
		if (braid_pack_rows(packs[0]) >= rows)
			put_message(result, packs[0]);
	}
	if (parts > 1)
		braid_pack_append(packs[0], packs[1]);
	if (braid_pack_rows(packs[0]) > 0)
		put_message(result, packs[0]);
	for (int i = 0; i < 2; i++)
		braid_pack_free(packs[i]);
	SPI_finish();
	return (Datum) 0;
}

static char *
aligned_message(bytea *bytes, Size *size)
{
	char *message;

	*size = VARSIZE_ANY_EXHDR(bytes);
	message = palloc(*size);
	memcpy(message, VARDATA_ANY(bytes), *size);
	return message;
}

/* All columns of desc; those that the message has not are null. */
static void
read_columns(BraidBatch *batch, TupleDesc desc, Datum **values, bool **nulls)
{
	for (int i = 0; i < desc->natts; i++)
	{
		bool any_null;

		if (!braid_batch_column(batch, i + 1, TupleDescAttr(desc, i)->atttypid, values[i], nulls[i],
								&any_null))
			memset(nulls[i], true, batch->nrows);
		else if (!any_null)
			memset(nulls[i], false, batch->nrows);
	}
}

/* braid_test_unpack(message bytea) RETURNS SETOF record: its rows. */
Datum
braid_sql_test_unpack(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Size size;
	char *message = aligned_message(PG_GETARG_BYTEA_PP(0), &size);
	BraidBatch batch;
	TupleDesc desc;
	Datum **values;
	bool **nulls;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	desc = result->setDesc;
	braid_batch_open(&batch, message, size);
	values = palloc(desc->natts * sizeof(Datum *));
	nulls = palloc(desc->natts * sizeof(bool *));
	for (int i = 0; i < desc->natts; i++)
	{
		values[i] = palloc(batch.nrows * sizeof(Datum));
		nulls[i] = palloc(batch.nrows * sizeof(bool));
	}
	read_columns(&batch, desc, values, nulls);
	for (int row = 0; row < batch.nrows; row++)
	{
		Datum row_values[MaxTupleAttributeNumber];
		bool row_nulls[MaxTupleAttributeNumber];

		for (int i = 0; i < desc->natts; i++)
		{
			row_values[i] = values[i][row];
			row_nulls[i] = nulls[i][row];
		}
		tuplestore_putvalues(result->setResult, desc, row_values, row_nulls);
	}
	return (Datum) 0;
}

/*
 * braid_test_unpack_time(message bytea, types oidvector, times int) RETURNS float8: nanoseconds of processor
 * time to open it and read the columns of these types, so many times.
 */
Datum
braid_sql_test_unpack_time(PG_FUNCTION_ARGS)
{
	Size size;
	char *message = aligned_message(PG_GETARG_BYTEA_PP(0), &size);
	oidvector *types = (oidvector *) PG_GETARG_POINTER(1);
	int times = PG_GETARG_INT32(2);
	BraidBatch batch;
	Datum *values;
	bool *nulls;
	clock_t start;

	braid_batch_open(&batch, message, size);
	values = palloc(batch.nrows * sizeof(Datum) * types->dim1);
	nulls = palloc(batch.nrows * sizeof(bool) * types->dim1);
	start = clock();
	for (int i = 0; i < times; i++)
	{
		bool any_null;

		braid_batch_open(&batch, message, size);
		for (int c = 0; c < types->dim1; c++)
			braid_batch_column(&batch, c + 1, types->values[c], values + c * batch.nrows,
							   nulls + c * batch.nrows, &any_null);
		CHECK_FOR_INTERRUPTS();
	}
	PG_RETURN_FLOAT8((double) (clock() - start) * (1e9 / CLOCKS_PER_SEC));
}

/* braid_test_seal(message bytea, xid xid) RETURNS bytea: the message with its seal. */
Datum
braid_sql_test_seal(PG_FUNCTION_ARGS)
{
	bytea *bytes = PG_GETARG_BYTEA_P_COPY(0);

	braid_seal_put(VARDATA(bytes), VARSIZE(bytes) - VARHDRSZ, PG_GETARG_TRANSACTIONID(1));
	PG_RETURN_BYTEA_P(bytes);
}

/* braid_test_seal_is_right(message bytea, xid xid) RETURNS bool */
Datum
braid_sql_test_seal_is_right(PG_FUNCTION_ARGS)
{
	bytea *bytes = PG_GETARG_BYTEA_PP(0);

	PG_RETURN_BOOL(braid_seal_is_right(VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes),
									   PG_GETARG_TRANSACTIONID(1)));
}

#endif
