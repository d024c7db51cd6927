# Writes to the stream client_rows by psycopg 3: stream_client.py CONNECTION ROWS
#
# Each way writes rows with ids from 1 to ROWS, under its own name.
import sys

import psycopg

INSERT = "INSERT INTO client_rows (how, id, v, note) VALUES (%s, %s, %s, %s)"
COPY = "COPY client_rows (how, id, v, note) FROM STDIN"


def rows_of(how, rows):
    return [(how, i, i / 2, None if i % 3 == 0 else "note") for i in range(1, rows + 1)]


def write(conn, rows):
    for row in rows_of("psycopg prepared", rows):
        conn.execute(INSERT, row, prepare=True)
    conn.commit()
    with conn.cursor() as cursor:
        cursor.executemany(INSERT, rows_of("psycopg executemany", rows))
    conn.commit()
    with conn.cursor(binary=True) as cursor:
        cursor.executemany(INSERT + " RETURNING id", rows_of("psycopg returning", rows), returning=True)
        assert cursor.fetchone() == (1,)
    conn.commit()
    with conn.pipeline():
        for row in rows_of("psycopg pipeline", rows):
            conn.execute(INSERT, row)
    conn.commit()
    with conn.cursor() as cursor, cursor.copy(COPY) as copy:
        for row in rows_of("psycopg COPY", rows):
            copy.write_row(row)
    conn.commit()
    with conn.cursor() as cursor, cursor.copy(COPY + " (FORMAT binary)") as copy:
        copy.set_types(["text", "int8", "float8", "text"])
        for row in rows_of("psycopg COPY, binary", rows):
            copy.write_row(row)
    conn.commit()
    for row in rows_of("psycopg savepoints", rows):
        conn.execute(INSERT, row)
        with conn.transaction():  # a savepoint
            conn.execute(INSERT, ("given up",) + row[1:])
            raise psycopg.Rollback
    conn.commit()


with psycopg.connect(sys.argv[1]) as connection:
    write(connection, int(sys.argv[2]))
