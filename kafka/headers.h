/* headers.h: headers of Kafka's messages and the object that they are in braid. */
#ifndef BRAID_KAFKA_HEADERS_H
#define BRAID_KAFKA_HEADERS_H

#include <librdkafka/rdkafka.h>

#include "buffer.h"

/*
 * Kafka's headers are a list of names and bytes, where a name can come several times; braid's are an object.
 *
 *	  text in UTF-8 without zeros   string                  none at all   null
 *	  other bytes                   {"base64": "..."}       several       an array of these
 *
 * Any other value in braid's object is its JSON in Kafka.  The order of different names is lost.
 */

/* SQL: the headers of jsonb column r.headers, as headers_from_sql() takes them. */
extern const char headers_sql[];

/* Adds what that has returned to a list. */
extern void headers_from_sql(rd_kafka_headers_t *headers, const char *data, int length);

/* Adds the object for a message to the buffer, or nothing if it has no headers; origin (if not NULL) is one more. */
extern void headers_to_json(Buffer *buffer, const rd_kafka_message_t *message, const char *origin);

/* Adds a text as JSON has it. */
extern void headers_add_string(Buffer *buffer, const char *text, size_t length);

#endif
