/*
 * settings.h
 *	  GUCs of read.
 */
#ifndef BRAID_READ_SETTINGS_H
#define BRAID_READ_SETTINGS_H

typedef enum ReadMode
{
	READ_DEFAULT,  /* of a session: what the view's option says; of a view: eventual */
	READ_EVENTUAL, /* what is there */
	READ_OWN,	   /* at least what this session has committed */
	READ_STRICT	   /* all that was committed before the statement */
} ReadMode;

extern int braid_read_mode;	   /* ReadMode */
extern int braid_read_timeout; /* ms */
extern int braid_read_max_age; /* ms; 0: any age */

/* Name of a mode, and its number: READ_DEFAULT if there is none of the name, or it is NULL. */
extern const char *braid_read_mode_name(ReadMode mode);
extern ReadMode braid_read_mode_of(const char *name);

#endif /* BRAID_READ_SETTINGS_H */
