/*
 * options.c
 *	  The command line, and the file that may take its place.
 *
 * NOTES
 *	  Values are never printed, as connection strings and properties have passwords in them.
 */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "options.h"

#define MAX_NAME 100

typedef struct Known
{
	const char *name;
	size_t offset;
	enum
	{
		TEXT,
		NUMBER,
		FLAG,
		FLAG_NOT_IN_FILE
	} kind;
	int minimum;
	int maximum;
} Known;

static const Known known[] = {
	{"name", offsetof(Options, name), TEXT, 0, 0},
	{"topic", offsetof(Options, topic), TEXT, 0, 0},
	{"kafka-topic", offsetof(Options, kafka_topic), TEXT, 0, 0},
	{"dsn", offsetof(Options, dsn), TEXT, 0, 0},
	{"broker", offsetof(Options, broker), TEXT, 0, 0},
	{"keys", offsetof(Options, keys), TEXT, 0, 0},
	{"start", offsetof(Options, start), TEXT, 0, 0},
	{"group", offsetof(Options, group), TEXT, 0, 0},
	{"id-header", offsetof(Options, id_header), TEXT, 0, 0},
	{"position-topic", offsetof(Options, position_topic), TEXT, 0, 0},
	{"offsets-table", offsetof(Options, offsets_table), TEXT, 0, 0},
	{"dead-letters", offsetof(Options, dead_letters), TEXT, 0, 0},
	{"origin-header", offsetof(Options, origin_header), TEXT, 0, 0},
	{"batch-rows", offsetof(Options, batch_rows), NUMBER, 1, 20000},
	{"batch-bytes", offsetof(Options, batch_bytes), NUMBER, 1, 256 * 1024 * 1024},
	{"verbose", offsetof(Options, verbose), FLAG, 0, 0},
	{"accept", offsetof(Options, accept), FLAG_NOT_IN_FILE, 0, 0},
};

#define N_KNOWN ((int) (sizeof(known) / sizeof(known[0])))

