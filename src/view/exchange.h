/*
 * exchange.h
 *	  One continuous view takes the place of another.
 */
#ifndef BRAID_EXCHANGE_H
#define BRAID_EXCHANGE_H

#include "view/definition.h"

/*
 * Makes the old view show what the next one shows, and gives it its parts; what
 * was in their place is dropped, and the next view with it.  Both have the same
 * owner, and the next one has the old one's columns and perhaps more.  The rows
 * in braid's own tables are the caller's.  Within SPI; takes ACCESS EXCLUSIVE on
 * the old view and its states.
 */
extern void braid_exchange(const ViewDefinition *old, const ViewDefinition *next);

/*
 * Gives states of one view to another: node number from of the view with id
 * from_id becomes node number to of to_id.  Within SPI.
 */
extern void braid_exchange_rename_state(int from_id, int from, int to_id, int to);

/* From load, in the worker: exchanges what is ready, unless it is in use. */
extern void braid_exchange_all(void);

#endif /* BRAID_EXCHANGE_H */
