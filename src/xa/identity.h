/*
 * identity.h
 *	  Who this database is as a coordinator.
 */
#ifndef BRAID_XA_IDENTITY_H
#define BRAID_XA_IDENTITY_H

typedef struct XaIdentity
{
	uint64 coordinator;
	uint32 incarnation;
} XaIdentity;

/*
 * Reads this database's identity and begins a new incarnation, durably; gives
 * a database that was copied from another an identity of its own.  For the
 * resolver, in no transaction.
 */
extern XaIdentity braid_xa_identity_begin(void);

/* The identity that the resolver has published; false if it has not yet. */
extern bool braid_xa_identity_get(XaIdentity *identity);

extern void braid_xa_identity_init(void);

#endif /* BRAID_XA_IDENTITY_H */
