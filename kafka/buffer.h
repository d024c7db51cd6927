/* buffer.h: bytes that grow, and arrays as PostgreSQL takes them. */
#ifndef BRAID_KAFKA_BUFFER_H
#define BRAID_KAFKA_BUFFER_H

#include <stddef.h>
#include <stdint.h>

typedef struct Buffer
{
	char *data;
	size_t length;
	size_t size;
} Buffer;

extern void buffer_clear(Buffer *buffer); /* keeps the memory */
extern void buffer_free(Buffer *buffer);
extern void buffer_add(Buffer *buffer, const void *data, size_t length);
extern void buffer_add_text(Buffer *buffer, const char *text);
extern void buffer_add_int32(Buffer *buffer, int32_t value);

/* A one-dimensional array of so many elements of a type, which are added afterwards. */
extern void buffer_begin_array(Buffer *buffer, uint32_t type, int n);

/* NULL is null. */
extern void buffer_add_element(Buffer *buffer, const void *data, size_t length);
extern void buffer_add_int32_element(Buffer *buffer, int32_t value);
extern void buffer_add_int64_element(Buffer *buffer, int64_t value);

/* pg_type.oid of built-in types. */
#define TYPE_BYTEA 17
#define TYPE_INT8 20
#define TYPE_INT4 23
#define TYPE_TEXT 25

#endif
