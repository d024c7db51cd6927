/*
 * drop.h
 *	  Commands that drop what atomic commit depends on.
 */
#ifndef BRAID_XA_DROP_H
#define BRAID_XA_DROP_H

#include "nodes/parsenodes.h"

/*
 * To be called before the command.  Each throws 55006 if something goes that an
 * unfinished transaction needs, and 2BP01 if braid would take users' servers
 * with it; otherwise it clears braid's own objects out of the way.
 */
extern void braid_xa_drop_objects(DropStmt *stmt);
extern void braid_xa_drop_owned(DropOwnedStmt *stmt);
extern void braid_xa_drop_user_mapping(DropUserMappingStmt *stmt);

/* Throws 55006 if the server has a branch that is not finished. */
extern void braid_xa_drop_refuse_in_doubt(Oid serverid, const char *action);

#endif /* BRAID_XA_DROP_H */
