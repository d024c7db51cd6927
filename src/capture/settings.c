/*
 * settings.c
 *	  Settings of capture, and those that its worker has of PostgreSQL's.
 */
#include "postgres.h"

#include "capture/capture.h"
#include "capture/large.h"
#include "capture/memory.h"
#include "capture/settings.h"
#include "utils/guc.h"

int braid_capture_batch_delay = 10;
int braid_capture_idle_interval = 1000;

void
braid_capture_use_settings(void)
{
	SetConfigOption("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("jit", "off", PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("statement_timeout", "0", PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("lock_timeout", "0", PGC_USERSET, PGC_S_SESSION);

	/*
	 * A DROP locks a table before what depends on it, loading a view's query
	 * goes the other way.  Who looks for a deadlock first is its victim: that
	 * must be us, who begin anew, and not the user's command.
	 */
	SetConfigOption("deadlock_timeout", "10ms", PGC_SUSET, PGC_S_SESSION);
	SetConfigOption("row_security", "on", PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("default_transaction_read_only", "off", PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("default_transaction_isolation", "read committed", PGC_USERSET, PGC_S_SESSION);

	/* The same order of rows whenever a table is read, for sums of floats. */
	SetConfigOption("synchronize_seqscans", "off", PGC_USERSET, PGC_S_SESSION);
}

static void
set_kb(const char *name, int kb)
{
	char value[32];

	snprintf(value, sizeof(value), "%d", kb);
	SetConfigOption(name, value, PGC_USERSET, PGC_S_SESSION);
}

void
braid_settings_apply(void)
{
	braid_capture_use_settings();

	/* See memory.c. */
	set_kb("logical_decoding_work_mem", braid_memory_for_decoding());
	set_kb("work_mem", braid_memory_for_operator());
	set_kb("maintenance_work_mem", Max(braid_memory_for_operator(), 1024));
	SetConfigOption("hash_mem_multiplier", "2", PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("max_parallel_workers_per_gather", "0", PGC_USERSET, PGC_S_SESSION);

	/* Recent minor releases load only the output plugins that are named. */
	if (GetConfigOption("output_plugin_libraries", true, false) != NULL)
		SetConfigOption("output_plugin_libraries", "braid", PGC_SUSET, PGC_S_SESSION);
}

void
braid_settings_init(void)
{
	DefineCustomIntVariable(
		"braid.capture_batch_delay",
		"Sets how long commits gather before continuous views take them in.",
		"0 takes them in at once, which costs writers more; the higher, the longer views lag. "
		"While it takes much of the time it is up to four times as long. "
		"Whoever waits for a view is served at once.",
		&braid_capture_batch_delay, 10, 0, 10000, PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"braid.capture_memory",
		"Sets the memory for changes on their way into continuous views, in each capture worker.",
		"What does not fit goes to disk, and takes longer.", &braid_capture_memory, 524288, 16384,
		MAX_KILOBYTES, PGC_SIGHUP, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"braid.capture_idle_interval",
		"Sets how often a capture worker looks for changes when nobody wakes it.",
		"Commits wake it at once; this is for what else writes WAL.", &braid_capture_idle_interval,
		1000, 10, 60000, PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomBoolVariable(
		"braid.capture_in_progress",
		"Takes rows of transactions in progress, if they are larger than memory or copied in.",
		"Off, the former go through files, and all are decoded when they have committed. Capture "
		"workers look at it when they start.",
		&braid_capture_in_progress, true, PGC_SIGHUP, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
}
