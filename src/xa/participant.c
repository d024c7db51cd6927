/*
 * participant.c
 *	  The participant's side: branches of transactions that others coordinate.
 *
 * NOTES
 *	  A coordinator cannot send PREPARE TRANSACTION: the connection belongs to
 *	  postgres_fdw, which sends COMMIT.  It therefore enlists the transaction
 *	  under a gid while that is open, and the COMMIT of an enlisted transaction
 *	  is turned into PREPARE TRANSACTION here.
 *
 *	  - A transaction without an xid has nothing to prepare, and commits.
 *	  - A transaction that has failed must not be reported as committed:
 *		PostgreSQL answers both COMMIT and PREPARE of a failed transaction with
 *		success and the tag ROLLBACK, which postgres_fdw takes for a commit.
 *		Here it is an error.
 *
 *	  The gid comes with an UPDATE of the view braid_internal.enlist or as a
 *	  comment at the end of any statement (tag.h); what is rolled back to a
 *	  savepoint later leaves the transaction enlisted all the same.  With it, or
 *	  before it, comes the name of the transaction (origin.h), for which nothing
 *	  is to be done but to remember it.
 *
 *	  Enlisting needs no privilege: it can only make a session's own COMMIT a
 *	  PREPARE, which the session could have sent itself.
 *
 *	  The role braid_resolver and members of braid_operator may finish prepared
 *	  transactions that carry a gid of braid, whoever owns them.  What anybody
 *	  but the coordinator's resolver finishes is recorded (intervention.c).
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "commands/trigger.h"
#include "common/failpoint.h"
#include "common/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "parser/analyze.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/rel.h"
#include "xa/gid.h"
#include "xa/intervention.h"
#include "xa/participant.h"
#include "xa/settings.h"
#include "xa/tag.h"
#include "xa/trace.h"

PG_FUNCTION_INFO_V1(braid_sql_enlist);

/* Gid of the branch that the current transaction is; empty: it is none. */
static char enlisted_gid[BRAID_GID_LEN] = "";

/* The transaction block that has failed, and still is open, was a branch. */
static bool enlisted_failed = false;

static ProcessUtility_hook_type prev_process_utility = NULL;
static post_parse_analyze_hook_type prev_post_parse_analyze = NULL;

static void
enlist(const XaTag *tag)
{
	if (!IsTransactionBlock())
		ereport(
			ERROR,
			(errcode(ERRCODE_NO_ACTIVE_SQL_TRANSACTION),
			 errmsg(
				 "a branch of a global transaction can only be enlisted in a transaction block")));
	if (tag->has_origin)
		braid_xa_origin_note(&tag->origin, tag->has_gid ? &tag->parsed_gid : NULL);
	if (!tag->has_gid)
		return;
	if (enlisted_gid[0] != '\0' && strcmp(enlisted_gid, tag->gid) != 0)
		ereport(ERROR, (errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
						errmsg("transaction is already branch \"%s\" of a global transaction",
							   enlisted_gid)));
	strlcpy(enlisted_gid, tag->gid, sizeof(enlisted_gid));
}

/*
 * INSTEAD OF UPDATE trigger on braid_internal.enlist.  What RETURNING then shows
 * is null if the transaction was not enlisted before.
 */
Datum
braid_sql_enlist(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	Datum gid;
	bool isnull;
	bool known_before;
	XaTag tag;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function \"%s\" must be called as an UPDATE trigger", "enlist")));
	gid = heap_getattr(trigger->tg_newtuple, 1, RelationGetDescr(trigger->tg_relation), &isnull);
	if (isnull)
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("name of a branch must not be null")));
	if (!braid_xa_tag_parse(TextDatumGetCString(gid), &tag))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"%s\" is not the name of a branch of a global transaction",
							   TextDatumGetCString(gid))));
	known_before = enlisted_gid[0] != '\0';
	enlist(&tag);
	if (known_before)
		return PointerGetDatum(trigger->tg_newtuple);
	isnull = true;
	return PointerGetDatum(heap_form_tuple(RelationGetDescr(trigger->tg_relation), &gid, &isnull));
}

static void
post_parse_analyze(ParseState *pstate, Query *query, JumbleState *jstate)
{
	XaTag tag;

	if (prev_post_parse_analyze)
		prev_post_parse_analyze(pstate, query, jstate);
	if (pstate->p_sourcetext && braid_xa_tag_find(pstate->p_sourcetext, &tag) &&
		IsTransactionBlock())
		enlist(&tag);
}

/* The COMMIT as a PREPARE TRANSACTION of the enlisted gid. */
static PlannedStmt *
prepare_instead(PlannedStmt *pstmt)
{
	TransactionStmt *stmt;

	pstmt = copyObject(pstmt);
	stmt = (TransactionStmt *) pstmt->utilityStmt;
	if (stmt->chain)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("COMMIT AND CHAIN is not possible in a branch of a global transaction")));
	stmt->kind = TRANS_STMT_PREPARE;
	stmt->gid = pstrdup(enlisted_gid);
	return pstmt;
}

/* What becomes of a COMMIT here. */
static PlannedStmt *
process_commit(PlannedStmt *pstmt)
{
	if (IsAbortedTransactionBlockState())
	{
		if (enlisted_failed)
			ereport(ERROR,
					(errcode(ERRCODE_IN_FAILED_SQL_TRANSACTION),
					 errmsg("branch of a global transaction has failed and cannot be prepared")));
		return pstmt;
	}
	if (enlisted_gid[0] == '\0' || !TransactionIdIsValid(GetTopTransactionIdIfAny()))
	{
		BRAID_FAILPOINT("xa-participant-commit");
		return pstmt;
	}
	BRAID_FAILPOINT("xa-participant-prepare");
	return prepare_instead(pstmt);
}

