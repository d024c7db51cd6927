/* broker.h: Kafka. */
#ifndef BRAID_KAFKA_BROKER_H
#define BRAID_KAFKA_BROKER_H

#include "session.h"

/* A property that the bridge itself sets. */
typedef struct Setting
{
	const char *name;
	const char *value;
	bool is_default; /* the user's -X comes after it */
} Setting;

typedef void (*DeliveryReport)(rd_kafka_t *kafka, const rd_kafka_message_t *message, void *session);

/* Ends the program with EXIT_USAGE if a property is none, or one on which it rests that nothing comes twice. */
extern void broker_check_properties(const Options *options);

/* A client, with the settings up to the one without a name; NULL if the session has ended. */
extern rd_kafka_t *
broker_connect(Session *s, rd_kafka_type_t type, const Setting *settings, DeliveryReport report);

/* A client that reads what is committed, from where it is told, and leaves no trace in Kafka. */
extern rd_kafka_t *broker_connect_reader(Session *s);

/* Ends the session because of an error of Kafka's. */
extern bool broker_fail(Session *s, const char *what, rd_kafka_resp_err_t code, const char *text);

/* The same; frees the error. */
extern bool broker_fail_error(Session *s, const char *what, rd_kafka_error_t *error);

/* How many partitions a topic has. */
extern bool broker_count_partitions(Session *s, rd_kafka_t *kafka, const char *topic, int *count);

/* The first offset of a partition, and the one after the last that is committed. */
extern bool broker_bounds(Session *s, rd_kafka_t *kafka, const char *topic, int partition,
						  int64_t *low, int64_t *high);

#endif
