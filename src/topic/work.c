/*
 * work.c
 *	  Groups of mode work: what is going on in them.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "topic/work.h"
#include "topic/work_claim.h"
#include "topic/work_load.h"
#include "topic/work_tidy.h"
#include "topic/work_window.h"

PG_FUNCTION_INFO_V1(braid_sql_work_now);

#define NCOLUMNS 9

/* braid_internal.work_now(): a row for each window. */
Datum
braid_sql_work_now(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsi = (ReturnSetInfo *) fcinfo->resultinfo;
	int n;
	int *groups = braid_work_window_groups(&n);

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < n; i++)
	{
		WorkArrays a;
		WorkWindow *w = braid_work_window_lock_existing(groups[i], &a);
		Datum v[NCOLUMNS];
		bool nulls[NCOLUMNS] = {false};

		if (w == NULL)
			continue;
		v[0] = Int32GetDatum(w->group);
		v[1] = Int32GetDatum(w->nready);
		v[2] = Int32GetDatum(w->ndelayed);
		v[3] = Int32GetDatum(w->nheld);
		v[4] = Int32GetDatum(w->ntaken);
		v[5] = Int32GetDatum(w->nprepared);
		v[6] = Int64GetDatum(w->done);
		v[7] = Int64GetDatum(w->retried);
		v[8] = Int64GetDatum(w->dead);
		braid_work_window_unlock(w);
		tuplestore_putvalues(rsi->setResult, rsi->setDesc, v, nulls);
	}
	return (Datum) 0;
}

void
braid_work_init(void)
{
	braid_work_window_init();
	braid_work_load_init();
	braid_work_claim_init();
	braid_work_tidy_init();
}
