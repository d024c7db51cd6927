/*
 * init.c
 *	  Sets the transaction half up: parameters, shared memory, hooks.
 */
#include "postgres.h"

#include <limits.h>

#include "common/worker.h"
#include "utils/guc.h"
#include "xa/branch.h"
#include "xa/checkup.h"
#include "xa/coordinator.h"
#include "xa/ddl.h"
#include "xa/deadlock.h"
#include "xa/doubt.h"
#include "xa/fdw.h"
#include "xa/gate.h"
#include "xa/identity.h"
#include "xa/lock_waits.h"
#include "xa/node.h"
#include "xa/origin.h"
#include "xa/participant.h"
#include "xa/resolver.h"
#include "xa/settings.h"
#include "xa/snapshot.h"
#include "xa/snapshot_command.h"
#include "xa/snapshot_fix.h"
#include "xa/statistics.h"
#include "xa/trace.h"
#include "xa/transaction.h"
#include "xa/xa.h"

int braid_xa_ready_timeout = 5000;
bool braid_xa_commit_wait = true;
int braid_xa_finish_timeout = 10000;
int braid_xa_recovery_interval = 10000;
int braid_xa_resolver_connections = 16;
int braid_xa_max_servers = 128;
bool braid_xa_resolver = true;
bool braid_xa_deadlock_detection = true;
int braid_xa_resolver_kind = -1;

static char *protocol = NULL;

/* Commits wait for it: it is never long in coming back. */
static const BraidWorkerKind resolver = {"braid resolver", braid_xa_resolver_main, NULL, 1000};

static void
define_settings(void)
{
	DefineCustomIntVariable(
		"braid.xa_ready_timeout",
		"Sets how long a write waits for its server to be ready for two-phase commit.",
		"0 fails at once if the server is not ready now.", &braid_xa_ready_timeout, 5000, 0,
		INT_MAX, PGC_USERSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomBoolVariable(
		"braid.xa_commit_wait",
		"Sets whether COMMIT waits until a committed transaction is visible on all servers.",
		"Without, COMMIT returns when the transaction is durably committed.  The session itself "
		"sees its changes all the same: its next statement on such a server waits.",
		&braid_xa_commit_wait, true, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"braid.xa_finish_timeout",
		"Sets how long COMMIT waits until a committed transaction is visible on all servers.",
		"After that, COMMIT succeeds with a warning, and the resolver goes on.  "
		"The resolver gives up a command to a server after the same time, and starts anew.",
		&braid_xa_finish_timeout, 10000, 1, INT_MAX, PGC_USERSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"braid.xa_recovery_interval",
		"Sets the time between two looks for prepared transactions that nobody finishes.",
		"There are also such looks after each failure, whatever the interval is.  "
		"Settled decisions are removed every six intervals.",
		&braid_xa_recovery_interval, 10000, 100, INT_MAX / 10, PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL,
		NULL);
	DefineCustomIntVariable(
		"braid.xa_resolver_connections",
		"Sets how many connections a resolver opens to each server at most.",
		"With 1, committed transactions are finished one after the other on each server.",
		&braid_xa_resolver_connections, 16, 1, BRAID_XA_MAX_CONNECTIONS, PGC_SIGHUP, 0, NULL, NULL,
		NULL);
	DefineCustomIntVariable(
		"braid.xa_max_servers",
		"Sets how many foreign servers of braid all databases together may have.",
		"Writes to servers beyond this fail.", &braid_xa_max_servers, 128, 1, 10000, PGC_POSTMASTER,
		0, NULL, NULL, NULL);
	DefineCustomBoolVariable(
		"braid.xa_resolver", "Lets resolvers connect to foreign servers.",
		"When off, no server can be written to, and nothing that is in doubt is finished: "
		"for a restored server whose foreign servers' options still lead to the originals.",
		&braid_xa_resolver, true, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable(
		"braid.xa_deadlock_detection",
		"Finds deadlocks between global transactions over several servers.",
		"Servers are asked for their lock waits while a global transaction has waited for "
		"longer than \"deadlock_timeout\".  When off, such deadlocks last until somebody cancels.",
		&braid_xa_deadlock_detection, true, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable(
		"braid.xa_protocol",
		"Shows the version of the protocol between coordinators and participants.", NULL, &protocol,
		BRAID_XA_PROTOCOL, PGC_INTERNAL, GUC_NOT_IN_SAMPLE | GUC_DISALLOW_IN_FILE, NULL, NULL,
		NULL);
}

void
braid_xa_init(void)
{
	define_settings();
	braid_xa_resolver_kind = braid_worker_register_kind(&resolver);
	braid_xa_identity_init();
	braid_xa_transaction_init();
	braid_xa_doubt_init();
	braid_xa_checkup_init();
	braid_xa_node_init();
	braid_xa_stat_init();
	braid_xa_trace_init();
	braid_xa_origin_init();
	braid_xa_lock_waits_init();
	braid_xa_deadlock_init();
	braid_xa_participant_init();
	braid_xa_snapshot_fix_init();
	braid_xa_gate_init();
	braid_xa_snapshot_init();
	braid_xa_fdw_init();
	braid_xa_branch_init();
	braid_xa_coordinator_init();
	braid_xa_ddl_init();
}

void
braid_xa_init_commands(void)
{
	braid_xa_snapshot_command_init();
}
