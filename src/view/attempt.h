/*
 * attempt.h
 *	  Doing something in a subtransaction, as the owner of a view.
 */
#ifndef BRAID_ATTEMPT_H
#define BRAID_ATTEMPT_H

#include "view/keeper.h"

/*
 * Calls a function in a subtransaction.  Returns NULL, or the message of an error
 * that a view is to blame for; other errors, such as a full disk, are thrown.
 */
extern char *braid_attempt(void (*f)(void *arg), void *arg);

typedef void (*OwnerAction)(KeptView *view, void *arg);

/*
 * The same as the view's owner, restricted, under the view's settings, connected to
 * SPI: the error is one that the view's expressions or privileges have raised.
 */
extern char *braid_attempt_as_owner(KeptView *view, OwnerAction action, void *arg);

/* The same within a subtransaction of the caller, which restores all if this throws. */
extern void braid_attempt_act(KeptView *view, OwnerAction action, void *arg);

/* The view's settings, until the current level of settings ends. */
extern void braid_attempt_use_settings(const KeptView *view);

#endif /* BRAID_ATTEMPT_H */
