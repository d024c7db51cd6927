/*
 * settings.h
 *	  Settings of capture, and those that its worker has of PostgreSQL's.
 */
#ifndef BRAID_CAPTURE_SETTINGS_H
#define BRAID_CAPTURE_SETTINGS_H

extern int braid_capture_batch_delay;	   /* ms */
extern int braid_capture_idle_interval;	   /* ms */
extern int braid_capture_log_min_duration; /* ms; -1: never */

/* In the worker, when it starts and when the configuration was read again. */
extern void braid_settings_apply(void);

extern void braid_settings_init(void);

#endif /* BRAID_CAPTURE_SETTINGS_H */
