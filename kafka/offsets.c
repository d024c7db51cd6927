/*
 * offsets.c
 *	  How far an inward bridge has read, in a table of PostgreSQL.
 *
 * NOTES
 *	  Rows are inserted, the highest offset counts, and older ones are deleted a few hundred transactions
 *	  later, in ranges that do not overlap.  A row that is updated instead would become slow to find
 *	  while somebody holds back vacuum.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker.h"
#include "buffer.h"
#include "log.h"
#include "memory.h"
#include "offsets.h"
#include "server.h"

#define REMOVE_AFTER 500

static char *
make_sql(const char *format, const char *table)
{
	size_t size = strlen(format) + 2 * strlen(table) + 1;
	char *sql = get_memory(NULL, size);

	snprintf(sql, size, format, table, table);
	return sql;
}

/* Runs a statement on the table, which it names once or twice. */
static PGresult *
query(Session *s, const Offsets *offsets, const char *format, int n, const Parameter *parameters)
{
	char *sql = make_sql(format, offsets->table);
	PGresult *result = server_query(s, s->conn, sql, n, parameters, false, NULL);

	free(sql);
	return result;
}

static bool
run(Session *s, const Offsets *offsets, const char *format, int n, const Parameter *parameters)
{
	PGresult *result = query(s, offsets, format, n, parameters);

	PQclear(result);
	return result != NULL;
}

/*
 * The table's name as it is written in SQL, and whether it exists.  A table of somebody else
 * could have triggers, which would run with the rights of this role.
 */
static bool
find_table(Session *s, Offsets *offsets, bool *exists)
{
	Parameter names[] = {{s->options->offsets_table, SERVER_TEXT}, {s->topic_oid, SERVER_TEXT}};
	PGresult *result = server_query(
		s, s->conn,
		"WITH w AS (SELECT coalesce((parse_ident($1))[array_length(parse_ident($1), 1) - 1], (SELECT n.nspname FROM pg_namespace n WHERE n.oid = v.relnamespace)) AS schema,"
		" coalesce((parse_ident($1))[array_length(parse_ident($1), 1)], 'braid_kafka_offsets') AS name, v.relowner AS owner"
		" FROM pg_class v WHERE v.oid = $2::regclass)"
		" SELECT format('%I.%I', w.schema, w.name), c.oid IS NOT NULL,"
		" c.relkind IN ('r', 'p') AND (c.relowner = w.owner OR r.rolsuper OR r.rolname = current_user)"
		" FROM w LEFT JOIN pg_namespace n ON n.nspname = w.schema LEFT JOIN pg_class c ON c.relname = w.name AND c.relnamespace = n.oid"
		" LEFT JOIN pg_roles r ON r.oid = c.relowner",
		2, names, false, NULL);
	bool trusted;

	if (!result)
		return false;
	offsets->table = copy_text(PQgetvalue(result, 0, 0));
	*exists = strcmp(PQgetvalue(result, 0, 1), "t") == 0;
	trusted = strcmp(PQgetvalue(result, 0, 2), "t") == 0;
	PQclear(result);
	return !*exists || trusted ||
		   session_fail(
			   s, OUTCOME_DECISION,
			   "%s is not a table that belongs to this role, a superuser or the owner of the topic",
			   offsets->table);
}

static bool
make_table(Session *s, const Offsets *offsets)
{
	return run(s, offsets,
			   "CREATE TABLE %s (bridge text, kafka_topic text, partition int, next_offset bigint, moved_at timestamptz NOT NULL DEFAULT now(),"
			   " PRIMARY KEY (bridge, kafka_topic, partition, next_offset))",
			   0, NULL) &&
		   run(s, offsets,
			   "COMMENT ON TABLE %s IS 'How far bridges from Kafka have read: for each partition the highest next_offset counts. Belongs to braid-kafka.'",
			   0, NULL);
}

/* The offsets that are stored; -1 where there is none. Returns how many there are, or -1. */
static int
read_stored(Session *s, Offsets *offsets)
{
	Parameter names[] = {{s->options->name, SERVER_TEXT}, {s->options->kafka_topic, SERVER_TEXT}};
	PGresult *result = query(
		s, offsets,
		"SELECT partition, max(next_offset) FROM %s WHERE bridge = $1 AND kafka_topic = $2 GROUP BY partition",
		2, names);
	int found;

	if (!result)
		return -1;
	found = PQntuples(result);
	for (int i = 0; i < found; i++)
	{
		int partition = atoi(PQgetvalue(result, i, 0));

		if (partition >= 0 && partition < offsets->n)
			offsets->next[partition] = strtoll(PQgetvalue(result, i, 1), NULL, 10);
	}
	PQclear(result);
	return found;
}

/* Is what is to be read next still, or already, in the partition? */
static bool
check_partition(Session *s, Offsets *offsets, int partition, int64_t low, int64_t high)
{
	int64_t next = offsets->next[partition];

	if (next >= low && next <= high)
		return true;
	if (!s->accept)
		return session_fail(
			s, OUTCOME_DECISION,
			"partition %d of Kafka's topic \"%s\" is to be read from offset %" PRId64
			", and has those from %" PRId64 " to %" PRId64 "; --accept goes on with the first",
			partition, s->options->kafka_topic, next, low, high - 1);
	log_line(LOG_LEVEL_WARNING, "partition %d: goes on with offset %" PRId64 " instead of %" PRId64,
			 partition, low, next);
	offsets->next[partition] = low;
	offsets->moved[partition] = true;
	return true;
}

