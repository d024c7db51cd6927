/*
 * verify.h
 *	  Is a participant what it has to be, and may this coordinator act on it?
 */
#ifndef BRAID_XA_VERIFY_H
#define BRAID_XA_VERIFY_H

#include "libpq-fe.h"
#include "xa/identity.h"

/* The first question to a participant. */
extern const char *braid_xa_verify_query(void);

/*
 * Why the participant cannot take part, from the answer (one row); NULL if it
 * can.  *hint: what to do about it.  In no transaction; both are in the current
 * memory context.
 */
extern const char *braid_xa_verify_fault(Oid serverid, PGresult *r, const char **hint);

/* The second question, by which this coordinator claims the participant. */
extern char *braid_xa_verify_claim(Oid serverid, const XaIdentity *identity);

/* Why this coordinator may not act on it, from the answer; and its version of braid. */
extern const char *braid_xa_verify_claim_fault(PGresult *r, const char **hint);
extern const char *braid_xa_verify_version(PGresult *r);

#endif /* BRAID_XA_VERIFY_H */
