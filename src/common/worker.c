/*
 * worker.c
 *	  The launcher and the background workers per database.
 *
 * NOTES
 *	  The launcher, a static background worker without a database, reads
 *	  pg_database and keeps a worker of each kind in each database that may be
 *	  connected to.  Whether a database needs one only the worker itself can
 *	  tell, so each is tried once; one that returns from its main function is
 *	  not tried again until somebody requests it.
 *
 *	  Workers are registered as "never restart" and restarted by the launcher,
 *	  because the postmaster's fixed restart interval is too long for one death
 *	  and too short for a hundred.  The launcher itself is restarted by the
 *	  postmaster.  It may then meet workers of its predecessor: they own their
 *	  slot in shared memory, and a second worker for the same slot ends at once.
 *
 *	  States of a slot, all changes under WorkerTable.lock:
 *
 *	                 request, first sight of a database
 *	          FREE ------------------------------------> WANTED
 *	           ^                                        |      ^
 *	           |                     launcher registers |      | launcher, after
 *	           |                                        v      | the delay
 *	           |                                    STARTING -> DIED
 *	           |  main function returned,               |      ^
 *	           |  or database has gone                  v      | any other exit
 *	           +------------------------------------ RUNNING --+
 *
 *	  A main function that returns after another request leads back to WANTED.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "commands/extension.h"
#include "common/shmem.h"
#include "common/version.h"
#include "common/wait.h"
#include "common/worker.h"
#include "common/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define MAX_KINDS 8
#define MAX_WATCHES 4
#define LAUNCHER_NAP_MS 3000 /* how long a new database may stay unnoticed */
#define MIN_RESTART_MS 100
#define MAX_RESTART_MS 30000
#define STABLE_MS 60000	  /* a life this long resets the delay */
#define KEEP_AWAY_MS 5000 /* see braid_worker_stop_database() */
#define PROBLEM_LENGTH 256

typedef enum SlotState
{
	SLOT_FREE,
	SLOT_WANTED,
	SLOT_STARTING,
	SLOT_RUNNING,
	SLOT_DIED
} SlotState;

typedef struct WorkerSlot
{
	SlotState state;
	Oid dbid;
	int kind;
	int pid;				/* while RUNNING */
	Latch *latch;			/* while RUNNING */
	int delay_ms;			/* next restart delay */
	TimestampTz not_before; /* no start earlier than this */
	TimestampTz started;
	bool again;					  /* requested while RUNNING: try once more */
	char problem[PROBLEM_LENGTH]; /* why it has died, or could not be started */
} WorkerSlot;

typedef struct WorkerTable
{
	LWLock lock; /* guards all that follows */
	Latch *launcher;
	bool rescan; /* a request found no free slot */
	int nslots;
	WorkerSlot slots[FLEXIBLE_ARRAY_MEMBER];
} WorkerTable;

/* A database and kind whose worker said that it is not needed. */
typedef struct Unneeded
{
	Oid dbid;
	int kind;
} Unneeded;

static WorkerTable *workers = NULL;
static int max_workers = 16;

static const BraidWorkerKind *kinds[MAX_KINDS];
static int nkinds = 0;

static void (*watches[MAX_WATCHES])(void);
static int nwatches = 0;

/* Backend: kinds requested by the current transaction, as a bit mask. */
static uint32 requested_kinds = 0;

/* Worker: our slot, and whether a relation cache was invalidated. */
static WorkerSlot *my_slot = NULL;
static bool my_main_returned = false;
static bool relcache_invalidated = false;

/* ---------------------------------------------------------------- table */

static Size
table_size(void)
{
	return offsetof(WorkerTable, slots) + max_workers * sizeof(WorkerSlot);
}

static void
table_init(void *area)
{
	WorkerTable *t = area;

	braid_shmem_init_lock(&t->lock);
	t->nslots = max_workers;
}

static const BraidShmemArea table_area = {"braid workers", table_size, table_init,
										  (void **) &workers};

/* The caller holds the lock. */
static WorkerSlot *
find_slot(int kind, Oid dbid)
{
	for (int i = 0; i < workers->nslots; i++)
	{
		WorkerSlot *s = &workers->slots[i];

		if (s->state != SLOT_FREE && s->kind == kind && s->dbid == dbid)
			return s;
	}
	return NULL;
}