/*
 * A new bridge begins at one end; a partition that has come since then is read from its beginning.
 * What a new one begins with is stored before anything is read.
 */
static bool
find_starts(Session *s, rd_kafka_t *reader, Offsets *offsets, bool is_new)
{
	for (int i = 0; i < offsets->n; i++)
	{
		int64_t low;
		int64_t high;

		if (!broker_bounds(s, reader, s->options->kafka_topic, i, &low, &high))
			return false;
		if (offsets->next[i] < 0)
		{
			offsets->next[i] = is_new && strcmp(s->options->start, "end") == 0 ? high : low;
			offsets->moved[i] = true;
		}
		if (!check_partition(s, offsets, i, low, high))
			return false;
	}
	return true;
}

/* Of each partition the highest offset stays; --accept may have put one back, which then is to be the highest. */
static bool
remove_old(Session *s, const Offsets *offsets)
{
	Parameter names[] = {{s->options->name, SERVER_TEXT}, {s->options->kafka_topic, SERVER_TEXT}};

	if (s->accept)
		return run(s, offsets, "DELETE FROM %s WHERE bridge = $1 AND kafka_topic = $2", 2, names);
	return run(
		s, offsets,
		"DELETE FROM %s o USING (SELECT partition, max(next_offset) AS last FROM %s WHERE bridge = $1 AND kafka_topic = $2 GROUP BY partition) m"
		" WHERE o.bridge = $1 AND o.kafka_topic = $2 AND o.partition = m.partition AND o.next_offset < m.last",
		2, names);
}

static bool
store_starts(Session *s, Offsets *offsets)
{
	bool ok = server_run(s, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", 0, NULL) &&
			  remove_old(s, offsets);

	for (int i = 0; s->accept && i < offsets->n; i++)
		offsets->moved[i] = true;
	ok = ok && offsets_store(s, offsets) && server_run(s, "COMMIT", 0, NULL);
	if (ok)
	{
		s->accept = false;
		memcpy(offsets->kept, offsets->next, offsets->n * sizeof(int64_t));
	}
	return ok;
}

bool
offsets_open(Session *s, rd_kafka_t *reader, Offsets *offsets)
{
	bool exists;
	int found;

	offsets->n = s->kafka_partitions;
	offsets->next = get_memory(NULL, offsets->n * sizeof(int64_t));
	offsets->kept = get_memory(NULL, offsets->n * sizeof(int64_t));
	offsets->moved = get_memory(NULL, offsets->n * sizeof(bool));
	for (int i = 0; i < offsets->n; i++)
	{
		offsets->next[i] = -1;
		offsets->moved[i] = false;
	}
	if (!find_table(s, offsets, &exists) || (!exists && !make_table(s, offsets)))
		return false;
	found = read_stored(s, offsets);
	return found >= 0 && find_starts(s, reader, offsets, found == 0) && store_starts(s, offsets);
}

void
offsets_advance(Offsets *offsets, int partition, int64_t next)
{
	offsets->next[partition] = next;
	offsets->moved[partition] = true;
}

/* Removes rows between what is kept and what was just stored; the ranges of different calls do not overlap. */
static bool
remove_range(Session *s, Offsets *offsets, int n, const Parameter *parameters)
{
	if (++offsets->stored < REMOVE_AFTER)
		return true;
	offsets->stored = 0;
	if (!run(
			s, offsets,
			"DELETE FROM %s o USING unnest($3::int[], $4::bigint[], $5::bigint[]) u(partition, next_offset, kept)"
			" WHERE o.bridge = $1 AND o.kafka_topic = $2 AND o.partition = u.partition AND o.next_offset >= u.kept AND o.next_offset < u.next_offset",
			n, parameters))
		return false;
	for (int i = 0; i < offsets->n; i++)
		if (offsets->moved[i])
			offsets->kept[i] = offsets->next[i];
	return true;
}

bool
offsets_store(Session *s, Offsets *offsets)
{
	Buffer arrays[3] = {{0}, {0}, {0}};
	Parameter parameters[5] = {{s->options->name, SERVER_TEXT},
							   {s->options->kafka_topic, SERVER_TEXT}};
	int n = 0;
	bool ok;

	for (int i = 0; i < offsets->n; i++)
		n += offsets->moved[i];
	buffer_begin_array(&arrays[0], TYPE_INT4, n);
	buffer_begin_array(&arrays[1], TYPE_INT8, n);
	buffer_begin_array(&arrays[2], TYPE_INT8, n);
	for (int i = 0; i < offsets->n; i++)
		if (offsets->moved[i])
		{
			buffer_add_int32_element(&arrays[0], i);
			buffer_add_int64_element(&arrays[1], offsets->next[i]);
			buffer_add_int64_element(&arrays[2], offsets->kept[i]);
		}
	for (int i = 0; i < 3; i++)
		parameters[2 + i] = (Parameter){arrays[i].data, (int) arrays[i].length};
	ok =
		run(s, offsets,
			"INSERT INTO %s (bridge, kafka_topic, partition, next_offset) SELECT $1, $2, * FROM unnest($3::int[], $4::bigint[])",
			4, parameters) &&
		remove_range(s, offsets, 5, parameters);
	for (int i = 0; i < 3; i++)
		buffer_free(&arrays[i]);
	if (ok)
		memset(offsets->moved, 0, offsets->n * sizeof(bool));
	return ok;
}

void
offsets_free(Offsets *offsets)
{
	free(offsets->table);
	free(offsets->next);
	free(offsets->kept);
	free(offsets->moved);
}
