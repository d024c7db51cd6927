/*
 * buffer.c
 *	  Bytes that grow, and arrays in PostgreSQL's binary format.
 */
#include <arpa/inet.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "memory.h"

void
buffer_clear(Buffer *buffer)
{
	buffer->length = 0;
}

void
buffer_free(Buffer *buffer)
{
	free(buffer->data);
	*buffer = (Buffer){NULL, 0, 0};
}

void
buffer_add(Buffer *buffer, const void *data, size_t length)
{
	size_t needed = buffer->length + length;

	if (needed > buffer->size)
	{
		buffer->size = needed * 2;
		buffer->data = get_memory(buffer->data, buffer->size);
	}
	if (length > 0)
		memcpy(buffer->data + buffer->length, data, length);
	buffer->length = needed;
}

void
buffer_add_text(Buffer *buffer, const char *text)
{
	buffer_add(buffer, text, strlen(text));
}

void
buffer_add_int32(Buffer *buffer, int32_t value)
{
	uint32_t bytes = htonl((uint32_t) value);

	buffer_add(buffer, &bytes, sizeof(bytes));
}

void
buffer_begin_array(Buffer *buffer, uint32_t type, int n)
{
	buffer_clear(buffer);
	buffer_add_int32(buffer, n > 0); /* dimensions */
	buffer_add_int32(buffer, 1);	 /* there may be nulls */
	buffer_add_int32(buffer, (int32_t) type);
	if (n == 0)
		return;
	buffer_add_int32(buffer, n);
	buffer_add_int32(buffer, 1); /* the first subscript */
}

void
buffer_add_element(Buffer *buffer, const void *data, size_t length)
{
	buffer_add_int32(buffer, data ? (int32_t) length : -1);
	if (data)
		buffer_add(buffer, data, length);
}

void
buffer_add_int32_element(Buffer *buffer, int32_t value)
{
	uint32_t bytes = htonl((uint32_t) value);

	buffer_add_element(buffer, &bytes, sizeof(bytes));
}

void
buffer_add_int64_element(Buffer *buffer, int64_t value)
{
	uint64_t bytes = htobe64((uint64_t) value);

	buffer_add_element(buffer, &bytes, sizeof(bytes));
}
