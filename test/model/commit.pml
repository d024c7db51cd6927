/*
 * commit.pml
 *	  The commit protocol of src/xa: commit, late PREPARE, crashes, sweeps and
 *	  the truncation of decisions.  For spin; see README.md.
 *
 * One coordinator, TRANSACTIONS global transactions, two participants, and an
 * environment that loses processes, servers, connections and answers as often as
 * the limits below allow.  Names are those of the code where it has one.
 *
 * What is modelled as durable: the branches that are prepared, the decision rows
 * and the incarnation.  All else goes with its process.
 *
 * -DSEQUENTIAL lets the second transaction begin after the first has ended or
 * the coordinator has crashed; without it they overlap in all ways.
 *
 * -DNO_ROTATION leaves out the truncation of decisions.
 *
 * Claims
 *	  - a branch is committed only if its transaction was decided, and rolled back
 *	    after PREPARE only if it was not: so never one of each;
 *	  - what the client was told is never contradicted;
 *	  - when nothing can happen any more no branch is prepared, and every decided
 *	    one is committed (end-state validity);
 *	  - with -DPROGRESS: a decided transaction is committed everywhere in the end,
 *	    on every fair path (LTL).
 *
 * Each of these switches breaks the protocol in one place, and spin must find it:
 *	  T_BEFORE_A		a sweep reads the decisions before the active set
 *	  A_BEFORE_P		... the active set before what is prepared
 *	  TRUNCATE_EARLY	decisions are dropped without a sweep after they were noted
 *	  XID_WITNESS		the local xid is the witness, not the row
 *	  NO_INCARNATION	gids are named after the xid alone
 *	  DECIDE_EARLY		the decision does not wait for all PREPAREs
 *	  TELL_EARLY		the client hears COMMIT before the commit record is durable
 *	  NO_SWEEP			nothing looks for what is prepared
 *	  SWEEP_ONCE		one sweep after an abort, and no other
 */
#ifndef TRANSACTIONS
#define TRANSACTIONS 2
#endif
#ifndef COORDINATOR_CRASHES
#define COORDINATOR_CRASHES 1
#endif
#ifndef RESOLVER_CRASHES
#define RESOLVER_CRASHES 1
#endif
#ifndef PARTICIPANT_CRASHES
#define PARTICIPANT_CRASHES 1
#endif
#ifndef LOST_ANSWERS
#define LOST_ANSWERS 1
#endif
#define PARTICIPANTS 2
#define BRANCHES (TRANSACTIONS * PARTICIPANTS)

#define B(t, p) ((t) * PARTICIPANTS + (p))

mtype = { NONE, OPEN, PREPARED, COMMITTED, ABORTED };	/* a branch */
mtype = { FREE, ACTIVE, COMMITTING };					/* a transaction's slot */
mtype = { NOTHING, COMMIT, ROLLBACK };					/* told, or a command */
mtype = { NO_REPLY, YES, NO };							/* to postgres_fdw's COMMIT */

/* ---- durable */
mtype branch[BRANCHES] = NONE;
bool row[TRANSACTIONS];				/* decision row, with its commit record */
byte incarnation = 0;
byte xid_durable = 0;				/* xids below are never handed out again */

/* ---- the coordinator's memory */
mtype slot[TRANSACTIONS] = FREE;
bool queued[BRANCHES];				/* decided, the resolver's business */
bool seen[TRANSACTIONS];			/* new snapshots see the row */
byte xid_next = 0;
byte starts = 0;					/* of the coordinator */
bool resolver_dies = false;
bool rotating = false;
bool noted[TRANSACTIONS];			/* rows of the rotation under way */
bool clean[PARTICIPANTS];
bool swept[PARTICIPANTS];			/* for SWEEP_ONCE */

/* ---- on the wires */
bool sent[BRANCHES];				/* postgres_fdw's COMMIT: to be prepared */
mtype reply[BRANCHES] = NO_REPLY;
mtype command[BRANCHES] = NOTHING;	/* COMMIT or ROLLBACK PREPARED */

