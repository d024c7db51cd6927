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
	int64 epoch;  /* grows with each promotion */
	int64 line;	  /* of history: drawn at each promotion */
	bool is_copy; /* of a server that nobody has promoted: must not act */
} XaIdentity;

/*
 * Reads this database's identity and begins a new incarnation, durably; a new line
 * as well if the server was promoted.  Gives a database that was copied from
 * another of this server an identity of its own.  For the resolver, in no
 * transaction.
 */
extern XaIdentity braid_xa_identity_begin(void);

/* The identity that the resolver has published; false if it has not yet. */
extern bool braid_xa_identity_get(XaIdentity *identity);

extern void braid_xa_identity_init(void);

#endif /* BRAID_XA_IDENTITY_H */
