/*
 * work.h
 *	  Groups of mode work: queues whose consumers compete for single messages.
 */
#ifndef BRAID_WORK_H
#define BRAID_WORK_H

/* Options of such a group, a jsonb object; raises 22023. */
extern void braid_work_check_options(Datum options);

extern void braid_work_init(void);

#endif /* BRAID_WORK_H */