static void complain(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

static void
complain(const char *format, ...)
{
	va_list args;

	fputs("braid-kafka: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputs("\nTry \"braid-kafka --help\".\n", stderr);
	exit(EXIT_USAGE);
}

static void
print_help(void)
{
	puts(
		"braid-kafka brings messages from a topic of braid to Apache Kafka, or back, each exactly once.\n"
		"\n"
		"  braid-kafka out --name NAME --topic TOPIC --kafka-topic TOPIC --dsn DSN --broker HOST:PORT\n"
		"  braid-kafka in  --name NAME --topic TOPIC --kafka-topic TOPIC --dsn DSN --broker HOST:PORT\n"
		"\n"
		"  --config FILE         lines \"option = value\", with options as here and without dashes; \"-X\" is\n"
		"                        \"kafka.PROPERTY = value\". Passwords belong there\n"
		"  --name NAME           of the bridge, of which one process is at work at a time\n"
		"  --topic TOPIC         of braid; may be qualified by a schema\n"
		"  --kafka-topic TOPIC   of Kafka; it has to exist\n"
		"  --dsn DSN             connection string of libpq\n"
		"  --broker LIST         host:port, separated by commas\n"
		"  -X PROPERTY=VALUE     of librdkafka: security.protocol, sasl.username, ...\n"
		"  --start WHERE         beginning (the default) or end: where a new bridge begins\n"
		"  --keys text|base64    base64: keys in braid are Kafka's bytes in base64\n"
		"  --batch-rows N        messages in a transaction, at most (10000)\n"
		"  --batch-bytes N       bytes in a transaction, about (8388608)\n"
		"  --accept              go on from here although the positions of both sides do not fit\n"
		"  --verbose             say more\n"
		"out:\n"
		"  --group GROUP         consumer group of the topic (kafka NAME); made if it does not exist\n"
		"  --position-topic T    Kafka's topic for the position (braid-position.NAME); likewise\n"
		"  --id-header HEADER    each message has its id in this header\n"
		"in:\n"
		"  --offsets-table T     table for Kafka's offsets (braid_kafka_offsets in the topic's schema); likewise\n"
		"  --dead-letters TOPIC  of payloads of type bytea: gets what the topic does not take\n"
		"  --origin-header H     each message has its topic, partition, offset and time in this header\n"
		"\n"
		"Exit codes: 0 ended by SIGTERM or SIGINT; 1 somebody has to decide, see the log; 2 wrong options;\n"
		"3 another process has taken over. What is only temporary is tried again for ever.");
	exit(EXIT_STOPPED);
}

static const Known *
find_known(const char *name)
{
	for (int i = 0; i < N_KNOWN; i++)
		if (strcmp(known[i].name, name) == 0)
			return &known[i];
	return NULL;
}

static int
read_number(const Known *option, const char *value)
{
	char *end;
	long number;

	errno = 0;
	number = strtol(value, &end, 10);
	if (errno != 0 || end == value || *end || number < option->minimum || number > option->maximum)
		complain("option \"%s\" takes a number from %d to %d", option->name, option->minimum,
				 option->maximum);
	return (int) number;
}

static bool
read_flag(const Known *option, const char *value)
{
	if (!value || strcmp(value, "true") == 0)
		return true;
	if (strcmp(value, "false") != 0)
		complain("option \"%s\" is true or false", option->name);
	return false;
}

/* What was given first counts: the command line comes before the file. */
static void
set_option(Options *options, bool *given, const Known *option, const char *value)
{
	char *field = (char *) options + option->offset;

	if (given[option - known])
		return;
	given[option - known] = true;
	switch (option->kind)
	{
		case TEXT:
			if (!*value)
				complain("option \"%s\" is empty", option->name);
			*(const char **) field = copy_text(value);
			break;
		case NUMBER:
			*(int *) field = read_number(option, value);
			break;
		case FLAG:
		case FLAG_NOT_IN_FILE:
			*(bool *) field = read_flag(option, value);
			break;
	}
}

static void
add_property(Options *options, const char *name, const char *value)
{
	Property **end = &options->properties;
	Property *property;

	for (; *end; end = &(*end)->next)
		if (strcmp((*end)->name, name) == 0)
			return;
	property = get_memory(NULL, sizeof(Property));
	*property = (Property){copy_text(name), copy_text(value), NULL};
	*end = property;
}

static void
add_property_argument(Options *options, const char *argument)
{
	const char *equals = strchr(argument, '=');
	char name[MAX_NAME];

	if (!equals || equals == argument || equals - argument >= MAX_NAME)
		complain("-X takes property=value");
	memcpy(name, argument, equals - argument);
	name[equals - argument] = '\0';
	add_property(options, name, equals + 1);
}

/* Without white space at both ends; changes the text. */
static char *
trim(char *text)
{
	size_t n;

	while (isspace((unsigned char) *text))
		text++;
	for (n = strlen(text); n > 0 && isspace((unsigned char) text[n - 1]); n--)
		text[n - 1] = '\0';
	return text;
}

static void
read_line(Options *options, bool *given, const char *file, int number, char *line)
{
	char *text = trim(line);
	char *equals = strchr(text, '=');
	const Known *option;
	char *name;

	if (!*text || *text == '#')
		return;
	if (!equals)
		complain("%s, line %d: not \"option = value\"", file, number);
	*equals = '\0';
	name = trim(text);
	if (strncmp(name, "kafka.", 6) == 0)
	{
		add_property(options, name + 6, trim(equals + 1));
		return;
	}
	option = find_known(name);
	if (!option || option->kind == FLAG_NOT_IN_FILE)
		complain("%s, line %d: there is no option \"%s\" in files", file, number, name);
	set_option(options, given, option, trim(equals + 1));
}

static void
read_file(Options *options, bool *given, const char *path)
{
	FILE *file = fopen(path, "r");
	char *line = NULL;
	size_t size = 0;

	if (!file)
		complain("could not open \"%s\": %s", path, strerror(errno));
	for (int number = 1; getline(&line, &size, file) >= 0; number++)
		read_line(options, given, path, number, line);
	if (ferror(file))
		complain("could not read \"%s\": %s", path, strerror(errno));
	free(line);
	fclose(file);
}

/* Options of one direction alone mean nothing in the other one. */
static void
check_direction(const Options *o)
{
	if (o->out && (o->offsets_table || o->dead_letters || o->origin_header))
		complain("--offsets-table, --dead-letters and --origin-header are options of \"in\"");
	if (!o->out && (o->group || o->position_topic || o->id_header))
		complain("--group, --position-topic and --id-header are options of \"out\"");
}

static void
check(Options *o)
{
	if (!o->name || !o->topic || !o->kafka_topic || !o->dsn || !o->broker)
		complain("--name, --topic, --kafka-topic, --dsn and --broker are needed");
	if (strlen(o->name) > MAX_NAME)
		complain("a name has at most %d bytes", MAX_NAME);
	for (const char *c = o->name; *c; c++)
		if (!isalnum((unsigned char) *c) && !strchr("._-", *c))
			complain("a name consists of letters, digits, \".\", \"_\" and \"-\"");
	if (o->keys && strcmp(o->keys, "text") != 0 && strcmp(o->keys, "base64") != 0)
		complain("--keys is text or base64");
	if (o->start && strcmp(o->start, "beginning") != 0 && strcmp(o->start, "end") != 0)
		complain("--start is beginning or end");
	check_direction(o);
	o->base64_keys = o->keys && strcmp(o->keys, "base64") == 0;
	if (!o->start)
		o->start = "beginning";
}

/* "prefix" followed by the name. */
static const char *
name_after(const char *prefix, const char *name)
{
	size_t size = strlen(prefix) + strlen(name) + 1;
	char *text = get_memory(NULL, size);

	snprintf(text, size, "%s%s", prefix, name);
	return text;
}

static const struct option *
long_options(void)
{
	static struct option options[N_KNOWN + 3];

	for (int i = 0; i < N_KNOWN; i++)
	{
		options[i].name = known[i].name;
		options[i].has_arg =
			known[i].kind == TEXT || known[i].kind == NUMBER ? required_argument : no_argument;
	}
	options[N_KNOWN] = (struct option){"config", required_argument, NULL, 'c'};
	options[N_KNOWN + 1] = (struct option){"help", no_argument, NULL, 'h'};
	return options;
}

void
options_read(Options *options, int argc, char **argv)
{
	bool given[N_KNOWN] = {false};
	const char *file = NULL;
	int index = 0;

	*options = (Options){.batch_rows = 10000, .batch_bytes = 8 * 1024 * 1024};
	for (int c; (c = getopt_long(argc, argv, "X:h", long_options(), &index)) != -1;)
	{
		if (c == 0)
			set_option(options, given, &known[index], optarg);
		else if (c == 'X')
			add_property_argument(options, optarg);
		else if (c == 'c')
			file = optarg;
		else if (c == 'h')
			print_help();
		else
			exit(EXIT_USAGE);
	}
	if (argc != optind + 1 || (strcmp(argv[optind], "in") != 0 && strcmp(argv[optind], "out") != 0))
		complain("say \"out\" or \"in\"");
	options->out = strcmp(argv[optind], "out") == 0;
	if (file)
		read_file(options, given, file);
	check(options);
	if (options->out && !options->group)
		options->group = name_after("kafka ", options->name);
	if (options->out && !options->position_topic)
		options->position_topic = name_after("braid-position.", options->name);
}
