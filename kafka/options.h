/* options.h: what the program was told to do. */
#ifndef BRAID_KAFKA_OPTIONS_H
#define BRAID_KAFKA_OPTIONS_H

#include <stdbool.h>

/* How the program ends. */
typedef enum ExitCode
{
	EXIT_STOPPED = 0,  /* it was asked to */
	EXIT_DECISION = 1, /* somebody has to decide; the log says on what */
	EXIT_USAGE = 2,	   /* the options make no sense */
	EXIT_FENCED = 3,   /* another bridge has taken over */
} ExitCode;

/* A property of librdkafka's. */
typedef struct Property
{
	const char *name;
	const char *value;
	struct Property *next;
} Property;

typedef struct Options
{
	bool out; /* from PostgreSQL to Kafka, or the other way */
	bool base64_keys;
	bool accept;
	bool verbose;
	int batch_rows;
	int batch_bytes;
	const char *name;
	const char *topic;
	const char *kafka_topic;
	const char *dsn;
	const char *broker;
	const char *keys;
	const char *start;
	const char *group;
	const char *id_header;
	const char *position_topic;
	const char *offsets_table;
	const char *dead_letters;
	const char *origin_header;
	Property *properties; /* in the order in which they were given */
} Options;

/* Ends the program with EXIT_USAGE if they make no sense. */
extern void options_read(Options *options, int argc, char **argv);

#endif