/* The caller holds the lock exclusively.  NULL if all slots are in use. */
static WorkerSlot *
want_slot(int kind, Oid dbid)
{
	for (int i = 0; i < workers->nslots; i++)
	{
		WorkerSlot *s = &workers->slots[i];

		if (s->state == SLOT_FREE)
		{
			memset(s, 0, sizeof(*s));
			s->state = SLOT_WANTED;
			s->kind = kind;
			s->dbid = dbid;
			s->delay_ms = MIN_RESTART_MS;
			return s;
		}
	}
	return NULL;
}

/*
 * The worker has ended since there was nothing to do, and was asked for again:
 * nothing is wrong that a delay would help.  The caller holds the lock exclusively.
 */
static void
mark_wanted(WorkerSlot *s)
{
	s->state = SLOT_WANTED;
	s->delay_ms = MIN_RESTART_MS;
	s->pid = 0;
	s->latch = NULL;
}

/* The caller holds the lock exclusively. */
static void
mark_died(WorkerSlot *s)
{
	TimestampTz now = GetCurrentTimestamp();
	int max_ms = kinds[s->kind]->max_restart_ms ? kinds[s->kind]->max_restart_ms : MAX_RESTART_MS;

	if (TimestampDifferenceExceeds(s->started, now, STABLE_MS))
		s->delay_ms = MIN_RESTART_MS;
	s->state = SLOT_DIED;
	s->not_before = Max(s->not_before, TimestampTzPlusMilliseconds(now, s->delay_ms));
	s->delay_ms = Min(s->delay_ms * 2, max_ms);
	s->pid = 0;
	s->latch = NULL;
}

/* Whether it is another one than before. */
static bool
note_problem(WorkerSlot *s, const char *problem)
{
	bool is_new;

	LWLockAcquire(&workers->lock, LW_EXCLUSIVE);
	is_new = strcmp(s->problem, problem) != 0;
	strlcpy(s->problem, problem, sizeof(s->problem));
	LWLockRelease(&workers->lock);
	return is_new;
}

char *
braid_worker_problem(int kind, Oid dbid)
{
	char *problem = dbid == MyDatabaseId ? braid_version_problem() : NULL;
	bool any_free = false;
	WorkerSlot *s;

	if (problem)
		return problem;
	LWLockAcquire(&workers->lock, LW_SHARED);
	s = find_slot(kind, dbid);
	for (int i = 0; i < workers->nslots; i++)
		any_free |= workers->slots[i].state == SLOT_FREE;
	if (s && s->state != SLOT_RUNNING && s->problem[0] != '\0')
		problem = pstrdup(s->problem);
	LWLockRelease(&workers->lock);
	if (s == NULL && !any_free)
		return psprintf(_("all %d workers that \"braid.max_workers\" allows are taken"),
						workers->nslots);
	return problem;
}

static void
wake_launcher(void)
{
	Latch *latch;

	LWLockAcquire(&workers->lock, LW_SHARED);
	latch = workers->launcher;
	LWLockRelease(&workers->lock);
	if (latch)
		SetLatch(latch);
}

/* ---------------------------------------------------------------- requests */

void
braid_worker_request(int kind, Oid dbid)
{
	WorkerSlot *s;

	LWLockAcquire(&workers->lock, LW_EXCLUSIVE);
	s = find_slot(kind, dbid);
	if (s)
	{
		s->again = true;
		if (s->latch)
			SetLatch(s->latch);
	}
	else if (want_slot(kind, dbid) == NULL)
		workers->rescan = true;
	LWLockRelease(&workers->lock);
	wake_launcher();
}

void
braid_worker_request_at_commit(int kind)
{
	requested_kinds |= 1U << kind;
}

void
braid_worker_request_all_at_commit(void)
{
	for (int kind = 0; kind < nkinds; kind++)
		braid_worker_request_at_commit(kind);
}

static void
end_of_transaction(XactEvent event)
{
	if (requested_kinds == 0)
		return;
	if (event == XACT_EVENT_COMMIT)
		for (int kind = 0; kind < nkinds; kind++)
			if (requested_kinds & (1U << kind))
				braid_worker_request(kind, MyDatabaseId);
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		requested_kinds = 0;
}

void
braid_worker_wake(int kind, Oid dbid)
{
	WorkerSlot *s;

	LWLockAcquire(&workers->lock, LW_SHARED);
	s = find_slot(kind, dbid);
	if (s && s->latch)
		SetLatch(s->latch);
	LWLockRelease(&workers->lock);
}

