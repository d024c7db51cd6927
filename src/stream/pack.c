/*
 * pack.c
 *	  Collects rows of a stream by column, and makes a message of them.
 */
#include "postgres.h"

#include "stream/column.h"
#include "stream/layout.h"
#include "stream/message.h"
#include "stream/pack.h"
#include "utils/memutils.h"

struct BraidPack
{
	MemoryContext context;
	Oid stream;
	int nrows;
	int nattrs; /* of the descriptor */
	int ncolumns;
	PackColumn columns[FLEXIBLE_ARRAY_MEMBER];
};

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
			column_describe(&pack->columns[pack->ncolumns++], attr, own);
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
		if (n == pack->ncolumns || !column_is(&pack->columns[n], attr))
			return false;
		n++;
	}
	return n == pack->ncolumns;
}

void
braid_pack_add(BraidPack *pack, Datum *values, bool *nulls)
{
	for (int i = 0; i < pack->ncolumns; i++)
	{
		PackColumn *column = &pack->columns[i];

		if (nulls[column->attnum - 1])
			column_add_null(column, pack->nrows);
		else
			column_add(column, values[column->attnum - 1]);
	}
	pack->nrows++;
}

static void
empty(BraidPack *pack)
{
	pack->nrows = 0;
	for (int i = 0; i < pack->ncolumns; i++)
		column_empty(&pack->columns[i]);
}

void
braid_pack_append(BraidPack *to, BraidPack *from)
{
	Assert(to->stream == from->stream && to->ncolumns == from->ncolumns);

	for (int i = 0; i < to->ncolumns; i++)
	{
		Assert(to->columns[i].attnum == from->columns[i].attnum);
		Assert(to->columns[i].type == from->columns[i].type);
		column_append(&to->columns[i], to->nrows, &from->columns[i], from->nrows);
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
		size += column_size(&pack->columns[i]);
	return size;
}

char *
braid_pack_message(BraidPack *pack, Size *size)
{
	char *message;

	Assert(pack->nrows > 0 && pack->nrows <= PACK_MAX_ROWS);

	message = message_make(pack->stream, pack->nrows, pack->columns, pack->ncolumns, size);
	empty(pack);
	return message;
}

void
braid_pack_free(BraidPack *pack)
{
	MemoryContextDelete(pack->context);
}

void
braid_pack_move(BraidPack *pack, MemoryContext context)
{
	MemoryContextSetParent(pack->context, context);
}

Size
braid_pack_memory(BraidPack *pack)
{
	return MemoryContextMemAllocated(pack->context, true);
}
