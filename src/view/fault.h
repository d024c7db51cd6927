/*
 * fault.h
 *	  Errors that are a view's own.
 */
#ifndef BRAID_FAULT_H
#define BRAID_FAULT_H

/*
 * In PG_CATCH: what is wrong, as text in the given memory context.  Throws the error
 * again if no view is to blame for it, but the system or a shutdown.
 */
extern char *braid_fault_catch(MemoryContext context);

#endif /* BRAID_FAULT_H */
