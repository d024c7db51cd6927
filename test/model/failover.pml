/*
 * failover.pml
 *	  Fail-over of a coordinator: a synchronous standby is promoted, the old
 *	  primary comes back.  For spin; see README.md.
 *
 * Coordinator 0 runs transaction 0 until it dies; its standby, 1, is promoted,
 * takes the participants over one by one and runs transaction 1; then 0 comes
 * back.  Both have one identity.  A participant keeps the highest epoch that has
 * claimed it, durably, and lets one of them hold it at a time: while the
 * connection stands, which may be lost at any time.
 *
 * Claims: the branches of a transaction have one outcome, what was told is not
 * contradicted, and in the end nothing is prepared and what was told is there.
 *
 * What the operator owes, and what spin finds if he does not:
 *	  ASYNC				the standby does not have what was told
 *	  RETURN_EARLY		the old primary comes back before the new one has claimed
 *						every participant
 * What the protocol owes, likewise:
 *	  NO_EPOCH			participants do not remember who has taken over
 *	  NO_FENCE			two may hold a participant
 *
 * -DPARTITION lets the standby be promoted while the old primary lives: that is
 * safe too, as long as the old one waits for the standby's acknowledgement.
 */
#define B(t, p) ((t) * 2 + (p))
#define D(c, t) ((c) * 2 + (t))

mtype = { NONE, OPEN, PREPARED, COMMITTED, ABORTED };
mtype = { NOTHING, COMMIT, ROLLBACK };

mtype branch[4] = NONE;
bool row[4];				/* D(c, t): coordinator c has the decision of t */
byte epoch[2];				/* of the participants, durable */
bool held[4];				/* D(c, p): c's resolver holds p */
bool sent[4];				/* to be prepared */
mtype command[8] = NOTHING;	/* 4 * c + B(t, p): from the resolver of c */
bool up[2];
bool promoted = false;
bool died = false;
bool returned = false;
bool under_way[2];				/* transaction t is active in memory at coordinator t */
byte losses = 0;
mtype told[2] = NOTHING;

#define EPOCH_OF(c) (c)
#define IN_FLIGHT(c, p) (command[4 * (c) + B(0, p)] != NOTHING || command[4 * (c) + B(1, p)] != NOTHING)
#define HOLDS_BOTH(c) (held[D(c, 0)] && held[D(c, 1)])

#ifdef NO_EPOCH
#define SUPERSEDED(c, p) false
#else
#define SUPERSEDED(c, p) (epoch[p] > EPOCH_OF(c))
#endif
#ifdef NO_FENCE
#define FENCED(c, p) false
#else
#define FENCED(c, p) (held[D(1 - (c), p)] || IN_FLIGHT(1 - (c), p))
#endif

/* A client's backend at coordinator c; transaction c. */
proctype Backend(byte c)
{
	{
		skip;
end_idle:
		atomic {
			(up[c] && HOLDS_BOTH(c) && (c == 0 || promoted)) ->
			under_way[c] = true;
			branch[B(c, 0)] = OPEN;
			branch[B(c, 1)] = OPEN
		};
		atomic { sent[B(c, 0)] = true; sent[B(c, 1)] = true };
		if
		:: branch[B(c, 0)] == PREPARED && branch[B(c, 1)] == PREPARED
		:: goto abort
		fi;
		row[D(c, c)] = true;
		/* the acknowledgement of the synchronous standby */
#ifndef ASYNC
end_unacknowledged:
		(c == 1 || row[D(1, 0)]);
#endif
		under_way[c] = false;
		told[c] = COMMIT;
		goto done;
abort:
		under_way[c] = false;
		told[c] = ROLLBACK
	} unless { died && c == 0 };
done:
	atomic { under_way[c] = false }
}

inline execute(c, t, p)
{
	if
	:: command[4 * c + B(t, p)] == COMMIT && branch[B(t, p)] == PREPARED ->
		assert(branch[B(t, 1 - p)] != ABORTED && told[t] != ROLLBACK);
		branch[B(t, p)] = COMMITTED
	:: command[4 * c + B(t, p)] == ROLLBACK && branch[B(t, p)] == PREPARED ->
		assert(branch[B(t, 1 - p)] != COMMITTED && told[t] != COMMIT);
		branch[B(t, p)] = ABORTED
	:: else
	fi;
	command[4 * c + B(t, p)] = NOTHING
}

