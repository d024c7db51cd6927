/*
 * brake.h
 *	  Writers are slowed when continuous views fall behind.
 */
#ifndef BRAID_BRAKE_H
#define BRAID_BRAKE_H

extern void braid_brake_init(void);

#endif /* BRAID_BRAKE_H */
