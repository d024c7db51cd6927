/*
 * two_phase_client.c
 *	  Two-phase commit as one would write it by hand, with libpq and without
 *	  foreign tables: the contestant of xa_by_hand.pl.
 *
 *		two_phase_client COORDINATOR PARTICIPANT PARTICIPANT CLIENTS SECONDS
 *
 * Servers are given as connection strings.  Each client is a thread with a
 * connection to each of them.  Its transaction takes 1 from a row of acct on the
 * first participant and adds 1 to one on the second:
 *
 *		BEGIN					both participants in parallel
 *		UPDATE					both participants in parallel
 *		PREPARE TRANSACTION		both participants in parallel
 *		INSERT the decision		coordinator; a transaction of its own
 *		COMMIT PREPARED			both participants in parallel
 *
 * Statements are prepared where they can be.  An error ends the program: what a
 * crash leaves prepared would have to be finished by hand, with the decisions.
 */
#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define MAX_CLIENTS 64
#define ROWS_OF_A_CLIENT 1000

typedef struct Client
{
	pthread_t thread;
	int id;
	unsigned int seed;
	PGconn *coordinator;
	PGconn *participants[2];
	long committed;
} Client;

static atomic_bool stopping = false;

static void
die(PGconn *conn)
{
	fprintf(stderr, "two_phase_client: %s", PQerrorMessage(conn));
	exit(1);
}

static void
expect_done(PGconn *conn)
{
	PGresult *result;

	while ((result = PQgetResult(conn)) != NULL)
	{
		if (PQresultStatus(result) != PGRES_COMMAND_OK)
			die(conn);
		PQclear(result);
	}
}

static void
send_command(PGconn *conn, const char *command)
{
	if (!PQsendQuery(conn, command))
		die(conn);
}

static void
send_prepared(PGconn *conn, const char *name, const char *parameter)
{
	if (!PQsendQueryPrepared(conn, name, 1, &parameter, NULL, NULL, 0))
		die(conn);
}

static void
on_participants(Client *client, const char *command)
{
	for (int i = 0; i < 2; i++)
		send_command(client->participants[i], command);
	for (int i = 0; i < 2; i++)
		expect_done(client->participants[i]);
}

static void
update_rows(Client *client)
{
	char id[16];

	for (int i = 0; i < 2; i++)
	{
		snprintf(id, sizeof(id), "%d",
				 client->id * ROWS_OF_A_CLIENT + 1 + rand_r(&client->seed) % ROWS_OF_A_CLIENT);
		send_prepared(client->participants[i], "update", id);
	}
	for (int i = 0; i < 2; i++)
		expect_done(client->participants[i]);
}

static void
transfer(Client *client)
{
	char gid[64];
	char command[128];

	snprintf(gid, sizeof(gid), "by_hand:%d:%d:%ld", (int) getpid(), client->id, client->committed);

	/* The isolation level is that of postgres_fdw. */
	on_participants(client, "START TRANSACTION ISOLATION LEVEL REPEATABLE READ");
	update_rows(client);
	snprintf(command, sizeof(command), "PREPARE TRANSACTION '%s'", gid);
	on_participants(client, command);
	send_prepared(client->coordinator, "decide", gid);
	expect_done(client->coordinator);
	snprintf(command, sizeof(command), "COMMIT PREPARED '%s'", gid);
	on_participants(client, command);
	client->committed++;
}

static void *
run(void *arg)
{
	while (!stopping)
		transfer(arg);
	return NULL;
}

static PGconn *
connect_and_prepare(const char *conninfo, const char *name, const char *statement)
{
	PGconn *conn = PQconnectdb(conninfo);

	if (PQstatus(conn) != CONNECTION_OK || !PQsendPrepare(conn, name, statement, 0, NULL))
		die(conn);
	expect_done(conn);
	return conn;
}

static void
connect_client(Client *client, int id, char **conninfos)
{
	client->id = id;
	client->seed = (unsigned int) getpid() + (unsigned int) id;
	client->coordinator = connect_and_prepare(
		conninfos[0], "decide", "INSERT INTO decisions_by_hand (gid, decided) VALUES ($1, now())");
	client->participants[0] =
		connect_and_prepare(conninfos[1], "update", "UPDATE acct SET bal = bal - 1 WHERE id = $1");
	client->participants[1] =
		connect_and_prepare(conninfos[2], "update", "UPDATE acct SET bal = bal + 1 WHERE id = $1");
}

static double
seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

int
main(int argc, char **argv)
{
	static Client clients[MAX_CLIENTS];
	int nclients = argc == 6 ? atoi(argv[4]) : 0;
	struct timespec duration = {argc == 6 ? atoi(argv[5]) : 0, 0};
	long committed = 0;
	double start;

	if (nclients < 1 || nclients > MAX_CLIENTS || duration.tv_sec < 1)
	{
		fprintf(stderr,
				"usage: two_phase_client COORDINATOR PARTICIPANT PARTICIPANT CLIENTS SECONDS\n");
		return 2;
	}
	for (int i = 0; i < nclients; i++)
		connect_client(&clients[i], i, argv + 1);

	start = seconds_now();
	for (int i = 0; i < nclients; i++)
		if (pthread_create(&clients[i].thread, NULL, run, &clients[i]) != 0)
			return 1;
	nanosleep(&duration, NULL);
	stopping = true;
	for (int i = 0; i < nclients; i++)
	{
		pthread_join(clients[i].thread, NULL);
		committed += clients[i].committed;
	}
	printf("transactions: %ld\ntps: %.1f\n", committed,
		   (double) committed / (seconds_now() - start));
	for (int i = 0; i < nclients; i++)
	{
		PQfinish(clients[i].coordinator);
		PQfinish(clients[i].participants[0]);
		PQfinish(clients[i].participants[1]);
	}
	return 0;
}