/* PREPARE may come late, also when its coordinator has died; or never. */
proctype Participant(byte p)
{
end:
	do
	:: atomic { sent[B(0, p)] -> sent[B(0, p)] = false;
		if :: branch[B(0, p)] = PREPARED :: branch[B(0, p)] = ABORTED fi }
	:: atomic { sent[B(1, p)] -> sent[B(1, p)] = false;
		if :: branch[B(1, p)] = PREPARED :: branch[B(1, p)] = ABORTED fi }
	:: command[B(0, p)] != NOTHING -> atomic { execute(0, 0, p) }
	:: command[B(1, p)] != NOTHING -> atomic { execute(0, 1, p) }
	:: command[4 + B(0, p)] != NOTHING -> atomic { execute(1, 0, p) }
	:: command[4 + B(1, p)] != NOTHING -> atomic { execute(1, 1, p) }
	od
}

/* What coordinator c's resolver finds prepared, not active, it settles. */
#define MAY_SETTLE(c, t, p) (up[c] && held[D(c, p)] && branch[B(t, p)] == PREPARED && \
	!(t == c && under_way[t]) && command[4 * (c) + B(t, p)] == NOTHING)

inline settle(c, t, p)
{
	if
	:: row[D(c, t)] -> command[4 * c + B(t, p)] = COMMIT
	:: else -> command[4 * c + B(t, p)] = ROLLBACK
	fi
}

#define MAY_CLAIM(c, p) (up[c] && (c == 0 || promoted) && !held[D(c, p)] && !SUPERSEDED(c, p) && !FENCED(c, p))

proctype Resolver(byte c)
{
end:
	do
	:: atomic { MAY_CLAIM(c, 0) -> held[D(c, 0)] = true; epoch[0] = EPOCH_OF(c) }
	:: atomic { MAY_CLAIM(c, 1) -> held[D(c, 1)] = true; epoch[1] = EPOCH_OF(c) }
	:: atomic { MAY_SETTLE(c, 0, 0) -> settle(c, 0, 0) }
	:: atomic { MAY_SETTLE(c, 0, 1) -> settle(c, 0, 1) }
	:: atomic { MAY_SETTLE(c, 1, 0) -> settle(c, 1, 0) }
	:: atomic { MAY_SETTLE(c, 1, 1) -> settle(c, 1, 1) }
	od
}

proctype World()
{
end:
	do
	/* replication, while both are as they were */
	:: atomic { up[0] && !promoted && row[D(0, 0)] && !row[D(1, 0)] -> row[D(1, 0)] = true }
	:: atomic { up[0] && !died -> up[0] = false; died = true }
	/* participants notice the death of a connection's other end in their time */
	:: atomic { !up[0] && held[D(0, 0)] -> held[D(0, 0)] = false }
	:: atomic { !up[0] && held[D(0, 1)] -> held[D(0, 1)] = false }
	/* a participant restarts, or a connection breaks */
	:: atomic { losses < 2 && (held[D(0, 0)] || held[D(1, 0)]) -> losses++; held[D(0, 0)] = false; held[D(1, 0)] = false }
	:: atomic { losses < 2 && (held[D(0, 1)] || held[D(1, 1)]) -> losses++; held[D(0, 1)] = false; held[D(1, 1)] = false }
#ifdef PARTITION
	:: atomic { !promoted -> promoted = true; up[1] = true }
#else
	:: atomic { died && !returned && !promoted -> promoted = true; up[1] = true }
#endif
#ifdef RETURN_EARLY
	:: atomic { promoted && died && !returned -> returned = true; up[0] = true }
#else
	:: atomic { promoted && died && !returned && epoch[0] == EPOCH_OF(1) && epoch[1] == EPOCH_OF(1) ->
		returned = true; up[0] = true }
#endif
	od
}

#define SETTLED(t) (branch[B(t, 0)] != PREPARED && branch[B(t, 1)] != PREPARED && \
	(told[t] != COMMIT || (branch[B(t, 0)] == COMMITTED && branch[B(t, 1)] == COMMITTED)))

proctype Judge()
{
	timeout -> assert(SETTLED(0) && SETTLED(1))
}

init
{
	atomic {
		up[0] = true;
		run Participant(0);
		run Participant(1);
		run Resolver(0);
		run Resolver(1);
		run World();
		run Judge();
		run Backend(0);
		run Backend(1)
	}
}
