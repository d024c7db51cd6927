/* memory.h: memory, without which the program ends. */
#ifndef BRAID_KAFKA_MEMORY_H
#define BRAID_KAFKA_MEMORY_H

#include <stddef.h>

/* As realloc() and strdup(), but never NULL. */
extern void *get_memory(void *old, size_t size);
extern char *copy_text(const char *text);

#endif
