/*
 * compat.h
 *	  Everything that differs between PostgreSQL 15, 16, 17 and 18.
 *
 * PG_VERSION_NUM appears in compat.[ch] and in no other file.
 */
#ifndef BRAID_COMPAT_H
#define BRAID_COMPAT_H

#include "access/genam.h"
#include "access/htup.h"
#include "executor/execdesc.h"
#include "nodes/execnodes.h"
#include "replication/reorderbuffer.h"
#include "replication/slot.h"
#include "replication/snapbuild.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/array.h"
#include "utils/rel.h"

/* Before the declaration of a function that does not return. */
#if PG_VERSION_NUM >= 180000
#define BRAID_NORETURN pg_noreturn
#else
#define BRAID_NORETURN pg_attribute_noreturn()
#endif

/* Parameters of ExecutorRun() and its hook, and the same as arguments. */
#if PG_VERSION_NUM >= 180000
#define BRAID_EXECUTOR_RUN_PARAMS QueryDesc *query, ScanDirection direction, uint64 count
#define BRAID_EXECUTOR_RUN_ARGS query, direction, count
#else
#define BRAID_EXECUTOR_RUN_PARAMS                                                                  \
	QueryDesc *query, ScanDirection direction, uint64 count, bool execute_once
#define BRAID_EXECUTOR_RUN_ARGS query, direction, count, execute_once
#endif

/* User id on whose behalf a foreign scan runs. */
extern Oid braid_compat_scan_user(ForeignScanState *node);

/* User id on whose behalf a foreign table is modified. */
extern Oid braid_compat_modify_user(EState *estate, ResultRelInfo *rri);

/*
 * Id of a named wait event.  Before 17 extensions share one event, so that the
 * name is lost there.  Needs shared memory; may take an LWLock.
 */
extern uint32 braid_compat_wait_event(const char *name);

/* Does the current user own the object (of catalog class classid)? */
extern bool braid_compat_owns(Oid classid, Oid objid);

/* Number of the local transaction that the backend runs. */
extern LocalTransactionId braid_compat_lxid(PGPROC *proc);

/* The virtual transaction of a holder of a lock as pg_locks shows it. */
extern char *braid_compat_instance_vxid(const LockInstanceData *instance);

/* The name of a relation's main file, as the log has it. */
#if PG_VERSION_NUM >= 160000
typedef RelFileLocator BraidFile;
#else
typedef RelFileNode BraidFile;
#endif
extern BraidFile braid_compat_file(Relation rel);

/* The old (new) row of a decoded change, NULL if there is none. */
extern HeapTuple braid_compat_old_tuple(ReorderBufferChange *change);
extern HeapTuple braid_compat_new_tuple(ReorderBufferChange *change);

/* Whether decoding has found out that the transaction was aborted, before its abort record. */
extern bool braid_compat_is_known_aborted(ReorderBufferTXN *txn);

/* Catalogs as of where decoding has come to, with a reference for the caller. */
extern Snapshot braid_compat_catalog_snapshot(SnapBuild *builder);

/* A wait event set that lives until it is freed. */
extern WaitEventSet *braid_compat_create_wait_event_set(int nevents);

/* An oid[] with these elements, allocated in the current memory context. */
extern ArrayType *braid_compat_oid_array(Datum *oids, int noids);

/* Values of the column are stored as they are, with a varlena's header of four bytes. */
extern void braid_compat_store_plain(TupleDesc desc, AttrNumber attnum);

/* Makes a logical slot that goes away unless it is made to persist. */
extern void braid_compat_create_slot(const char *name);

/* Acquires a slot, be it lost or not. */
extern void braid_compat_acquire_slot(const char *name);

/* Whether WAL that the slot needs has gone. */
extern bool braid_compat_slot_is_lost(ReplicationSlot *slot);

/* Raises an error unless the current user may run the query. */
extern void braid_compat_check_query_permissions(Query *query);

/* Puts the expressions of GROUP BY back to where they are referred to. */
extern void braid_compat_flatten_group_exprs(Query *query);

/* The expression with references to columns of joins replaced by what they are. */
extern Node *braid_compat_flatten_join_aliases(Query *query, Node *expression);

/* May the role read the column? */
extern bool braid_compat_column_readable(Oid relid, AttrNumber attnum, Oid roleid);

/* May the role use the foreign server? */
extern bool braid_compat_may_use_server(Oid serverid, Oid roleid);

extern bool braid_compat_is_relation_owner(Oid relid, Oid roleid);

/* Puts a row that was inserted into the table's indexes. */
extern void
braid_compat_insert_index_tuples(ResultRelInfo *result, TupleTableSlot *slot, EState *estate);

/* An index scan with so many keys, none of which orders. */
extern IndexScanDesc
braid_compat_index_beginscan(Relation heap, Relation index, Snapshot snapshot, int nkeys);

/* Updates a row, and its indexes.  Somebody else who does so at the same time is an error. */
extern void braid_compat_update_row(ResultRelInfo *result, ItemPointer tid, TupleTableSlot *slot,
									Snapshot snapshot, EState *estate);

/* Runs a query that was started to its end; it is not run again. */
extern void braid_compat_executor_run_once(QueryDesc *query);

/* Logs a transactional logical message under the xid of the current subtransaction. */
extern void braid_compat_log_message(const char *prefix, const char *message, size_t size);

/* Whether the running transaction has changed rows of a table that is asked for. */
extern bool braid_compat_has_written(bool (*is_asked_for)(Oid relid));

#endif /* BRAID_COMPAT_H */
