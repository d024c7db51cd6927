/*
 * read.c
 *	  Settings of reads, and the parts of the module put into their places.
 */
#include "postgres.h"

#include <limits.h>

#include "read/read.h"
#include "read/session.h"
#include "read/settings.h"
#include "read/statement.h"
#include "read/transaction.h"
#include "utils/guc.h"

int braid_read_mode = READ_DEFAULT;
int braid_read_timeout = 10000;
int braid_read_max_age = 0;

static const struct config_enum_entry modes[] = {{"default", READ_DEFAULT, false},
												 {"eventual", READ_EVENTUAL, false},
												 {"own", READ_OWN, false},
												 {"strict", READ_STRICT, false},
												 {NULL, 0, false}};

const char *
braid_read_mode_name(ReadMode mode)
{
	return modes[mode].name;
}

ReadMode
braid_read_mode_of(const char *name)
{
	for (int i = 0; name && modes[i].name; i++)
		if (strcmp(modes[i].name, name) == 0)
			return modes[i].val;
	return READ_DEFAULT;
}

static void
assign_mode(int value, void *extra)
{
	if (value != READ_DEFAULT && value != READ_EVENTUAL)
		braid_read_watch_statements();
}

static void
assign_max_age(int value, void *extra)
{
	if (value > 0)
		braid_read_watch_statements();
}

void
braid_read_init(void)
{
	DefineCustomEnumVariable(
		"braid.read", "Sets what a statement that reads a continuous view is promised of it.",
		"eventual: what is there; own: at least what this session has committed; strict: all that "
		"was committed before the statement began; default: what option braid.read of the view "
		"says, eventual without one.",
		&braid_read_mode, READ_DEFAULT, modes, PGC_USERSET, 0, NULL, assign_mode, NULL);
	DefineCustomIntVariable("braid.read_timeout",
							"Sets how long a statement waits for continuous views that it reads.",
							"It fails after that, with the reason.", &braid_read_timeout, 10000, 1,
							INT_MAX, PGC_USERSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"braid.read_max_age",
		"Sets how far continuous views that are read may be behind their tables.",
		"A statement waits for one that may be further behind. 0 sets no limit.",
		&braid_read_max_age, 0, 0, INT_MAX, PGC_USERSET, GUC_UNIT_MS, NULL, assign_max_age, NULL);
	braid_read_session_init();
	braid_read_transaction_init();
	braid_read_statement_init();
}