/* Process ids of the workers of a database, which are also kept away. */
static int
keep_workers_away(Oid dbid, int *pids)
{
	int n = 0;

	LWLockAcquire(&workers->lock, LW_EXCLUSIVE);
	for (int i = 0; i < workers->nslots; i++)
	{
		WorkerSlot *s = &workers->slots[i];

		if (s->state == SLOT_FREE || s->dbid != dbid)
			continue;
		s->not_before = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), KEEP_AWAY_MS);
		if (s->pid != 0)
			pids[n++] = s->pid;
	}
	LWLockRelease(&workers->lock);
	return n;
}

void
braid_worker_stop_database(Oid dbid)
{
	int *pids = palloc(sizeof(int) * workers->nslots);

	/*
	 * A worker may be starting just now and show its pid only in the next
	 * round; it is short of its connection then, so a few rounds suffice.
	 */
	for (int i = 0; i < 100; i++)
	{
		int n = keep_workers_away(dbid, pids);

		if (n == 0)
			break;
		if (i % 20 == 0)
			for (int j = 0; j < n; j++)
				kill(pids[j], SIGTERM);
		(void) WaitLatch(NULL, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 50,
						 braid_wait_begin(BRAID_WAIT_WORKERS_STOP));
		braid_wait_end();
		CHECK_FOR_INTERRUPTS();
	}
	pfree(pids);
}

void
braid_worker_let_back(Oid dbid)
{
	LWLockAcquire(&workers->lock, LW_EXCLUSIVE);
	for (int i = 0; i < workers->nslots; i++)
	{
		WorkerSlot *s = &workers->slots[i];

		if (s->state == SLOT_DIED && s->dbid == dbid)
			mark_wanted(s);
		if (s->state != SLOT_FREE && s->dbid == dbid)
			s->not_before = 0;
	}
	LWLockRelease(&workers->lock);
	wake_launcher();
}

/* ---------------------------------------------------------------- worker */

static void
note_relcache_invalidation(Datum arg, Oid relid)
{
	relcache_invalidated = true;
}

static bool
extension_installed(void)
{
	bool installed;

	StartTransactionCommand();
	installed = OidIsValid(get_extension_oid("braid", true));
	CommitTransactionCommand();
	return installed;
}

bool
braid_worker_extension_dropped(void)
{
	AcceptInvalidationMessages();
	if (!relcache_invalidated)
		return false;
	relcache_invalidated = false;
	return !extension_installed();
}

bool
braid_worker_begin_turn(void)
{
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
	return !braid_worker_extension_dropped();
}

static void
leave_slot(int code, Datum arg)
{
	LWLockAcquire(&workers->lock, LW_EXCLUSIVE);
	if (!my_main_returned)
		mark_died(my_slot);
	else if (my_slot->again)
		mark_wanted(my_slot);
	else
		memset(my_slot, 0, sizeof(*my_slot));
	LWLockRelease(&workers->lock);
	wake_launcher();
}

/* Takes possession of the slot; false if another worker has it. */
static bool
enter_slot(WorkerSlot *s, Oid *dbid, int *kind)
{
	bool ours;

	LWLockAcquire(&workers->lock, LW_EXCLUSIVE);
	ours = s->state == SLOT_STARTING;
	if (ours)
	{
		s->state = SLOT_RUNNING;
		s->pid = MyProcPid;
		s->latch = MyLatch;
		s->started = GetCurrentTimestamp();
		s->again = false;
		s->problem[0] = '\0';
		*dbid = s->dbid;
		*kind = s->kind;
	}
	LWLockRelease(&workers->lock);
	return ours;
}

/* Whether the extension is installed here in the version of the library, and at all. */
static bool
is_usable(bool *is_installed)
{
	char *problem;
	bool usable;

	StartTransactionCommand();
	problem = braid_version_problem();
	*is_installed = braid_version_installed() != NULL;
	usable = *is_installed && problem == NULL;
	if (problem)
		ereport(LOG, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("%s", problem),
					  errdetail("No worker of braid runs in the database until they are the same."),
					  errhint("Run: ALTER EXTENSION braid UPDATE.")));
	CommitTransactionCommand();
	return usable;
}

/* An error ends the worker; what it was is kept for those who wonder. */
static void
run_main(int kind)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		kinds[kind]->main();
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		(void) note_problem(my_slot, error->message);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

void
braid_worker_main(Datum arg)
{
	Oid dbid;
	int kind;
	bool is_installed;

	/* die, not a flag: a worker waits for locks and for other servers */
	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();

	my_slot = &workers->slots[DatumGetInt32(arg)];
	if (!enter_slot(my_slot, &dbid, &kind))
		proc_exit(0);
	before_shmem_exit(leave_slot, 0);

	BackgroundWorkerInitializeConnectionByOid(dbid, InvalidOid, 0);
	CacheRegisterRelcacheCallback(note_relcache_invalidation, 0);
	if (is_usable(&is_installed))
		run_main(kind);
	else if (!is_installed && kinds[kind]->clear_up)
		kinds[kind]->clear_up();
	my_main_returned = true;
	proc_exit(0);
}

