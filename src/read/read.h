/*
 * read.h
 *	  What a statement that reads continuous views is promised of them.
 */
#ifndef BRAID_READ_H
#define BRAID_READ_H

extern void braid_read_init(void);

#endif /* BRAID_READ_H */
