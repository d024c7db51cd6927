/*
 * restore.c
 *	  Topics that come from a dump.
 *
 * NOTES
 *	  A dump has the view, the messages and the rows of the catalogs, all of one moment.  But
 *	  messages and positions speak of transaction ids of the server that was dumped, and the
 *	  ids here may be higher or lower.  So each restore begins a new generation of the topic:
 *	  whatever is sent from then on has an id above all that were restored, since the
 *	  generation is in the upper bits of what is stored (braid_topic_xid()).  Nothing
 *	  has to be rewritten, and each group goes on exactly where it was when the dump was made:
 *	  transactions that were in progress then, and whose messages came later, are not in the dump.
 *
 *	  A row that braid.create_topic() makes has generation -1; any other one that is inserted comes
 *	  from a dump.  pg_upgrade moves files and keeps transaction ids: nothing is inserted.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "topic/catalog.h"
#include "topic/rotate.h"
#include "topic/topic.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

PG_FUNCTION_INFO_V1(braid_sql_topic_restored);

/* braid_internal.topic_restored(): row trigger on braid_internal.topics, before INSERT */
Datum
braid_sql_topic_restored(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	TupleDesc desc;
	int column = TOPIC_GENERATION;
	Datum generation;
	Oid view;
	bool isnull;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BEFORE(trigger->tg_event) ||
		!TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("braid_internal.topic_restored() must be called before INSERT")));
	desc = RelationGetDescr(trigger->tg_relation);
	generation = heap_getattr(trigger->tg_trigtuple, TOPIC_GENERATION, desc, &isnull);
	generation = Int32GetDatum(isnull ? 0 : DatumGetInt32(generation) + 1);
	view = DatumGetObjectId(heap_getattr(trigger->tg_trigtuple, TOPIC_VIEW, desc, &isnull));
	if (!isnull && get_rel_relkind(view) == RELKIND_VIEW)
		braid_topic_invalidate(view);
	braid_rotate_request();
	isnull = false;
	PG_RETURN_POINTER(
		heap_modify_tuple_by_cols(trigger->tg_trigtuple, desc, 1, &column, &generation, &isnull));
}