/* ---------------------------------------------------------------- launcher */

static void
launcher_exit(int code, Datum arg)
{
	LWLockAcquire(&workers->lock, LW_EXCLUSIVE);
	workers->launcher = NULL;
	LWLockRelease(&workers->lock);
}

/* Oids of the databases that may be connected to, in the current context. */
static List *
list_databases(void)
{
	MemoryContext caller = CurrentMemoryContext;
	List *dbs = NIL;
	Relation rel;
	TableScanDesc scan;
	HeapTuple tup;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while (HeapTupleIsValid(tup = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database db = (Form_pg_database) GETSTRUCT(tup);

		if (db->datallowconn)
		{
			MemoryContext old = MemoryContextSwitchTo(caller);

			dbs = lappend_oid(dbs, db->oid);
			MemoryContextSwitchTo(old);
		}
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
	MemoryContextSwitchTo(caller);
	return dbs;
}

static bool
register_worker(int index, Oid dbid, int kind, BackgroundWorkerHandle **handle)
{
	BackgroundWorker w = {0};

	w.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	w.bgw_start_time = BgWorkerStart_RecoveryFinished;
	w.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(w.bgw_library_name, "braid", sizeof(w.bgw_library_name));
	strlcpy(w.bgw_function_name, "braid_worker_main", sizeof(w.bgw_function_name));
	snprintf(w.bgw_name, sizeof(w.bgw_name), "%s for database %u", kinds[kind]->type, dbid);
	strlcpy(w.bgw_type, kinds[kind]->type, sizeof(w.bgw_type));
	w.bgw_main_arg = Int32GetDatum(index);
	w.bgw_notify_pid = MyProcPid;
	return RegisterDynamicBackgroundWorker(&w, handle);
}

/* The server gives no process; logged when it begins. */
static void
tell_no_process(WorkerSlot *s)
{
	if (note_problem(s, _("no background worker slot is free, see \"max_worker_processes\"")))
		ereport(
			LOG,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("could not start %s for database %u: no background worker slot is free",
					kinds[s->kind]->type, s->dbid),
			 errhint("Raise \"max_worker_processes\" in postgresql.conf and restart the server.")));
}

/*
 * Starts the worker of one slot if it is due.  Returns the milliseconds until
 * it should be looked at again, -1 for no need.
 */
static long
tend_slot(int index, BackgroundWorkerHandle **handle)
{
	WorkerSlot *s = &workers->slots[index];
	TimestampTz now = GetCurrentTimestamp();
	Oid dbid = InvalidOid;
	int kind = 0;
	long wait = -1;
	pid_t pid;

	LWLockAcquire(&workers->lock, LW_EXCLUSIVE);

	/* It never came to claim its slot, e.g. for lack of a connection. */
	if (s->state == SLOT_STARTING &&
		(*handle == NULL || GetBackgroundWorkerPid(*handle, &pid) == BGWH_STOPPED))
		mark_died(s);
	if (s->state == SLOT_WANTED || s->state == SLOT_DIED)
	{
		if (s->not_before <= now)
		{
			s->state = SLOT_STARTING;
			s->started = now;
			dbid = s->dbid;
			kind = s->kind;
		}
		else
			wait = TimestampDifferenceMilliseconds(now, s->not_before) + 1;
	}
	LWLockRelease(&workers->lock);

	if (!OidIsValid(dbid))
		return wait;
	if (*handle)
		pfree(*handle);
	*handle = NULL;
	if (register_worker(index, dbid, kind, handle))
		return -1;
	tell_no_process(s);

	/* Nothing has died: it is tried again when another one has ended, or soon. */
	LWLockAcquire(&workers->lock, LW_EXCLUSIVE);
	s->state = SLOT_WANTED;
	LWLockRelease(&workers->lock);
	return MIN_RESTART_MS;
}

/* Once for as long as it lasts: a database for which there is no slot, or none. */
static void
tell_lack(Oid dbid)
{
	static bool told = false;

	if (OidIsValid(dbid) && !told)
		ereport(
			LOG,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("database %u has to wait for a worker of braid", dbid),
			 errdetail("All %d workers that \"braid.max_workers\" allows are taken.",
					   workers->nslots),
			 errhint("Raise \"braid.max_workers\" in postgresql.conf and restart the server.")));
	told = OidIsValid(dbid);
}

