/*
 * settings.h
 *	  GUCs of capture.
 */
#ifndef BRAID_CAPTURE_SETTINGS_H
#define BRAID_CAPTURE_SETTINGS_H

extern int braid_capture_batch_delay;	   /* ms */
extern int braid_capture_work_mem;		   /* kB */
extern int braid_capture_idle_interval;	   /* ms */
extern int braid_capture_log_min_duration; /* ms; -1: never */

#endif /* BRAID_CAPTURE_SETTINGS_H */
