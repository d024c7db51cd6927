/*
 * alarm.h
 *	  Warns of the WAL that continuous views keep.
 */
#ifndef BRAID_ALARM_H
#define BRAID_ALARM_H

extern void braid_alarm_init(void);

#endif /* BRAID_ALARM_H */
