/*
 * attempt.c
 *	  Doing something in a subtransaction, as the owner of a view.
 *
 * NOTES
 *	  Users' expressions run as the view's owner, restricted as in REFRESH
 *	  MATERIALIZED VIEW, and under the settings stored with the view.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "view/attempt.h"
#include "view/fault.h"

void
braid_attempt_use_settings(const KeptView *v)
{
	for (int i = 0; i + 1 < v->nsettings; i += 2)
	{
		const char *now = GetConfigOption(v->settings[i], true, false);

		if (now == NULL || strcmp(now, v->settings[i + 1]) != 0)
			(void) set_config_option(v->settings[i], v->settings[i + 1], PGC_USERSET, PGC_S_SESSION,
									 GUC_ACTION_SAVE, true, 0, false);
	}
}

void
braid_attempt_act(KeptView *v, OwnerAction action, void *arg)
{
	Oid user;
	int context;
	int level = NewGUCNestLevel();

	braid_attempt_use_settings(v);
	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(v->owner, context | SECURITY_RESTRICTED_OPERATION);
	SPI_connect();
	action(v, arg);
	SPI_finish();
	SetUserIdAndSecContext(user, context);
	AtEOXact_GUC(false, level);
}

char *
braid_attempt(void (*f)(void *arg), void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	char *volatile message = NULL;

	BeginInternalSubTransaction(NULL);
	PG_TRY();
	{
		MemoryContextSwitchTo(context);
		f(arg);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		message = braid_fault_catch(context);
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return message;
}

typedef struct OwnerAttempt
{
	KeptView *view;
	OwnerAction action;
	void *arg;
} OwnerAttempt;

static void
attempt_as_owner(void *arg)
{
	OwnerAttempt *a = arg;

	braid_attempt_act(a->view, a->action, a->arg);
}

char *
braid_attempt_as_owner(KeptView *view, OwnerAction action, void *arg)
{
	OwnerAttempt a = {view, action, arg};

	return braid_attempt(attempt_as_owner, &a);
}
