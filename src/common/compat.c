/*
 * compat.c
 *	  Everything that differs between PostgreSQL 15, 16, 17 and 18.
 */
#include "postgres.h"

#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_foreign_data_wrapper.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "common/compat.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/bitmapset.h"
#include "optimizer/optimizer.h"
#include "replication/message.h"
#include "rewrite/rewriteManip.h"
#include "utils/acl.h"
#include "utils/acl.h"
#include "utils/memutils.h"
#include "utils/pgstat_internal.h"
#include "utils/wait_event.h"

Oid
braid_compat_scan_user(ForeignScanState *node)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;

#if PG_VERSION_NUM >= 160000
	return OidIsValid(plan->checkAsUser) ? plan->checkAsUser : GetUserId();
#else
	/* A pushed-down join has no scan relation; all its members agree. */
	int rti = plan->scan.scanrelid > 0 ? (int) plan->scan.scanrelid
									   : bms_next_member(plan->fs_relids, -1);
	RangeTblEntry *rte = exec_rt_fetch(rti, node->ss.ps.state);

	return OidIsValid(rte->checkAsUser) ? rte->checkAsUser : GetUserId();
#endif
}

Oid
braid_compat_modify_user(EState *estate, ResultRelInfo *rri)
{
#if PG_VERSION_NUM >= 160000
	return ExecGetResultRelCheckAsUser(rri, estate);
#else
	Index rti = rri->ri_RangeTableIndex;
	RangeTblEntry *rte;

	/* A partition that tuples are routed to has the root's entry. */
	if (rti == 0 && rri->ri_RootResultRelInfo)
		rti = rri->ri_RootResultRelInfo->ri_RangeTableIndex;
	if (rti == 0)
		return GetUserId();
	rte = exec_rt_fetch(rti, estate);
	return OidIsValid(rte->checkAsUser) ? rte->checkAsUser : GetUserId();
#endif
}

uint32
braid_compat_wait_event(const char *name)
{
#if PG_VERSION_NUM >= 170000
	return WaitEventExtensionNew(name);
#else
	(void) name;
	return PG_WAIT_EXTENSION;
#endif
}

WaitEventSet *
braid_compat_create_wait_event_set(int nevents)
{
#if PG_VERSION_NUM >= 170000
	return CreateWaitEventSet(NULL, nevents);
#else
	return CreateWaitEventSet(TopMemoryContext, nevents);
#endif
}

bool
braid_compat_owns(Oid classid, Oid objid)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(classid, objid, GetUserId());
#else
	switch (classid)
	{
		case DatabaseRelationId:
			return pg_database_ownercheck(objid, GetUserId());
		case ForeignServerRelationId:
			return pg_foreign_server_ownercheck(objid, GetUserId());
		case ForeignDataWrapperRelationId:
			return pg_foreign_data_wrapper_ownercheck(objid, GetUserId());
		case ExtensionRelationId:
			return pg_extension_ownercheck(objid, GetUserId());
		case NamespaceRelationId:
			return pg_namespace_ownercheck(objid, GetUserId());
		case ProcedureRelationId:
			return pg_proc_ownercheck(objid, GetUserId());
		default:
			elog(ERROR, "ownership of class %u is not known", classid);
	}
#endif
}

ArrayType *
braid_compat_oid_array(Datum *oids, int noids)
{
	return construct_array(oids, noids, OIDOID, sizeof(Oid), true, TYPALIGN_INT);
}

void
braid_compat_store_plain(TupleDesc desc, AttrNumber attnum)
{
	TupleDescAttr(desc, attnum - 1)->attstorage = TYPSTORAGE_PLAIN;
#if PG_VERSION_NUM >= 180000
	populate_compact_attribute(desc, attnum - 1);
#endif
}

void
braid_compat_create_slot(const char *name)
{
#if PG_VERSION_NUM >= 170000
	ReplicationSlotCreate(name, true, RS_EPHEMERAL, false, false, false);
#else
	ReplicationSlotCreate(name, true, RS_EPHEMERAL, false);
#endif
}

void
braid_compat_acquire_slot(const char *name)
{
#if PG_VERSION_NUM >= 180000
	ReplicationSlotAcquire(name, false, false);
#else
	ReplicationSlotAcquire(name, false);
#endif
}

bool
braid_compat_slot_is_lost(ReplicationSlot *slot)
{
#if PG_VERSION_NUM >= 160000
	return slot->data.invalidated != RS_INVAL_NONE;
#else
	return slot->data.invalidated_at != InvalidXLogRecPtr;
#endif
}

void
braid_compat_check_query_permissions(Query *query)
{
#if PG_VERSION_NUM >= 160000
	(void) ExecCheckPermissions(query->rtable, query->rteperminfos, true);
#else
	(void) ExecCheckRTPerms(query->rtable, true);
#endif
}

void
braid_compat_flatten_group_exprs(Query *query)
{
#if PG_VERSION_NUM >= 180000
	if (!query->hasGroupRTE)
		return;
	query->targetList = (List *) flatten_group_exprs(NULL, query, (Node *) query->targetList);
	query->havingQual = flatten_group_exprs(NULL, query, query->havingQual);
	query->hasGroupRTE = false;
#else
	(void) query;
#endif
}

/* From 16 on columns say which outer joins can make them null: of no use here. */
Node *
braid_compat_flatten_join_aliases(Query *query, Node *expression)
{
#if PG_VERSION_NUM >= 160000
	Bitmapset *all = NULL;

	if (list_length(query->rtable) > 0)
		all = bms_add_range(NULL, 1, list_length(query->rtable));
	expression = flatten_join_alias_vars(NULL, query, expression);
	return remove_nulling_relids(expression, all, NULL);
#else
	return flatten_join_alias_vars(query, expression);
#endif
}

