/*
 * relay_status.h
 *	  What the worker says of its relays, for everybody to see.
 */
#ifndef BRAID_RELAY_STATUS_H
#define BRAID_RELAY_STATUS_H

#include "datatype/timestamp.h"

typedef enum RelayStatusState
{
	RELAY_CONNECTING, /* to its source, or going to */
	RELAY_STREAMING,
	RELAY_HELD, /* the target is larger than it may be */
	RELAY_FAILING,
	RELAY_PAUSED,
	RELAY_STOPPED
} RelayStatusState;

/*
 * Nothing is shown of relays for which there is no room.  reason, advice: why it is so, and what is to be
 * done; NULL where there is nothing to say.
 */
extern void
braid_relay_status_set(int relay, RelayStatusState state, const char *reason, const char *advice);

/* The source has answered: about so many messages are to come, the first one sent then. */
extern void braid_relay_status_contact(int relay, int64 behind, TimestampTz oldest);

extern void braid_relay_status_forget(int relay);
extern void braid_relay_status_forget_all(void); /* of this database */

extern void braid_relay_status_init(void);

#endif /* BRAID_RELAY_STATUS_H */