/* Is this the resolver of the coordinator that the branch belongs to? */
static bool
is_its_resolver(const BraidGid *gid)
{
	char name[NAMEDATALEN];

	snprintf(name, sizeof(name), BRAID_XA_RESOLVER_NAME, (unsigned long long) gid->coordinator);
	return strcmp(application_name, name) == 0 &&
		   (superuser() || GetUserId() == get_role_oid(BRAID_XA_RESOLVER_ROLE, true));
}

/* May the current user finish branches that others own? */
static bool
may_finish_all(void)
{
	Oid resolver = get_role_oid(BRAID_XA_RESOLVER_ROLE, true);
	Oid operators = get_role_oid(BRAID_XA_OPERATOR_ROLE, true);

	return superuser() || GetUserId() == resolver ||
		   (OidIsValid(operators) && has_privs_of_role(GetUserId(), operators));
}

/*
 * A prepared transaction is about to be finished.  If it is a branch, and its
 * coordinator is not who does that, records it; returns whether the session
 * may finish it though it does not own it.
 */
static bool
before_finish(TransactionStmt *stmt, ProcessUtilityContext context)
{
	bool commit = stmt->kind == TRANS_STMT_COMMIT_PREPARED;
	BraidGid gid;
	bool all;

	if (!braid_gid_parse(stmt->gid, &gid))
		return false;
	all = may_finish_all();
	if (!is_its_resolver(&gid))
	{
		PreventInTransactionBlock(context == PROCESS_UTILITY_TOPLEVEL,
								  commit ? "COMMIT PREPARED" : "ROLLBACK PREPARED");
		braid_xa_intervention_record(stmt->gid, commit, all,
									 GetUserNameFromId(GetSessionUserId(), false));
	}
	return all && !superuser();
}

/* The branch that the statement finishes, whoever runs it; empty: none. */
static void
finished_branch(TransactionStmt *stmt, char *text)
{
	BraidGid gid;

	text[0] = '\0';
	if ((stmt->kind == TRANS_STMT_COMMIT_PREPARED || stmt->kind == TRANS_STMT_ROLLBACK_PREPARED) &&
		braid_gid_parse(stmt->gid, &gid))
		braid_gid_format(&gid, text);
}

static void
process_utility(PlannedStmt *pstmt, const char *query, bool read_only_tree,
				ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *env,
				DestReceiver *dest, QueryCompletion *qc)
{
	Oid userid = InvalidOid;
	int sec_context = 0;
	char finished[BRAID_GID_LEN] = "";
	bool commit = false;

	if (IsA(pstmt->utilityStmt, TransactionStmt))
	{
		TransactionStmt *stmt = (TransactionStmt *) pstmt->utilityStmt;

		/* The statement may be gone when it has been executed. */
		finished_branch(stmt, finished);
		commit = stmt->kind == TRANS_STMT_COMMIT_PREPARED;
		if (stmt->kind == TRANS_STMT_BEGIN || stmt->kind == TRANS_STMT_START)
			enlisted_failed = false;
		else if (stmt->kind == TRANS_STMT_COMMIT)
			pstmt = process_commit(pstmt);
		else if ((stmt->kind == TRANS_STMT_COMMIT_PREPARED ||
				  stmt->kind == TRANS_STMT_ROLLBACK_PREPARED) &&
				 before_finish(stmt, context))
		{
			/*
			 * Finishing a prepared transaction runs none of its owner's code:
			 * deferred triggers ran at PREPARE.  An error restores the user
			 * with the transaction's end.
			 */
			GetUserIdAndSecContext(&userid, &sec_context);
			SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID,
								   sec_context | SECURITY_LOCAL_USERID_CHANGE);
			BRAID_FAILPOINT("xa-participant-finish");
		}
	}
	(prev_process_utility ? prev_process_utility : standard_ProcessUtility)(
		pstmt, query, read_only_tree, context, params, env, dest, qc);
	if (OidIsValid(userid))
	{
		BRAID_FAILPOINT("xa-participant-finished");
		SetUserIdAndSecContext(userid, sec_context);
	}
	if (finished[0] != '\0')
	{
		BRAID_FAILPOINT_NOTHROW("xa-participant-finished");
		braid_xa_trace_prepared_finished(finished, commit);
	}
}

static void
end_of_transaction(XactEvent event)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
			BRAID_FAILPOINT_NOTHROW("xa-participant-committed");
			enlisted_gid[0] = '\0';
			enlisted_failed = false;
			break;
		case XACT_EVENT_PREPARE:
			BRAID_FAILPOINT_NOTHROW("xa-participant-prepared");
			if (enlisted_gid[0] != '\0')
				braid_xa_trace_prepared(enlisted_gid);
			enlisted_gid[0] = '\0';
			enlisted_failed = false;
			break;
		case XACT_EVENT_ABORT:
			/* The block stays open until it is told to end. */
			enlisted_failed = enlisted_gid[0] != '\0' && IsTransactionBlock();
			enlisted_gid[0] = '\0';
			break;
		default:
			break;
	}
}

void
braid_xa_participant_init(void)
{
	prev_process_utility = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
	prev_post_parse_analyze = post_parse_analyze_hook;
	post_parse_analyze_hook = post_parse_analyze;
	braid_xact_register(BRAID_XACT_LAST, end_of_transaction);
}
