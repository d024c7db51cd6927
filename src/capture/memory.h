/*
 * memory.h
 *	  The memory of a capture worker: one budget, and who has what of it.
 */
#ifndef BRAID_CAPTURE_MEMORY_H
#define BRAID_CAPTURE_MEMORY_H

extern int braid_capture_memory; /* kB */

/* For transactions that are being decoded, in kB. */
extern int braid_memory_for_decoding(void);

/* For messages of transactions that have not ended, in kB. */
extern int braid_memory_for_messages(void);

/* For one sort or hash table of a statement, in kB. */
extern int braid_memory_for_operator(void);

#endif /* BRAID_CAPTURE_MEMORY_H */