/*
 * Wants a worker of each kind in each database seen for the first time, and
 * frees the slots of databases that have gone.  known collects what was seen.
 */
static List *
follow_databases(List *known)
{
	List *dbs = list_databases();
	Oid lacking = InvalidOid;
	ListCell *lc;

	LWLockAcquire(&workers->lock, LW_EXCLUSIVE);
	if (workers->rescan)
	{
		workers->rescan = false;
		list_free_deep(known);
		known = NIL;
	}
	foreach (lc, known)
	{
		Unneeded *u = lfirst(lc);

		if (!list_member_oid(dbs, u->dbid))
		{
			known = foreach_delete_current(known, lc);
			pfree(u);
		}
	}
	for (int i = 0; i < workers->nslots; i++)
	{
		WorkerSlot *s = &workers->slots[i];

		if ((s->state == SLOT_WANTED || s->state == SLOT_DIED) && !list_member_oid(dbs, s->dbid))
			memset(s, 0, sizeof(*s));
	}
	foreach (lc, dbs)
	{
		Oid dbid = lfirst_oid(lc);

		for (int kind = 0; kind < nkinds; kind++)
		{
			bool seen = false;
			ListCell *lc2;

			foreach (lc2, known)
			{
				Unneeded *u = lfirst(lc2);

				seen |= u->dbid == dbid && u->kind == kind;
			}
			if (!seen && (find_slot(kind, dbid) || want_slot(kind, dbid)))
			{
				Unneeded *u = palloc(sizeof(Unneeded));

				u->dbid = dbid;
				u->kind = kind;
				known = lappend(known, u);
			}
			else if (!seen)
				lacking = dbid;
		}
	}
	LWLockRelease(&workers->lock);
	list_free(dbs);
	tell_lack(lacking);
	return known;
}

void
braid_launcher_main(Datum arg)
{
	BackgroundWorkerHandle **handles;
	List *known = NIL;

	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	MemoryContextSwitchTo(TopMemoryContext);
	handles = palloc0(sizeof(*handles) * workers->nslots);
	before_shmem_exit(launcher_exit, 0);
	LWLockAcquire(&workers->lock, LW_EXCLUSIVE);
	workers->launcher = MyLatch;
	LWLockRelease(&workers->lock);

	for (;;)
	{
		long nap = LAUNCHER_NAP_MS;

		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		known = follow_databases(known);
		for (int i = 0; i < workers->nslots; i++)
		{
			long wait = tend_slot(i, &handles[i]);

			if (wait >= 0)
				nap = Min(nap, wait);
		}
		for (int i = 0; i < nwatches; i++)
			watches[i]();
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, nap,
						 braid_wait_begin(BRAID_WAIT_LAUNCHER_MAIN));
		braid_wait_end();
	}
}

int
braid_worker_register_kind(const BraidWorkerKind *kind)
{
	Assert(nkinds < MAX_KINDS);
	kinds[nkinds] = kind;
	return nkinds++;
}

void
braid_worker_register_watch(void (*watch)(void))
{
	Assert(nwatches < MAX_WATCHES);
	watches[nwatches++] = watch;
}

void
braid_worker_init(void)
{
	BackgroundWorker w = {0};

	DefineCustomIntVariable(
		"braid.max_workers", "Sets how many background workers braid may run.",
		"Each database with foreign servers of braid needs one, and each "
		"with continuous views another; \"max_worker_processes\" has to allow for them.",
		&max_workers, 16, 2, 1024, PGC_POSTMASTER, 0, NULL, NULL, NULL);
	braid_shmem_register(&table_area);
	braid_xact_register(BRAID_XACT_LAST, end_of_transaction);

	/* pg_upgrade wants a server in which nobody else does anything. */
	if (IsBinaryUpgrade)
		return;
	w.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	w.bgw_start_time = BgWorkerStart_RecoveryFinished;
	w.bgw_restart_time = 1;
	strlcpy(w.bgw_library_name, "braid", sizeof(w.bgw_library_name));
	strlcpy(w.bgw_function_name, "braid_launcher_main", sizeof(w.bgw_function_name));
	strlcpy(w.bgw_name, "braid launcher", sizeof(w.bgw_name));
	strlcpy(w.bgw_type, "braid launcher", sizeof(w.bgw_type));
	RegisterBackgroundWorker(&w);
}
