/*
 * xact.h
 *	  The one transaction callback of the extension.
 *
 * Modules register handlers in their init functions; init.c calls those in a
 * written order, which is the order in which the handlers of a stage run.
 */
#ifndef BRAID_XACT_H
#define BRAID_XACT_H

#include "access/xact.h"
#include "nodes/nodes.h"

typedef enum BraidXactStage
{
	/*
	 * Before the callbacks of every library that registered its own before
	 * the last braid_xact_move_first(): at PRE_COMMIT the foreign
	 * transactions are still open here.
	 */
	BRAID_XACT_FIRST,

	/*
	 * After the callbacks of all libraries loaded later than braid: at
	 * PRE_COMMIT the foreign transactions have ended here.
	 */
	BRAID_XACT_LAST,

	BRAID_XACT_NSTAGES
} BraidXactStage;

typedef void (*BraidXactHandler)(XactEvent event);
typedef void (*BraidSubXactHandler)(SubXactEvent event);
typedef void (*BraidLocksReleasedHandler)(bool is_commit);

extern void braid_xact_register(BraidXactStage stage, BraidXactHandler handler);

extern void braid_xact_register_subxact(BraidSubXactHandler handler);

/*
 * Called at the end of a top-level transaction when its locks are released and
 * interrupts are still held.  Must not throw.
 */
extern void braid_xact_on_locks_released(BraidLocksReleasedHandler handler);

/*
 * Puts the FIRST stage in front of all callbacks registered so far.  Not from
 * within a transaction callback: the list that is being walked would change.
 */
extern void braid_xact_move_first(void);

/*
 * Can a transaction have begun by this command, or become one of another isolation
 * level, and have no snapshot yet?
 */
extern bool braid_xact_may_begin(Node *stmt);

extern void braid_xact_init(void);

#endif /* BRAID_XACT_H */
