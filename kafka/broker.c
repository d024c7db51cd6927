/*
 * broker.c
 *	  Kafka: clients, their properties, their errors.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker.h"
#include "log.h"
#include "stop.h"

#define METADATA_MS 5000

/* What the bridge sets by itself. */
static const char *const refused[] = {
	"bootstrap.servers",
	"metadata.broker.list",
	"transactional.id",
	"enable.idempotence",
	"isolation.level",
	"enable.auto.commit",
	"auto.offset.reset",
	"enable.auto.offset.store",
	"enable.partition.eof",
	"group.id",
	"group.instance.id",
	"request.required.acks",
	"acks",
	"delivery.report.only.error",
};

static void
on_log(const rd_kafka_t *kafka, int level, const char *facility, const char *text)
{
	(void) kafka;
	/* Properties of consumers are given to producers as well, and the other way round. */
	if (strcmp(facility, "CONFWARN") == 0)
		return;
	log_line(level <= 4 ? LOG_LEVEL_WARNING : LOG_LEVEL_DEBUG, "librdkafka: %s: %s", facility,
			 text);
}

static void
on_error(rd_kafka_t *kafka, int code, const char *reason, void *session)
{
	(void) kafka;
	(void) session;
	log_line(LOG_LEVEL_WARNING, "Kafka: %s: %s", rd_kafka_err2name(code), reason);
}

/* Not what librdkafka says of a value, which may be a password. */
static void
set_property(rd_kafka_conf_t *conf, const char *name, const char *value)
{
	char text[16];

	switch (rd_kafka_conf_set(conf, name, value, text, sizeof(text)))
	{
		case RD_KAFKA_CONF_OK:
			return;
		case RD_KAFKA_CONF_UNKNOWN:
			fprintf(stderr, "braid-kafka: librdkafka has no property \"%s\"\n", name);
			exit(EXIT_USAGE);
		default:
			fprintf(stderr, "braid-kafka: property \"%s\" does not take this value\n", name);
			exit(EXIT_USAGE);
	}
}

static bool
is_set_by_user(const Options *options, const char *name)
{
	for (const Property *p = options->properties; p; p = p->next)
		if (strcmp(p->name, name) == 0)
			return true;
	return false;
}

static rd_kafka_conf_t *
make_conf(const Options *options, const Setting *settings)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();

	set_property(conf, "bootstrap.servers", options->broker);
	for (const Setting *setting = settings; setting->name; setting++)
		if (!setting->is_default || !is_set_by_user(options, setting->name))
			set_property(conf, setting->name, setting->value);
	for (const Property *p = options->properties; p; p = p->next)
		set_property(conf, p->name, p->value);
	rd_kafka_conf_set_log_cb(conf, on_log);
	rd_kafka_conf_set_error_cb(conf, on_error);
	return conf;
}

void
broker_check_properties(const Options *options)
{
	static const Setting none[] = {{NULL, NULL, false}};

	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		if (is_set_by_user(options, refused[i]))
		{
			fprintf(stderr, "braid-kafka: property \"%s\" is set by the bridge itself\n",
					refused[i]);
			exit(EXIT_USAGE);
		}
	rd_kafka_conf_destroy(make_conf(options, none));
}

rd_kafka_t *
broker_connect(Session *s, rd_kafka_type_t type, const Setting *settings, DeliveryReport report)
{
	rd_kafka_conf_t *conf = make_conf(s->options, settings);
	char text[512];
	rd_kafka_t *kafka;

	rd_kafka_conf_set_opaque(conf, s);
	if (report)
		rd_kafka_conf_set_dr_msg_cb(conf, report);
	kafka = rd_kafka_new(type, conf, text, sizeof(text));
	if (!kafka)
	{
		rd_kafka_conf_destroy(conf);
		session_fail(s, OUTCOME_DECISION, "could not make a client of Kafka: %s", text);
		return NULL;
	}
	return kafka;
}

rd_kafka_t *
broker_connect_reader(Session *s)
{
	const Setting settings[] = {
		{"group.id", s->options->name, false}, /* demanded, and not used */
		{"isolation.level", "read_committed", false},
		{"enable.auto.commit", "false", false},
		{"enable.auto.offset.store", "false", false},
		{"auto.offset.reset", "error", false},
		{"enable.partition.eof", "true", false},
		{"queued.max.messages.kbytes", "16384", true},
		{NULL, NULL, false},
	};
	rd_kafka_t *kafka = broker_connect(s, RD_KAFKA_CONSUMER, settings, NULL);

	if (kafka)
		rd_kafka_poll_set_consumer(kafka);
	return kafka;
}

bool
broker_fail(Session *s, const char *what, rd_kafka_resp_err_t code, const char *text)
{
	bool fenced = code == RD_KAFKA_RESP_ERR__FENCED || code == RD_KAFKA_RESP_ERR_PRODUCER_FENCED ||
				  code == RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH;

	if (fenced)
		return session_fail(s, OUTCOME_FENCED, "%s: another process is at work for bridge \"%s\"",
							what, s->options->name);
	return session_fail(s, OUTCOME_RETRY, "%s: %s", what, text ? text : rd_kafka_err2str(code));
}

bool
broker_fail_error(Session *s, const char *what, rd_kafka_error_t *error)
{
	broker_fail(s, what, rd_kafka_error_code(error), rd_kafka_error_string(error));
	rd_kafka_error_destroy(error);
	return false;
}

/* The topic in what the broker says of it alone. */
static bool
read_metadata(Session *s, const rd_kafka_metadata_t *metadata, const char *topic, int *count)
{
	const rd_kafka_metadata_topic_t *found = &metadata->topics[0];

	if (metadata->topic_cnt != 1 || found->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
		return session_fail(s, OUTCOME_RETRY, "Kafka has no topic \"%s\"", topic);
	if (found->err)
		return broker_fail(s, topic, found->err, NULL);
	*count = found->partition_cnt;
	return true;
}

bool
broker_count_partitions(Session *s, rd_kafka_t *kafka, const char *topic, int *count)
{
	rd_kafka_topic_t *handle = rd_kafka_topic_new(kafka, topic, NULL);
	const rd_kafka_metadata_t *metadata;
	rd_kafka_resp_err_t error;
	bool ok;

	if (!handle)
		return broker_fail(s, topic, rd_kafka_last_error(), NULL);
	error = rd_kafka_metadata(kafka, 0, handle, &metadata, METADATA_MS);
	rd_kafka_topic_destroy(handle);
	if (error)
		return broker_fail(s, "could not ask Kafka for its topics", error, NULL);
	ok = read_metadata(s, metadata, topic, count);
	rd_kafka_metadata_destroy(metadata);
	return ok;
}

bool
broker_bounds(Session *s, rd_kafka_t *kafka, const char *topic, int partition, int64_t *low,
			  int64_t *high)
{
	rd_kafka_resp_err_t error =
		rd_kafka_query_watermark_offsets(kafka, topic, partition, low, high, METADATA_MS);

	return !error || broker_fail(s, "could not ask Kafka for offsets", error, NULL);
}
