/*
 * kafka_client.c
 *	  Reads and writes topics of Kafka, for tests.
 *
 *		kafka_client BROKER make TOPIC PARTITIONS
 *		kafka_client BROKER grow TOPIC PARTITIONS
 *		kafka_client BROKER dump TOPIC         what is committed, up to the end
 *		kafka_client BROKER write              commands from standard input, an answer after each
 *
 *	  dump prints lines "partition offset milliseconds key value name=value ...", parted by tabs.  Commands are
 *
 *		begin | commit | abort
 *		send TOPIC PARTITION KEY VALUE name=value ...      also parted by tabs
 *
 *	  A partition of -1 is the partitioner's to choose.  In keys and values %41 is a byte, and "~" is null.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <librdkafka/rdkafka.h>

#define TIMEOUT_MS 20000

static void
give_up(const char *what, const char *why)
{
	fprintf(stderr, "kafka_client: %s: %s\n", what, why);
	exit(1);
}

/* Errors of connections are tried again by the library; the rest is said by who has called. */
static void
ignore_log(const rd_kafka_t *kafka, int level, const char *facility, const char *text)
{
	(void) kafka, (void) level, (void) facility, (void) text;
}

static void
set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
	char why[256];

	if (rd_kafka_conf_set(conf, name, value, why, sizeof(why)) != RD_KAFKA_CONF_OK)
		give_up(name, why);
}

static rd_kafka_t *
connect_client(rd_kafka_type_t type, const char *broker)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char id[64];
	char why[256];
	rd_kafka_t *kafka;

	set(conf, "bootstrap.servers", broker);
	rd_kafka_conf_set_log_cb(conf, ignore_log);
	if (type == RD_KAFKA_PRODUCER)
	{
		snprintf(id, sizeof(id), "test %d", (int) getpid());
		set(conf, "transactional.id", id);
		set(conf, "partitioner", "murmur2_random");
	}
	else
	{
		set(conf, "group.id", "test");
		set(conf, "enable.auto.commit", "false");
		set(conf, "enable.partition.eof", "true");
		set(conf, "isolation.level", "read_committed");
	}
	kafka = rd_kafka_new(type, conf, why, sizeof(why));
	if (!kafka)
		give_up("could not make a client", why);
	return kafka;
}

static void
check(const char *what, rd_kafka_error_t *error)
{
	if (error)
		give_up(what, rd_kafka_error_string(error));
}

/* ---- make, grow */

/* What the broker says of a request about one topic. */
static void
wait_for_answer(rd_kafka_queue_t *queue, const char *name)
{
	rd_kafka_event_t *event = rd_kafka_queue_poll(queue, TIMEOUT_MS);
	const rd_kafka_topic_result_t **topics;
	size_t n;

	if (!event || rd_kafka_event_error(event))
		give_up(name, event ? rd_kafka_event_error_string(event) : "no answer");
	topics =
		rd_kafka_event_type(event) == RD_KAFKA_EVENT_CREATETOPICS_RESULT
			? rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &n)
			: rd_kafka_CreatePartitions_result_topics(rd_kafka_event_CreatePartitions_result(event),
													  &n);
	if (rd_kafka_topic_result_error(topics[0]))
		give_up(name, rd_kafka_topic_result_error_string(topics[0]));
	rd_kafka_event_destroy(event);
}

static void
make_topic(const char *broker, const char *name, int partitions, bool exists)
{
	rd_kafka_t *kafka = connect_client(RD_KAFKA_CONSUMER, broker);
	rd_kafka_queue_t *queue = rd_kafka_queue_new(kafka);
	char why[256];

	if (exists)
	{
		rd_kafka_NewPartitions_t *more =
			rd_kafka_NewPartitions_new(name, partitions, why, sizeof(why));

		rd_kafka_CreatePartitions(kafka, &more, 1, NULL, queue);
		rd_kafka_NewPartitions_destroy(more);
	}
	else
	{
		rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(name, partitions, 1, why, sizeof(why));

		rd_kafka_CreateTopics(kafka, &topic, 1, NULL, queue);
		rd_kafka_NewTopic_destroy(topic);
	}
	wait_for_answer(queue, name);
	rd_kafka_queue_destroy(queue);
	rd_kafka_destroy(kafka);
}

/* ---- dump */

static void
print_bytes(const char *data, size_t length)
{
	if (!data)
		putchar('~');
	for (size_t i = 0; data && i < length; i++)
		printf(isgraph((unsigned char) data[i]) && !strchr("%~=", data[i]) ? "%c" : "%%%02X",
			   (unsigned char) data[i]);
}

static void
print_message(const rd_kafka_message_t *message)
{
	rd_kafka_headers_t *headers;
	rd_kafka_timestamp_type_t type;
	const char *name;
	const void *value;
	size_t length;

	printf("%" PRId32 "\t%" PRId64 "\t%" PRId64 "\t", message->partition, message->offset,
		   rd_kafka_message_timestamp(message, &type));
	print_bytes(message->key, message->key_len);
	putchar('\t');
	print_bytes(message->payload, message->len);
	if (!rd_kafka_message_headers(message, &headers))
		for (size_t i = 0; !rd_kafka_header_get_all(headers, i, &name, &value, &length); i++)
		{
			printf("\t%s=", name);
			print_bytes(value, length);
		}
	putchar('\n');
}

