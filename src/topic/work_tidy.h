/*
 * work_tidy.h
 *	  Moves the positions of groups of mode work, and empties tables.
 */
#ifndef BRAID_WORK_TIDY_H
#define BRAID_WORK_TIDY_H

extern void braid_work_tidy_init(void);

#endif /* BRAID_WORK_TIDY_H */
