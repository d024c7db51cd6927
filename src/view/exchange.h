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
 * in braid's own tables are the caller's, and so is ACCESS EXCLUSIVE on the old
 * view.  Within SPI.
 */
extern void braid_exchange(const ViewDefinition *old, const ViewDefinition *next);

/*
 * Gives states of one view to another: node number from of the view with id
 * from_id becomes node number to of to_id.  Within SPI.
 */
extern void braid_exchange_rename_state(int from_id, int from, int to_id, int to);

/* From load, in the worker: exchanges what is ready, unless it is in use. */
extern void braid_exchange_all(void);

/*
 * From load: does something to a view in a subtransaction, without waiting for
 * locks.  False if that was not possible; error is set if it never will be.
 */
extern bool
braid_exchange_try(const ViewDefinition *def, void (*f)(const ViewDefinition *def), char **error);

/*
 * From load: whether something is being made to take the place of the view.  If
 * that has failed, it is dropped, and error set.
 */
extern bool braid_exchange_find_next(const ViewDefinition *def, char **error);

/* Drops what was to take the place of the view, if there is something. */
extern void braid_exchange_drop_next(const ViewDefinition *def);

#endif /* BRAID_EXCHANGE_H */
