/*
 * verify.h
 *	  Waiting for a view, and comparing it with its query.
 */
#ifndef BRAID_VERIFY_H
#define BRAID_VERIFY_H

/* Worker: whether a comparison is asked for; makes it, within a cycle. */
extern bool braid_verify_wanted(void);
extern void braid_verify_answer(void);

extern void braid_verify_init(void);

#endif /* BRAID_VERIFY_H */