/* ---- what is claimed about, and no process reads */
bool decided[TRANSACTIONS];
mtype told[TRANSACTIONS] = NOTHING;

/* ---- names */
byte xid[TRANSACTIONS];
byte gid_incarnation[TRANSACTIONS];
bool named[TRANSACTIONS];

byte resolver_crashes = 0;
byte participant_crashes = 0;
byte lost_answers = 0;

#define SAME_XID(t, u) (named[t] && named[u] && xid[t] == xid[u])
#ifdef NO_INCARNATION
#define SAME_GID(t, u) SAME_XID(t, u)
#else
#define SAME_GID(t, u) (SAME_XID(t, u) && gid_incarnation[t] == gid_incarnation[u])
#endif

/* Does a new snapshot show that t was decided? */
#if TRANSACTIONS == 1
#define WITNESS(t) seen[0]
#else
#ifdef XID_WITNESS
#define WITNESS(t) ((seen[0] && SAME_XID(t, 0)) || (seen[1] && SAME_XID(t, 1)))
#else
#define WITNESS(t) ((seen[0] && SAME_GID(t, 0)) || (seen[1] && SAME_GID(t, 1)))
#endif
#endif

#if TRANSACTIONS == 1
#define GID_IN_USE(t, p) false
#else
#define GID_IN_USE(t, p) (SAME_GID(0, 1) && branch[B(1 - (t), p)] == PREPARED)
#endif

#define LIVE(t, p) (slot[t] == ACTIVE || queued[B(t, p)])

/* ---------------------------------------------------------------- backend */

inline close_connections(t)
{
	/* Open branches are rolled back; a COMMIT that was sent may still arrive. */
	p = 0;
	do
	:: p < PARTICIPANTS ->
		if
		:: branch[B(t, p)] == OPEN && !sent[B(t, p)] -> branch[B(t, p)] = ABORTED
		:: else
		fi;
		p++
	:: else -> break
	od;
	p = 0
}

proctype Backend(byte t)
{
	byte p = 0;
	byte start;

#ifdef SEQUENTIAL
	(t == 0 || told[0] != NOTHING || starts > 0);
#endif
	/* register as active, write on both */
	atomic {
		start = starts;
		gid_incarnation[t] = incarnation;
		xid[t] = xid_next;
		named[t] = true;
		xid_next++;
		slot[t] = ACTIVE;
		branch[B(t, 0)] = OPEN;
		branch[B(t, 1)] = OPEN
	}
	{
		/* postgres_fdw sends COMMIT to all */
		atomic { sent[B(t, 0)] = true; sent[B(t, 1)] = true };
		if
		:: reply[B(t, 0)] == YES && reply[B(t, 1)] == YES
#ifdef DECIDE_EARLY
		:: reply[B(t, 0)] == YES
#endif
		:: reply[B(t, 0)] == NO -> goto abort
		:: reply[B(t, 1)] == NO -> goto abort
		:: goto abort			/* an error, a cancel, a lost connection */
		fi;
#ifdef TELL_EARLY
		told[t] = COMMIT;
#endif
		/* the local commit record, flushed: the decision */
		atomic {
			assert(told[t] != ROLLBACK);
			row[t] = true;
			decided[t] = true;
			if
			:: xid[t] >= xid_durable -> xid_durable = xid[t] + 1
			:: else
			fi
		};
		seen[t] = true;
		/* hand over */
		atomic {
			slot[t] = COMMITTING;
			queued[B(t, 0)] = true;
			queued[B(t, 1)] = true
		};
		if
		:: !queued[B(t, 0)] && !queued[B(t, 1)]
		:: true					/* cancel, terminate, time-out */
		fi;
		told[t] = COMMIT;
		goto done;
abort:
		atomic { close_connections(t) };
		/* recovery may have the branches now */
		atomic { slot[t] = FREE; swept[0] = false; swept[1] = false };
		told[t] = ROLLBACK
	} unless { starts != start -> atomic { close_connections(t) } };
done:
	skip
}

