/*
 * headers.c
 *	  Headers of Kafka's messages and the object that they are in braid.
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "headers.h"

/* Each header is the length of its name, the name, the length of its value or -1 for none, the value. */
const char headers_sql[] =
	"CASE WHEN r.headers IS NOT NULL THEN (SELECT string_agg(int4send(octet_length(h.name)) || h.name"
	" || CASE WHEN h.value IS NULL THEN int4send(-1) ELSE int4send(octet_length(h.value)) || h.value END, ''::bytea)"
	" FROM (SELECT convert_to(o.key, 'UTF8') AS name, CASE jsonb_typeof(e.value) WHEN 'null' THEN NULL"
	" WHEN 'string' THEN convert_to(e.value #>> '{}', 'UTF8')"
	" WHEN 'object' THEN CASE WHEN e.value - 'base64' = '{}' AND e.value ->> 'base64' ~ '^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$'"
	" THEN decode(e.value ->> 'base64', 'base64') ELSE convert_to(e.value::text, 'UTF8') END"
	" ELSE convert_to(e.value::text, 'UTF8') END AS value"
	" FROM jsonb_each(r.headers) o, jsonb_array_elements(CASE jsonb_typeof(o.value) WHEN 'array' THEN o.value"
	" ELSE jsonb_build_array(o.value) END) e) h) END";

static int32_t
read_length(const char *data)
{
	uint32_t length;

	memcpy(&length, data, sizeof(length));
	return (int32_t) ntohl(length);
}

void
headers_from_sql(rd_kafka_headers_t *headers, const char *data, int length)
{
	const char *end = data + length;

	while (data < end)
	{
		int32_t name_length = read_length(data);
		const char *name = data + 4;
		int32_t value_length = read_length(name + name_length);
		const char *value = name + name_length + 4;

		rd_kafka_header_add(headers, name, name_length, value_length < 0 ? NULL : value,
							value_length < 0 ? 0 : value_length);
		data = value + (value_length < 0 ? 0 : value_length);
	}
}

/* How many bytes a character of UTF-8 takes; 0 if it is none, or the zero that jsonb does not have. */
static size_t
character_length(const unsigned char *c, size_t left)
{
	size_t n = *c < 0x80 ? 1 : *c < 0xc2 ? 0 : *c < 0xe0 ? 2 : *c < 0xf0 ? 3 : *c < 0xf5 ? 4 : 0;

	if (n == 0 || n > left || *c == 0)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((c[i] & 0xc0) != 0x80)
			return 0;
	/* Longer than needed, half of a pair, or beyond the last one. */
	if ((*c == 0xe0 && c[1] < 0xa0) || (*c == 0xed && c[1] > 0x9f) || (*c == 0xf0 && c[1] < 0x90) ||
		(*c == 0xf4 && c[1] > 0x8f))
		return 0;
	return n;
}

static bool
is_text(const char *data, size_t length)
{
	for (size_t i = 0, n; i < length; i += n)
	{
		n = character_length((const unsigned char *) data + i, length - i);
		if (n == 0)
			return false;
	}
	return true;
}

void
headers_add_string(Buffer *buffer, const char *text, size_t length)
{
	buffer_add(buffer, "\"", 1);
	for (size_t i = 0; i < length; i++)
	{
		char escaped[8];

		if (text[i] == '"' || text[i] == '\\')
			snprintf(escaped, sizeof(escaped), "\\%c", text[i]);
		else if ((unsigned char) text[i] < ' ')
			snprintf(escaped, sizeof(escaped), "\\u%04x", (unsigned char) text[i]);
		else
			snprintf(escaped, sizeof(escaped), "%c", text[i]);
		buffer_add_text(buffer, escaped);
	}
	buffer_add(buffer, "\"", 1);
}

static void
add_base64(Buffer *buffer, const unsigned char *data, size_t length)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < length; i += 3)
	{
		uint32_t bits = (uint32_t) data[i] << 16 | (i + 1 < length ? data[i + 1] << 8 : 0) |
						(i + 2 < length ? data[i + 2] : 0);
		char four[4] = {digits[bits >> 18], digits[bits >> 12 & 63],
						i + 1 < length ? digits[bits >> 6 & 63] : '=',
						i + 2 < length ? digits[bits & 63] : '='};

		buffer_add(buffer, four, 4);
	}
}

static void
add_value(Buffer *buffer, const void *value, size_t length)
{
	if (!value)
		buffer_add_text(buffer, "null");
	else if (is_text(value, length))
		headers_add_string(buffer, value, length);
	else
	{
		buffer_add_text(buffer, "{\"base64\": \"");
		add_base64(buffer, value, length);
		buffer_add_text(buffer, "\"}");
	}
}

/* All values of a name, which are an array if there are several. */
static void
add_values(Buffer *buffer, const rd_kafka_headers_t *headers, const char *name)
{
	const void *value;
	size_t length;
	bool several =
		rd_kafka_header_get(headers, 1, name, &value, &length) == RD_KAFKA_RESP_ERR_NO_ERROR;

	buffer_add_text(buffer, several ? "[" : "");
	for (size_t i = 0;
		 rd_kafka_header_get(headers, i, name, &value, &length) == RD_KAFKA_RESP_ERR_NO_ERROR; i++)
	{
		buffer_add_text(buffer, i > 0 ? ", " : "");
		add_value(buffer, value, length);
	}
	buffer_add_text(buffer, several ? "]" : "");
}

/* Is header number i the first one of its name? */
static bool
is_first(const rd_kafka_headers_t *headers, size_t i, const char *name)
{
	const char *other;
	const void *value;
	size_t length;

	for (size_t j = 0; j < i; j++)
		if (!rd_kafka_header_get_all(headers, j, &other, &value, &length) &&
			strcmp(other, name) == 0)
			return false;
	return true;
}

static void
add_origin(Buffer *buffer, const rd_kafka_message_t *message, const char *origin)
{
	const char *topic = rd_kafka_topic_name(message->rkt);
	rd_kafka_timestamp_type_t type;
	char text[160];

	headers_add_string(buffer, origin, strlen(origin));
	buffer_add_text(buffer, ": {\"topic\": ");
	headers_add_string(buffer, topic, strlen(topic));
	snprintf(text, sizeof(text),
			 ", \"partition\": %" PRId32 ", \"offset\": %" PRId64 ", \"timestamp\": %" PRId64 "}",
			 message->partition, message->offset, rd_kafka_message_timestamp(message, &type));
	buffer_add_text(buffer, text);
}

void
headers_to_json(Buffer *buffer, const rd_kafka_message_t *message, const char *origin)
{
	rd_kafka_headers_t *headers = NULL;
	const char *separator = "{";
	const char *name;
	const void *value;
	size_t length;

	if (rd_kafka_message_headers(message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR)
		headers = NULL;
	for (size_t i = 0; headers && !rd_kafka_header_get_all(headers, i, &name, &value, &length); i++)
	{
		if ((origin && strcmp(name, origin) == 0) || !is_first(headers, i, name))
			continue;
		buffer_add_text(buffer, separator);
		headers_add_string(buffer, name, strlen(name));
		buffer_add_text(buffer, ": ");
		add_values(buffer, headers, name);
		separator = ", ";
	}
	if (origin)
	{
		buffer_add_text(buffer, separator);
		add_origin(buffer, message, origin);
		separator = ", ";
	}
	if (*separator == ',')
		buffer_add_text(buffer, "}");
}
