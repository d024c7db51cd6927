/*
 * rotate.h
 *	  Opening and emptying segments.
 */
#ifndef BRAID_ROTATE_H
#define BRAID_ROTATE_H

/* Has the worker run in this database once the transaction has committed. */
extern void braid_rotate_request(void);

/* Has it look now, if it runs. */
extern void braid_rotate_wake(void);

/*
 * Keeps others from rotating, altering or dropping the topic until the transaction
 * ends; false if somebody does and is not to be waited for.
 */
extern bool braid_rotate_lock(int topic, bool wait);

extern void braid_rotate_init(void);

#endif /* BRAID_ROTATE_H */