bool
braid_compat_column_readable(Oid relid, AttrNumber attnum, Oid roleid)
{
	return pg_class_aclcheck(relid, roleid, ACL_SELECT) == ACLCHECK_OK ||
		   pg_attribute_aclcheck(relid, attnum, roleid, ACL_SELECT) == ACLCHECK_OK;
}

bool
braid_compat_is_relation_owner(Oid relid, Oid roleid)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(RelationRelationId, relid, roleid);
#else
	return pg_class_ownercheck(relid, roleid);
#endif
}

LocalTransactionId
braid_compat_lxid(PGPROC *proc)
{
#if PG_VERSION_NUM >= 170000
	return proc->vxid.lxid;
#else
	return proc->lxid;
#endif
}

char *
braid_compat_instance_vxid(const LockInstanceData *instance)
{
#if PG_VERSION_NUM >= 170000
	return psprintf("%d/%u", instance->vxid.procNumber, instance->vxid.localTransactionId);
#else
	return psprintf("%d/%u", instance->backend, instance->lxid);
#endif
}

BraidFile
braid_compat_file(Relation rel)
{
#if PG_VERSION_NUM >= 160000
	return rel->rd_locator;
#else
	return rel->rd_node;
#endif
}

#if PG_VERSION_NUM >= 170000
#define TUPLE_OF(buffer) (buffer)
#else
#define TUPLE_OF(buffer) ((buffer) ? &(buffer)->tuple : NULL)
#endif

HeapTuple
braid_compat_old_tuple(ReorderBufferChange *change)
{
	return TUPLE_OF(change->data.tp.oldtuple);
}

HeapTuple
braid_compat_new_tuple(ReorderBufferChange *change)
{
	return TUPLE_OF(change->data.tp.newtuple);
}

bool
braid_compat_is_known_aborted(ReorderBufferTXN *txn)
{
#if PG_VERSION_NUM >= 180000
	return rbtxn_is_aborted(txn);
#else
	return txn->concurrent_abort;
#endif
}

Snapshot
braid_compat_catalog_snapshot(SnapBuild *builder)
{
#if PG_VERSION_NUM >= 160000
	Snapshot snapshot = SnapBuildGetOrBuildSnapshot(builder);
#else
	Snapshot snapshot = SnapBuildGetOrBuildSnapshot(builder, InvalidTransactionId);
#endif

	snapshot->active_count++;
	return snapshot;
}

bool
braid_compat_may_use_server(Oid serverid, Oid roleid)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(ForeignServerRelationId, serverid, roleid, ACL_USAGE) == ACLCHECK_OK;
#else
	return pg_foreign_server_aclcheck(serverid, roleid, ACL_USAGE) == ACLCHECK_OK;
#endif
}

void
braid_compat_insert_index_tuples(ResultRelInfo *result, TupleTableSlot *slot, EState *estate)
{
#if PG_VERSION_NUM >= 160000
	ExecInsertIndexTuples(result, slot, estate, false, false, NULL, NIL, false);
#else
	ExecInsertIndexTuples(result, slot, estate, false, false, NULL, NIL);
#endif
}

IndexScanDesc
braid_compat_index_beginscan(Relation heap, Relation index, Snapshot snapshot, int nkeys)
{
#if PG_VERSION_NUM >= 180000
	return index_beginscan(heap, index, snapshot, NULL, nkeys, 0);
#else
	return index_beginscan(heap, index, snapshot, nkeys, 0);
#endif
}

void
braid_compat_update_row(ResultRelInfo *result, ItemPointer tid, TupleTableSlot *slot,
						Snapshot snapshot, EState *estate)
{
#if PG_VERSION_NUM >= 160000
	TU_UpdateIndexes indexes = TU_None;
#else
	bool indexes = false;
#endif
	TM_FailureData failure;
	LockTupleMode mode;

	if (table_tuple_update(result->ri_RelationDesc, tid, slot, GetCurrentCommandId(true), snapshot,
						   InvalidSnapshot, true, &failure, &mode, &indexes) != TM_Ok)
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						errmsg("could not serialize access due to concurrent update")));
	if (!indexes || result->ri_NumIndices == 0)
		return;
#if PG_VERSION_NUM >= 160000
	ExecInsertIndexTuples(result, slot, estate, true, false, NULL, NIL, indexes == TU_Summarizing);
#else
	ExecInsertIndexTuples(result, slot, estate, true, false, NULL, NIL);
#endif
}

void
braid_compat_executor_run_once(QueryDesc *query)
{
#if PG_VERSION_NUM >= 180000
	ExecutorRun(query, ForwardScanDirection, 0);
#else
	ExecutorRun(query, ForwardScanDirection, 0, true);
#endif
}

void
braid_compat_log_message(const char *prefix, const char *message, size_t size)
{
#if PG_VERSION_NUM >= 170000
	(void) LogLogicalMessage(prefix, message, size, true, false);
#else
	(void) LogLogicalMessage(prefix, message, size, true);
#endif
}

/* By what is counted for statistics: subtransactions have ended. */
bool
braid_compat_has_written(bool (*is_asked_for)(Oid relid))
{
	for (PgStat_TableXactStatus *t = pgstat_get_xact_stack_level(1)->first; t; t = t->next)
	{
#if PG_VERSION_NUM >= 160000
		Oid relid = t->parent->id;
#else
		Oid relid = t->parent->t_id;
#endif

		if ((t->tuples_inserted || t->tuples_updated || t->tuples_deleted || t->truncdropped) &&
			is_asked_for(relid))
			return true;
	}
	return false;
}
