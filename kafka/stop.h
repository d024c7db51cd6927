/* stop.h: when the program is asked to end. */
#ifndef BRAID_KAFKA_STOP_H
#define BRAID_KAFKA_STOP_H

#include <stdbool.h>
#include <stdint.h>

/* SIGTERM and SIGINT end the program after the batch that it is at; a second one at once. */
extern void stop_install(void);
extern bool stop_requested(void);

/* Was that asked for so long ago that what is being waited for is to be given up? */
extern bool stop_is_overdue(void);

/* Waits until the descriptor (-1: none) can be read, for so long, or until the program is asked to end. */
extern void stop_wait(int fd, int milliseconds);

/* Milliseconds of a clock that only goes forward. */
extern int64_t stop_clock(void);

#endif
