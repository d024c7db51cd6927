/*
 * dictionary.h
 *	  The different values of a column, in the order in which they came.
 */
#ifndef BRAID_DICTIONARY_H
#define BRAID_DICTIONARY_H

#define DICTIONARY_MAX 256

typedef struct Dictionary Dictionary;

extern Dictionary *dictionary_make(MemoryContext context);
extern void dictionary_empty(Dictionary *dictionary);
extern int dictionary_count(Dictionary *dictionary);

/* The code of bytes whose hash this is; -1 if it has none.  Values are at their offsets from data. */
extern int dictionary_find(Dictionary *dictionary, const char *data, const char *bytes, Size size,
						   uint32 hash);

/* The next code, for bytes that have none yet; there may be DICTIONARY_MAX. */
extern void dictionary_add(Dictionary *dictionary, Size offset, Size size, uint32 hash);

extern Size dictionary_offset(Dictionary *dictionary, int code);
extern Size dictionary_size(Dictionary *dictionary, int code);

#endif /* BRAID_DICTIONARY_H */