/* ---------------------------------------------------------------- participant */

/* COMMIT PREPARED or ROLLBACK PREPARED, and its answer. */
inline execute(tx, p)
{
	if
	:: command[B(tx, p)] == COMMIT && branch[B(tx, p)] == PREPARED ->
		assert(decided[tx] && told[tx] != ROLLBACK);
		branch[B(tx, p)] = COMMITTED
	:: command[B(tx, p)] == ROLLBACK && branch[B(tx, p)] == PREPARED ->
		assert(!decided[tx] && told[tx] != COMMIT);
		branch[B(tx, p)] = ABORTED
	:: else					/* 42704: done already */
	fi;
	command[B(tx, p)] = NOTHING;
	if
	:: queued[B(tx, p)] = false
	:: lost_answers < LOST_ANSWERS -> lost_answers++	/* tried again */
	fi
}

inline lose_volatile(tx, p)
{
	if
	:: branch[B(tx, p)] == OPEN -> branch[B(tx, p)] = ABORTED
	:: else
	fi;
	if
	:: sent[B(tx, p)] -> sent[B(tx, p)] = false; reply[B(tx, p)] = NO
	:: else
	fi;
	command[B(tx, p)] = NOTHING;
	queued[B(tx, p)] = false	/* left to the sweep */
}

/* The COMMIT of an enlisted branch is PREPARE TRANSACTION; and its answer. */
inline prepare(tx, p)
{
	sent[B(tx, p)] = false;
	if
	:: branch[B(tx, p)] != OPEN -> reply[B(tx, p)] = NO
	:: branch[B(tx, p)] == OPEN && GID_IN_USE(tx, p) ->
		branch[B(tx, p)] = ABORTED; reply[B(tx, p)] = NO
	:: branch[B(tx, p)] == OPEN && !GID_IN_USE(tx, p) ->
		branch[B(tx, p)] = PREPARED; reply[B(tx, p)] = YES
	:: branch[B(tx, p)] == OPEN ->		/* it refuses */
		branch[B(tx, p)] = ABORTED; reply[B(tx, p)] = NO
	:: branch[B(tx, p)] == OPEN && !GID_IN_USE(tx, p) && lost_answers < LOST_ANSWERS ->
		lost_answers++;
		branch[B(tx, p)] = PREPARED; reply[B(tx, p)] = NO
	fi
}

proctype Participant(byte p)
{
end:
	do
	:: sent[B(0, p)] -> atomic { prepare(0, p) }
#if TRANSACTIONS > 1
	:: sent[B(1, p)] -> atomic { prepare(1, p) }
#endif
	:: command[B(0, p)] != NOTHING -> atomic { execute(0, p) }
#if TRANSACTIONS > 1
	:: command[B(1, p)] != NOTHING -> atomic { execute(1, p) }
#endif
	/* it crashes: what is not prepared is gone, and so are all connections */
	:: atomic {
		participant_crashes < PARTICIPANT_CRASHES ->
		participant_crashes++;
		lose_volatile(0, p);
#if TRANSACTIONS > 1
		lose_volatile(1, p);
#endif
	   }
	od
}

/* ---------------------------------------------------------------- resolver */

#ifdef NO_SWEEP
#define WANTS_SWEEP(p) false
#else
#ifdef SWEEP_ONCE
#define WANTS_SWEEP(p) (!swept[p])
#else
/* Sweeps are periodic; those that find nothing and prove nothing are left out. */
#if TRANSACTIONS == 1
#define WANTS_SWEEP(p) ((rotating && !clean[p]) || branch[B(0, p)] == PREPARED)
#else
#define WANTS_SWEEP(p) ((rotating && !clean[p]) || branch[B(0, p)] == PREPARED || \
	branch[B(1, p)] == PREPARED)
#endif
#endif
#endif

