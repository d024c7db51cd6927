/*
 * stream_client.c
 *	  Writes to the stream client_rows by libpq, in every way that libpq has.
 *
 *		stream_client CONNECTION ROWS
 *
 * Each way writes rows with ids from 1 to ROWS, under its own name.
 */
#include <arpa/inet.h>
#include <endian.h>
#include <libpq-fe.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static PGconn *conn;

static void
fail(const char *what)
{
	fprintf(stderr, "%s: %s", what, PQerrorMessage(conn));
	exit(1);
}

static void
expect(PGresult *result, ExecStatusType status, const char *what)
{
	if (PQresultStatus(result) != status)
		fail(what);
	PQclear(result);
}

static void
simple(const char *sql)
{
	expect(PQexec(conn, sql), PGRES_COMMAND_OK, sql);
}

#define INSERT "INSERT INTO client_rows (how, id, v, note) VALUES ($1, $2, $3, $4)"

typedef struct Row
{
	const char *values[4];
	int lengths[4];
	int formats[4];
	char id[32];
	char v[32];
} Row;

static void
text_row(Row *row, const char *how, long id)
{
	memset(row, 0, sizeof(*row));
	snprintf(row->id, sizeof(row->id), "%ld", id);
	snprintf(row->v, sizeof(row->v), "%g", id / 2.0);
	row->values[0] = how;
	row->values[1] = row->id;
	row->values[2] = row->v;
	row->values[3] = id % 3 == 0 ? NULL : "note";
}

static void
binary_row(Row *row, const char *how, long id)
{
	uint64_t be_id = htobe64((uint64_t) id);
	uint64_t be_v;
	double v = id / 2.0;

	text_row(row, how, id);
	memcpy(&be_v, &v, 8);
	be_v = htobe64(be_v);
	memcpy(row->id, &be_id, 8);
	memcpy(row->v, &be_v, 8);
	for (int i = 0; i < 4; i++)
	{
		row->formats[i] = 1;
		row->lengths[i] = i == 1 || i == 2 ? 8 : row->values[i] ? (int) strlen(row->values[i]) : 0;
	}
}

static void
write_params(long rows)
{
	Row row;

	for (long id = 1; id <= rows; id++)
	{
		text_row(&row, "libpq params", id);
		expect(PQexecParams(conn, INSERT, 4, NULL, row.values, row.lengths, row.formats, 0),
			   PGRES_COMMAND_OK, "PQexecParams");
	}
}

static void
prepare(void)
{
	static const Oid types[4] = {25, 20, 701, 25};

	expect(PQprepare(conn, "put", INSERT, 4, types), PGRES_COMMAND_OK, "PQprepare");
}

static void
write_prepared(long rows)
{
	Row row;

	simple("BEGIN");
	for (long id = 1; id <= rows; id++)
	{
		binary_row(&row, "libpq prepared, binary", id);
		expect(PQexecPrepared(conn, "put", 4, row.values, row.lengths, row.formats, 0),
			   PGRES_COMMAND_OK, "PQexecPrepared");
	}
	simple("COMMIT");
}

static void
write_pipeline(long rows)
{
	PGresult *result;
	Row row;

	if (!PQenterPipelineMode(conn))
		fail("PQenterPipelineMode");
	for (long id = 1; id <= rows; id++)
	{
		binary_row(&row, "libpq pipeline", id);
		if (!PQsendQueryPrepared(conn, "put", 4, row.values, row.lengths, row.formats, 0))
			fail("PQsendQueryPrepared");
	}
	if (!PQpipelineSync(conn))
		fail("PQpipelineSync");
	for (long id = 1; id <= rows; id++)
	{
		expect(PQgetResult(conn), PGRES_COMMAND_OK, "pipeline");
		if (PQgetResult(conn) != NULL)
			fail("two results for a command");
	}
	result = PQgetResult(conn);
	expect(result, PGRES_PIPELINE_SYNC, "sync");
	if (!PQexitPipelineMode(conn))
		fail("PQexitPipelineMode");
}

static void
put_bytes(const void *bytes, int size)
{
	if (PQputCopyData(conn, bytes, size) != 1)
		fail("PQputCopyData");
}

static void
put_field(const char *value, int size)
{
	uint32_t length = htonl(value ? (uint32_t) size : UINT32_MAX);

	put_bytes(&length, 4);
	if (value)
		put_bytes(value, size);
}

static void
write_binary_copy(long rows)
{
	static const char header[19] = "PGCOPY\n\377\r\n";
	uint16_t nfields = htons(4);
	uint16_t trailer = UINT16_MAX;
	Row row;

	expect(PQexec(conn, "COPY client_rows (how, id, v, note) FROM STDIN (FORMAT binary)"),
		   PGRES_COPY_IN, "COPY");
	put_bytes(header, sizeof(header));
	for (long id = 1; id <= rows; id++)
	{
		binary_row(&row, "libpq COPY, binary", id);
		put_bytes(&nfields, 2);
		for (int i = 0; i < 4; i++)
			put_field(row.values[i], row.lengths[i]);
	}
	put_bytes(&trailer, 2);
	if (PQputCopyEnd(conn, NULL) != 1)
		fail("PQputCopyEnd");
	expect(PQgetResult(conn), PGRES_COMMAND_OK, "end of COPY");
	if (PQgetResult(conn) != NULL)
		fail("two results for COPY");
}

/* What is given up by the client is not there. */
static void
write_given_up_copy(long rows)
{
	PGresult *result;

	expect(PQexec(conn, "COPY client_rows (how, id) FROM STDIN"), PGRES_COPY_IN, "COPY");
	for (long id = 1; id <= rows; id++)
	{
		char line[64];

		put_bytes(line, snprintf(line, sizeof(line), "given up\t%ld\n", id));
	}
	if (PQputCopyEnd(conn, "no more") != 1)
		fail("PQputCopyEnd");
	result = PQgetResult(conn);
	expect(result, PGRES_FATAL_ERROR, "end of COPY");
	while ((result = PQgetResult(conn)) != NULL)
		PQclear(result);
}

int
main(int argc, char **argv)
{
	long rows = argc == 3 ? atol(argv[2]) : 0;

	if (rows <= 0)
	{
		fprintf(stderr, "usage: stream_client CONNECTION ROWS\n");
		return 2;
	}
	conn = PQconnectdb(argv[1]);
	if (PQstatus(conn) != CONNECTION_OK)
		fail("connecting");
	write_params(rows);
	prepare();
	write_prepared(rows);
	write_pipeline(rows);
	write_binary_copy(rows);
	write_given_up_copy(rows);
	PQfinish(conn);
	return 0;
}
