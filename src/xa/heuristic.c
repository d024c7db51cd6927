/*
 * heuristic.c
 *	  Coordinators: branches that were finished by hand (heuristic outcomes).
 *
 * NOTES
 *	  COMMIT PREPARED of an unknown gid means one of these:
 *	  a. the branch had no xid, so its COMMIT was an ordinary one;
 *	  b. an earlier attempt of ours, whose answer was lost, has finished it;
 *	  c. somebody has finished it by hand.
 *	  Only c leaves a row on the participant (intervention.c), before the branch
 *	  is touched, so whoever finds a gid unknown and asks for the row *after*
 *	  that learns of c for certain.  Sweeps ask for all rows, after they have
 *	  listed what is prepared, so that c is also found where nobody tries to
 *	  finish the branch: after a roll back, or when a connection was lost.
 *
 *	  The row says what was intended.  What happened the participant's log of
 *	  transactions says, which is asked in the same breath.  A row that it
 *	  contradicts is void: its command has failed, and the branch was finished
 *	  by us after that.  If the log is too old to be asked (the participant has
 *	  vacuumed it away), the outcome is unknown: a heuristic hazard.
 *
 *	  Nothing is lost on the way.  The participant keeps its row until it is told
 *	  to forget it; that is the case only when the outcome is durable here and
 *	  the operator has said so (braid.xa_forget()), or when the row is void.  The
 *	  decision, which the judgement needs, is kept as long: a sweep that could
 *	  not judge a row is not clean, and decisions go only after clean sweeps.
 *	  A row here that is to be forgotten goes when the participant's has gone,
 *	  or the next sweep would take that one for news.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/failpoint.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "xa/heuristic.h"

static Datum
text_column(PGresult *r, int row, int column, char *null)
{
	bool isnull = PQgetisnull(r, row, column);

	*null = isnull ? 'n' : ' ';
	return isnull ? (Datum) 0 : CStringGetTextDatum(PQgetvalue(r, row, column));
}

static XaVerdict
verdict_of(const char *name)
{
	static const char *const names[] = {
		[XA_VERDICT_NONE] = "none",
		[XA_VERDICT_VOID] = "void",
		[XA_VERDICT_UNDER_WAY] = "under way",
		[XA_VERDICT_AGREES] = "agrees",
		[XA_VERDICT_CONTRADICTS] = "contradicts",
		[XA_VERDICT_UNKNOWN] = "unknown",
	};

	for (int i = 0; i < lengthof(names); i++)
		if (strcmp(name, names[i]) == 0)
			return i;
	elog(ERROR, "unexpected verdict \"%s\"", name);
}

XaVerdict
braid_xa_heuristic_judge(Oid serverid, const BraidGid *gid, PGresult *r, int row)
{
	Oid types[] = {TEXTOID, OIDOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID};
	char text[BRAID_GID_LEN];
	char nulls[lengthof(types)] = "      ";
	Datum args[lengthof(types)];
	XaVerdict verdict;
	int rc;

	args[0] = CStringGetTextDatum(braid_gid_format(gid, text));
	args[1] = ObjectIdGetDatum(serverid);
	args[2] = text_column(r, row, XA_COLUMN_STATUS, &nulls[2]);
	args[3] = text_column(r, row, XA_COLUMN_OUTCOME, &nulls[3]);
	args[4] = text_column(r, row, XA_COLUMN_DECIDED_BY, &nulls[4]);
	args[5] = text_column(r, row, XA_COLUMN_DECIDED_AT, &nulls[5]);

	BRAID_FAILPOINT("xa-heuristic-found");
	PushActiveSnapshot(GetLatestSnapshot());
	SPI_connect();
	rc = SPI_execute_with_args("SELECT braid_internal.judge_branch($1, $2, $3, $4, $5, $6)",
							   lengthof(types), types, args, nulls, false, 0);
	if (rc != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not judge branch \"%s\": %s", text, SPI_result_code_string(rc));
	verdict = verdict_of(SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
	SPI_finish();
	PopActiveSnapshot();
	ForceSyncCommit();
	return verdict;
}

void
braid_xa_heuristic_forget(Oid serverid, PGresult *r)
{
	Oid types[] = {OIDOID, TEXTARRAYOID};
	Datum *gids = palloc(sizeof(Datum) * (PQntuples(r) + 1));
	Datum args[lengthof(types)];
	int ngids = 0;
	int rc;

	for (int i = 0; i < PQntuples(r); i++)
		if (!PQgetisnull(r, i, XA_COLUMN_OUTCOME))
			gids[ngids++] = CStringGetTextDatum(PQgetvalue(r, i, XA_COLUMN_GID));
	args[0] = ObjectIdGetDatum(serverid);
	args[1] = PointerGetDatum(construct_array(gids, ngids, TEXTOID, -1, false, TYPALIGN_INT));

	PushActiveSnapshot(GetLatestSnapshot());
	SPI_connect();
	rc = SPI_execute_with_args("DELETE FROM braid_internal.heuristics WHERE forgotten "
							   "AND server = $1 AND gid || ':' || branch <> ALL ($2)",
							   lengthof(types), types, args, NULL, false, 0);
	if (rc != SPI_OK_DELETE)
		elog(ERROR, "could not forget heuristic outcomes: %s", SPI_result_code_string(rc));
	SPI_finish();
	PopActiveSnapshot();
}