/*
 * spin is fair to processes, not to the choices of one: for PROGRESS the
 * resolver empties its queue before it sweeps, and takes turns.
 */
#ifdef PROGRESS
bool last_swept = false;
#define UNSENT(p) (queued[B(0, p)] && command[B(0, p)] == NOTHING)
#define MAY_SWEEP(p) (!UNSENT(0) && !UNSENT(1) && (last_swept != p || !WANTS_SWEEP(1 - p)))
#else
#define MAY_SWEEP(p) true
#endif

#ifdef A_BEFORE_P
#define A_FIRST true
#else
#define A_FIRST false
#endif

/* The three observations of a sweep; found and commit are sets of transactions. */
inline observe_p(p)
{
	atomic {
		tx = 0;
		do
		:: tx < TRANSACTIONS ->
			found[tx] = branch[B(tx, p)] == PREPARED;
			tx++
		:: else -> break
		od;
		tx = 0
	}
}

inline observe_a(p)
{
	atomic {
		tx = 0;
		do
		:: tx < TRANSACTIONS ->
			live[tx] = LIVE(tx, p) && (found[tx] || A_FIRST);
			tx++
		:: else -> break
		od;
		tx = 0
	}
}

inline observe_t()
{
	atomic {
		tx = 0;
		do
		:: tx < TRANSACTIONS ->
			commit[tx] = WITNESS(tx) && found[tx] && !live[tx];
			tx++
		:: else -> break
		od;
		tx = 0
	}
}

/* Sends the commands; a branch of a noted row that is live keeps the row. */
inline settle(p)
{
	atomic {
		tx = 0;
		do
		:: tx < TRANSACTIONS ->
			if
			:: found[tx] && !live[tx] ->
				swept_clean = false;
				if
				:: command[B(tx, p)] == NOTHING && commit[tx] -> command[B(tx, p)] = COMMIT
				:: command[B(tx, p)] == NOTHING && !commit[tx] -> command[B(tx, p)] = ROLLBACK
				:: else
				fi
			:: found[tx] && live[tx] && noted[tx] -> swept_clean = false
			:: else
			fi;
			found[tx] = false;
			live[tx] = false;
			commit[tx] = false;
			tx++
		:: else -> break
		od;
		tx = 0
	}
}

inline sweep(p)
{
	swept_for_rotation = rotating;
	swept_clean = true;
#ifdef T_BEFORE_A
	observe_p(p);
	observe_t();
	observe_a(p);
#else
#ifdef A_BEFORE_P
	observe_a(p);
	observe_p(p);
	observe_t();
#else
	observe_p(p);
	observe_a(p);
	observe_t();
#endif
#endif
	settle(p);
	atomic {
		if
		:: swept_for_rotation && swept_clean && rotating -> clean[p] = true
		:: else
		fi;
		swept[p] = true;
#ifdef PROGRESS
		last_swept = p;
#endif
		swept_for_rotation = false;
		swept_clean = false
	}
}

/* The row's transaction has ended: its writer has let go of the table. */
#define ENDED(t) (row[t] && seen[t] && slot[t] != ACTIVE)
#define UNFINISHED(t) (row[t] && !ENDED(t))

inline begin_rotation()
{
	rotating = true;
	noted[0] = row[0];
#if TRANSACTIONS > 1
	noted[1] = row[1];
#endif
#ifdef TRUNCATE_EARLY
	clean[0] = true;
	clean[1] = true
#else
	clean[0] = false;
	clean[1] = false
#endif
}

inline truncate(t)
{
	if
	:: noted[t] -> row[t] = false; seen[t] = false
	:: else
	fi;
	noted[t] = false
}

