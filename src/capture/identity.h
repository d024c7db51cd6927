/*
 * identity.h
 *	  Replica identities of the captured tables.
 */
#ifndef BRAID_IDENTITY_H
#define BRAID_IDENTITY_H

/*
 * Worker, before the snapshot that the definitions are read under: whether no
 * claim is on its way.  Then holds off new ones until the transaction ends.
 */
extern bool braid_identity_lock_claims(void);

/*
 * Worker, later in that transaction: gives the tables that are no longer
 * captured their earlier identity.  False if some could not be locked.
 */
extern bool braid_identity_restore(void);

/*
 * Worker: sets the identity of tables that have lost it, or are partitions that
 * came since the claim, and forgets the frontier of what they belong to.
 */
extern void braid_identity_claim_members(void);

#endif /* BRAID_IDENTITY_H */