static int
count_partitions(rd_kafka_t *kafka, const char *name)
{
	rd_kafka_topic_t *topic = rd_kafka_topic_new(kafka, name, NULL);
	const rd_kafka_metadata_t *metadata;
	int n;

	if (rd_kafka_metadata(kafka, 0, topic, &metadata, TIMEOUT_MS) ||
		metadata->topics[0].partition_cnt == 0)
		give_up(name, "is not there");
	n = metadata->topics[0].partition_cnt;
	rd_kafka_metadata_destroy(metadata);
	rd_kafka_topic_destroy(topic);
	return n;
}

static void
dump(const char *broker, const char *name)
{
	rd_kafka_t *kafka = connect_client(RD_KAFKA_CONSUMER, broker);
	int left = count_partitions(kafka, name);
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(left);

	rd_kafka_poll_set_consumer(kafka);
	for (int i = 0; i < left; i++)
		rd_kafka_topic_partition_list_add(list, name, i)->offset = RD_KAFKA_OFFSET_BEGINNING;
	rd_kafka_assign(kafka, list);
	while (left > 0)
	{
		rd_kafka_message_t *message = rd_kafka_consumer_poll(kafka, TIMEOUT_MS);

		if (!message)
			give_up(name, "no answer");
		if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
			left--;
		else if (message->err)
			give_up(name, rd_kafka_message_errstr(message));
		else
			print_message(message);
		rd_kafka_message_destroy(message);
	}
	rd_kafka_topic_partition_list_destroy(list);
	rd_kafka_destroy(kafka);
}

/* ---- write */

/* Decodes in place; returns NULL for null. */
static char *
read_bytes(char *text, size_t *length)
{
	char *to = text;

	*length = 0;
	if (strcmp(text, "~") == 0)
		return NULL;
	for (char *from = text; *from; to++)
	{
		unsigned int byte = (unsigned char) *from;

		if (byte == '%' && sscanf(from + 1, "%2x", &byte) == 1)
			from += 3;
		else
			from++;
		*to = (char) byte;
	}
	*length = to - text;
	return text;
}

static void
send_message(rd_kafka_t *kafka, char **save)
{
	const char *topic = strtok_r(NULL, "\t", save);
	int partition = atoi(strtok_r(NULL, "\t", save));
	size_t key_length;
	char *key = read_bytes(strtok_r(NULL, "\t", save), &key_length);
	size_t value_length;
	char *value_text = strtok_r(NULL, "\t", save);
	char *value =
		read_bytes(strcmp(value_text, "%") == 0 ? value_text + 1 : value_text, &value_length);
	rd_kafka_headers_t *headers = rd_kafka_headers_new(4);

	for (char *header; (header = strtok_r(NULL, "\t", save)) != NULL;)
	{
		char *equals = strchr(header, '=');
		size_t length;
		char *bytes = read_bytes(equals + 1, &length);

		rd_kafka_header_add(headers, header, equals - header, bytes, length);
	}
	if (rd_kafka_producev(kafka, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(partition),
						  RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(key, key_length),
						  RD_KAFKA_V_VALUE(value, value_length), RD_KAFKA_V_HEADERS(headers),
						  RD_KAFKA_V_END))
		give_up("send", rd_kafka_err2str(rd_kafka_last_error()));
}

static void
run_command(rd_kafka_t *kafka, char *line)
{
	char *save;
	const char *command;

	line[strcspn(line, "\n")] = '\0';
	command = strtok_r(line, "\t", &save);
	if (!command)
		give_up("command", "is empty");
	if (strcmp(command, "begin") == 0)
		check(command, rd_kafka_begin_transaction(kafka));
	else if (strcmp(command, "commit") == 0)
		check(command, rd_kafka_commit_transaction(kafka, TIMEOUT_MS));
	else if (strcmp(command, "abort") == 0)
	{
		/* Readers are to meet what was aborted. */
		rd_kafka_flush(kafka, TIMEOUT_MS);
		check(command, rd_kafka_abort_transaction(kafka, TIMEOUT_MS));
	}
	else if (strcmp(command, "send") == 0)
		send_message(kafka, &save);
	else
		give_up(command, "is no command");
	puts("ok");
	fflush(stdout);
}

static void
write_commands(const char *broker)
{
	rd_kafka_t *kafka = connect_client(RD_KAFKA_PRODUCER, broker);
	char *line = NULL;
	size_t size = 0;

	check("begin to write", rd_kafka_init_transactions(kafka, TIMEOUT_MS));
	while (getline(&line, &size, stdin) > 0)
		run_command(kafka, line);
	free(line);
	rd_kafka_destroy(kafka);
}

int
main(int argc, char **argv)
{
	if (argc == 5 && (strcmp(argv[2], "make") == 0 || strcmp(argv[2], "grow") == 0))
		make_topic(argv[1], argv[3], atoi(argv[4]), strcmp(argv[2], "grow") == 0);
	else if (argc == 4 && strcmp(argv[2], "dump") == 0)
		dump(argv[1], argv[3]);
	else if (argc == 3 && strcmp(argv[2], "write") == 0)
		write_commands(argv[1]);
	else
		give_up("arguments", "see the file's header");
	return 0;
}