proctype Resolver()
{
	byte tx = 0;
	bool found[TRANSACTIONS];
	bool live[TRANSACTIONS];
	bool commit[TRANSACTIONS];
	bool swept_clean = false;
	bool swept_for_rotation = false;

end:
	do
	:: {
end_idle:
		do
		/* a branch from the queue */
		:: atomic { queued[B(0, 0)] && command[B(0, 0)] == NOTHING -> command[B(0, 0)] = COMMIT }
		:: atomic { queued[B(0, 1)] && command[B(0, 1)] == NOTHING -> command[B(0, 1)] = COMMIT }
#if TRANSACTIONS > 1
		:: atomic { queued[B(1, 0)] && command[B(1, 0)] == NOTHING -> command[B(1, 0)] = COMMIT }
		:: atomic { queued[B(1, 1)] && command[B(1, 1)] == NOTHING -> command[B(1, 1)] = COMMIT }
#endif
		:: WANTS_SWEEP(0) && MAY_SWEEP(0) -> sweep(0)
		:: WANTS_SWEEP(1) && MAY_SWEEP(1) -> sweep(1)
#ifndef NO_ROTATION
#if TRANSACTIONS > 1
		:: atomic { !rotating && (row[0] || row[1]) && !UNFINISHED(0) && !UNFINISHED(1) ->
			begin_rotation() }
#else
		:: atomic { !rotating && row[0] && !UNFINISHED(0) -> begin_rotation() }
#endif
#endif
		:: atomic {
			rotating && clean[0] && clean[1] ->
			truncate(0);
#if TRANSACTIONS > 1
			truncate(1);
#endif
			rotating = false;
			clean[0] = false;
			clean[1] = false
		   }
		od
	   } unless {
		atomic {
			resolver_dies ->
			resolver_dies = false;
			swept_clean = false;
			swept_for_rotation = false;
			tx = 0;
			do
			:: tx < TRANSACTIONS ->
				found[tx] = false;
				live[tx] = false;
				commit[tx] = false;
				tx++
			:: else -> break
			od;
			tx = 0
		}
	   }
	od
}


/* ---------------------------------------------------------------- crashes */

inline forget_rotation()
{
	rotating = false;
	clean[0] = false;
	clean[1] = false;
	noted[0] = false;
#if TRANSACTIONS > 1
	noted[1] = false;
#endif
	swept[0] = false;
	swept[1] = false
}

inline forget_transaction(t)
{
	slot[t] = FREE;
	queued[B(t, 0)] = false;
	queued[B(t, 1)] = false;
	seen[t] = row[t]
}

/* What is on the wires stays there: it may arrive after the sender's death. */
proctype Faults()
{
end:
	do
	:: atomic {
		starts < COORDINATOR_CRASHES ->
		starts++;
		incarnation++;
		xid_next = xid_durable;
		forget_rotation();
		forget_transaction(0);
#if TRANSACTIONS > 1
		forget_transaction(1);
#endif
		resolver_dies = true
	   }
	/* its successor finds the queue in shared memory */
	:: atomic {
		resolver_crashes < RESOLVER_CRASHES ->
		resolver_crashes++;
		forget_rotation();
		resolver_dies = true
	   }
	od
}

/* ---------------------------------------------------------------- claims */

#define SETTLED(t) ((branch[B(t, 0)] != PREPARED) && (branch[B(t, 1)] != PREPARED) && \
	(!decided[t] || (branch[B(t, 0)] == COMMITTED && branch[B(t, 1)] == COMMITTED)))

/* Nothing else can happen: then nothing may be left. */
proctype Judge()
{
	timeout ->
	assert(SETTLED(0));
#if TRANSACTIONS > 1
	assert(SETTLED(1));
#endif
}

init
{
	atomic {
		run Participant(0);
		run Participant(1);
		run Resolver();
		run Faults();
#ifndef PROGRESS
		run Judge();
#endif
		run Backend(0);
#if TRANSACTIONS > 1
		run Backend(1)
#endif
	}
}

#ifdef PROGRESS
ltl settled { [] (decided[0] -> <> (branch[B(0, 0)] == COMMITTED && branch[B(0, 1)] == COMMITTED)) }
ltl not_stuck { [] (branch[B(0, 0)] == PREPARED -> <> (branch[B(0, 0)] != PREPARED)) }
#endif
