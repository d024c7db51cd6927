/*
 * init.c
 *	  Entry point of the library: calls each module's init function.
 *
 * The order is the order in which the modules' transaction handlers run.
 */
#include "postgres.h"

#include "capture/capture.h"
#include "common/database.h"
#include "common/failpoint.h"
#include "common/shmem.h"
#include "common/version.h"
#include "common/wait.h"
#include "common/worker.h"
#include "common/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "read/read.h"
#include "stream/stream.h"
#include "topic/topic.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "view/view.h"
#include "xa/xa.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

/* The line that postgresql.conf needs, with what it has there already. */
static const char *
preload_line(void)
{
	const char *now = GetConfigOption("shared_preload_libraries", true, false);

	if (now && now[0] != '\0')
		return psprintf("shared_preload_libraries = '%s, braid'", now);
	return "shared_preload_libraries = 'braid'";
}

void
_PG_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("braid must be loaded when the server starts"),
						errdetail("It needs shared memory and background workers."),
						errhint("Put this line into postgresql.conf and restart the server: %s",
								preload_line())));

	braid_shmem_init();
	braid_xact_init();
	braid_wait_init();
	braid_failpoint_init();
	braid_worker_init();
	braid_database_init();
	braid_version_init();
	braid_stream_init(); /* before xa: what is local must be in the WAL, or it is overlooked */
	braid_xa_init();
	braid_capture_init();
	braid_view_init();
	braid_read_init();
	braid_topic_init();
	braid_xa_init_commands();

	MarkGUCPrefixReserved("braid");
}
