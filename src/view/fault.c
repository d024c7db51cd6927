/*
 * fault.c
 *	  Errors that are a view's own, and how they are told.
 */
#include "postgres.h"

#include "utils/memutils.h"
#include "view/fault.h"

static bool
is_views(int sqlerrcode)
{
	switch (ERRCODE_TO_CATEGORY(sqlerrcode))
	{
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_SYSTEM_ERROR:
			return false;
		default:
			return sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE;
	}
}

static char *
tell(const ErrorData *error)
{
	if (error->detail == NULL)
		return error->message;

	/* Where damage was found is what its context says first. */
	if (error->sqlerrcode == ERRCODE_DATA_CORRUPTED && error->context)
		return psprintf("%s (%s In: %.*s)", error->message, error->detail,
						(int) strcspn(error->context, "\n"), error->context);
	return psprintf("%s (%s)", error->message, error->detail);
}

char *
braid_fault_catch(MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	ErrorData *error = CopyErrorData();
	char *text;

	if (!is_views(error->sqlerrcode))
		ReThrowError(error);
	FlushErrorState();
	text = tell(error);
	MemoryContextSwitchTo(old);
	return text;
}
