/*
 * memory.c
 *	  Memory, without which the program ends: whoever starts it again finds everything as it was.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "options.h"

void *
get_memory(void *old, size_t size)
{
	void *memory = realloc(old, size ? size : 1);

	if (!memory)
	{
		fputs("braid-kafka: out of memory\n", stderr);
		exit(EXIT_DECISION);
	}
	return memory;
}

char *
copy_text(const char *text)
{
	size_t size = strlen(text) + 1;

	return memcpy(get_memory(NULL, size), text, size);
}
