
-- ---------------------------------------------------------------- xa: heuristic outcomes and the operator

-- ---- participant

CREATE TABLE braid_internal.interventions (
	gid text PRIMARY KEY,
	xid xid8 NOT NULL,
	outcome text NOT NULL CHECK (outcome IN ('commit', 'rollback')),
	decided_by text NOT NULL,
	decided_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
REVOKE ALL ON braid_internal.interventions FROM PUBLIC;
COMMENT ON TABLE braid_internal.interventions IS
'Participants: branches that somebody other than their coordinator wanted to finish, until the coordinator has no use for that any more; see intervention.c';

CREATE FUNCTION braid_internal.full_xid(xid) RETURNS xid8
AS 'MODULE_PATHNAME', 'braid_sql_full_xid' LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION braid_internal.full_xid(xid) IS
'The id, with its epoch, of a transaction that is in progress or prepared';

CREATE FUNCTION braid_internal.finish_branch(gid text, commit bool, who name) RETURNS void
AS 'MODULE_PATHNAME', 'braid_sql_finish_branch' LANGUAGE C VOLATILE STRICT;
REVOKE ALL ON FUNCTION braid_internal.finish_branch(text, bool, name) FROM PUBLIC;
COMMENT ON FUNCTION braid_internal.finish_branch(text, bool, name) IS
'Records that the role wants so, and finishes a branch that is prepared here, at once and whatever becomes of the current transaction; 22023, 42704, 55000, 53400.';

CREATE FUNCTION braid_internal.branches_of(coordinator_prefix text,
	OUT gid text, OUT prepared bigint, OUT xid xid8, OUT locks bigint, OUT xid_age int, OUT status text,
	OUT outcome text, OUT decided_by text, OUT decided_at bigint)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- A prepared transaction has the virtual one of the session that prepared it,
	-- and no process. Locks are looked at only if something is prepared for long.
	RETURN QUERY
		WITH p AS MATERIALIZED (
			SELECT p.gid, p.prepared, p.transaction FROM pg_prepared_xacts p
			WHERE p.database = current_database() AND starts_with(p.gid, coordinator_prefix)
		), l AS MATERIALIZED (
			SELECT l.virtualtransaction, l.transactionid FROM pg_locks l
			WHERE l.pid IS NULL
				AND (SELECT min(p.prepared) < clock_timestamp() - interval '1 second' FROM p)
		), n AS (
			SELECT l.virtualtransaction, count(*) AS locks FROM l GROUP BY 1
		)
		SELECT p.gid, (extract(epoch FROM p.prepared) * 1000000)::bigint, braid_internal.full_xid(p.transaction),
			n.locks, age(p.transaction), NULL::text, NULL::text, NULL::text, NULL::bigint
		FROM p LEFT JOIN l ON l.transactionid = p.transaction
			LEFT JOIN n ON n.virtualtransaction = l.virtualtransaction;

	-- After that, with a new snapshot: whoever finishes a branch by hand commits its
	-- row before, so what has just gone from the list above is seen here.
	RETURN QUERY
		SELECT i.gid, NULL::bigint, i.xid, NULL::bigint, NULL::int, pg_xact_status(i.xid),
			i.outcome, i.decided_by, (extract(epoch FROM i.decided_at) * 1000000)::bigint
		FROM braid_internal.interventions i WHERE starts_with(i.gid, coordinator_prefix);
END
$$;
REVOKE ALL ON FUNCTION braid_internal.branches_of(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION braid_internal.branches_of(text) TO braid_resolver;
COMMENT ON FUNCTION braid_internal.branches_of(text) IS
'For resolvers: the branches of a coordinator that are prepared here and, after that, those finished by hand. Needs READ COMMITTED. Times in microseconds since 1970.';

CREATE FUNCTION braid_internal.branch_fate(branch text, known_xid xid8,
	OUT gid text, OUT prepared bigint, OUT xid xid8, OUT locks bigint, OUT xid_age int, OUT status text,
	OUT outcome text, OUT decided_by text, OUT decided_at bigint)
RETURNS record
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT branch, NULL::bigint, coalesce(i.xid, known_xid), NULL::bigint, NULL::int,
		pg_xact_status(coalesce(i.xid, known_xid)),
		i.outcome, i.decided_by, (extract(epoch FROM i.decided_at) * 1000000)::bigint
	FROM (SELECT) one LEFT JOIN braid_internal.interventions i ON i.gid = branch
$$;
REVOKE ALL ON FUNCTION braid_internal.branch_fate(text, xid8) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION braid_internal.branch_fate(text, xid8) TO braid_resolver;
COMMENT ON FUNCTION braid_internal.branch_fate(text, xid8) IS
'For resolvers: what is known of a branch that is not prepared here. The xid is null if the resolver has never seen the branch; columns as in branches_of().';

CREATE FUNCTION braid_internal.forget_intervention(branch text) RETURNS void
LANGUAGE sql VOLATILE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ DELETE FROM braid_internal.interventions WHERE gid = branch $$;
REVOKE ALL ON FUNCTION braid_internal.forget_intervention(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION braid_internal.forget_intervention(text) TO braid_resolver;
COMMENT ON FUNCTION braid_internal.forget_intervention(text) IS
'For resolvers: removes what was recorded about finishing a branch by hand.';

CREATE FUNCTION braid_internal.coordinator_is_connected(coordinator text) RETURNS bool
LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$ SELECT EXISTS (SELECT FROM pg_stat_activity
	WHERE datname = current_database() AND application_name = 'braid resolver ' || coordinator) $$;
REVOKE ALL ON FUNCTION braid_internal.coordinator_is_connected(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION braid_internal.coordinator_is_connected(text) TO pg_monitor, braid_operator;
COMMENT ON FUNCTION braid_internal.coordinator_is_connected(text) IS
'Is a resolver of the coordinator with this identity (16 hexadecimal digits) connected to this database?';

CREATE VIEW braid.branches AS
	WITH prepared AS (
		SELECT p.gid, pg_catalog.split_part(p.gid, ':', 2) AS coordinator, p.owner, p.prepared, p.transaction
		FROM pg_catalog.pg_prepared_xacts p
		WHERE p.database = pg_catalog.current_database() AND p.gid ~ '^braid:[0-9a-f]{16}:\d+:\d+:\d+$'
	), all_locks AS MATERIALIZED (
		SELECT l.*, pg_catalog.concat_ws(',', l.locktype, l.database, coalesce(l.relation::text, '-'),
			coalesce(l.page::text, '-'), coalesce(l.tuple::text, '-'), coalesce(l.transactionid::text, '-'),
			coalesce(l.classid::text, '-'), coalesce(l.objid::text, '-'), coalesce(l.objsubid::text, '-')) AS object
		FROM pg_catalog.pg_locks l WHERE EXISTS (SELECT FROM prepared)
	), held AS (
		SELECT x.transactionid AS transaction, l.relation, l.database, l.object
		FROM all_locks x JOIN all_locks l ON l.virtualtransaction = x.virtualtransaction AND l.pid IS NULL
		WHERE x.pid IS NULL AND x.locktype = 'transactionid'
	), waiting AS MATERIALIZED (
		SELECT w.pid, w.object FROM all_locks w
		WHERE NOT w.granted AND 0 = ANY (pg_catalog.pg_blocking_pids(w.pid))
	), looked_at AS (
		SELECT p.*, braid_internal.coordinator_is_connected(p.coordinator) AS connected,
			(SELECT pg_catalog.count(*) FROM held h WHERE h.transaction = p.transaction) AS locks,
			ARRAY(SELECT DISTINCT h.relation::regclass::text FROM held h
				JOIN pg_catalog.pg_class c ON c.oid = h.relation AND c.relnamespace <> 'braid_internal'::regnamespace
				WHERE h.transaction = p.transaction ORDER BY 1) AS relations,
			ARRAY(SELECT DISTINCT w.pid FROM held h JOIN waiting w ON w.object = h.object
				WHERE h.transaction = p.transaction ORDER BY 1) AS blocked
		FROM prepared p
	)
	SELECT p.gid, p.coordinator, p.connected AS coordinator_connected, 'prepared' AS state, p.owner,
		p.prepared, pg_catalog.clock_timestamp() - p.prepared AS age,
		p.locks AS locks_held, p.relations, p.blocked AS blocked_pids, pg_catalog.age(p.transaction) AS xmin_age,
		NULL::text AS decided_by, NULL::timestamptz AS decided_at,
		CASE WHEN p.connected THEN
			CASE WHEN p.prepared < pg_catalog.clock_timestamp() - interval '10 seconds' THEN
				'Its coordinator is connected and finishes it as soon as it has decided. See braid.transactions there.' END
		ELSE pg_catalog.format('Its coordinator is not connected. Bring the coordinator or a standby of it back: then this branch is finished without you. '
			'Only if the coordinator is lost for good, run SELECT * FROM braid.xa_rollback(%L) or SELECT * FROM braid.xa_commit(%L), '
			'and do the same on every other server that has a branch of this transaction.', p.gid, p.gid)
		END AS advice
	FROM looked_at p
	UNION ALL
	SELECT i.gid, pg_catalog.split_part(i.gid, ':', 2),
		braid_internal.coordinator_is_connected(pg_catalog.split_part(i.gid, ':', 2)),
		CASE pg_catalog.pg_xact_status(i.xid) WHEN 'committed' THEN 'heuristically committed'
			WHEN 'aborted' THEN 'heuristically rolled back' ELSE 'heuristic hazard' END,
		NULL, NULL, NULL, 0, '{}', '{}', NULL, i.decided_by, i.decided_at,
		CASE WHEN braid_internal.coordinator_is_connected(pg_catalog.split_part(i.gid, ':', 2))
			THEN pg_catalog.format('Its coordinator knows of this. Run SELECT braid.xa_forget(%L) there when you have dealt with it.', i.gid)
			ELSE pg_catalog.format('Its coordinator will learn of this when it is back. Only if the coordinator is lost for good, run SELECT braid.xa_forget(%L) here.', i.gid)
		END
	FROM braid_internal.interventions i
	WHERE i.gid NOT IN (SELECT p.gid FROM prepared p)
		AND i.outcome = coalesce(CASE pg_catalog.pg_xact_status(i.xid)
			WHEN 'committed' THEN 'commit' WHEN 'aborted' THEN 'rollback' END, i.outcome);
REVOKE ALL ON braid.branches FROM PUBLIC;
GRANT SELECT ON braid.branches TO pg_monitor, braid_operator;
COMMENT ON VIEW braid.branches IS
'Participants: branches of transactions that other servers coordinate, in this database: prepared ones with what they hold and whom they block, and those that were finished by hand until they are forgotten; each with what to do';

-- ---- coordinator

CREATE TABLE braid_internal.heuristics (
	gid text NOT NULL,
	branch int NOT NULL,
	server oid NOT NULL,
	server_name text NOT NULL,
	decision text NOT NULL CHECK (decision IN ('commit', 'rollback')),
	outcome text NOT NULL CHECK (outcome IN ('commit', 'rollback', 'unknown')),
	decided_by text,
	decided_at timestamptz,
	detected timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	servers oid[],
	forgotten bool NOT NULL DEFAULT false,
	PRIMARY KEY (gid, branch)
);
REVOKE ALL ON braid_internal.heuristics FROM PUBLIC;
COMMENT ON TABLE braid_internal.heuristics IS
'Coordinators: branches that were finished by hand, until braid.xa_forget() and until the participant has forgotten them too; see heuristic.c';

CREATE FUNCTION braid_internal.new_identity() RETURNS void
LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
	UPDATE braid_internal.coordinator SET id = braid_internal.random_id(), system_identifier = NULL;
	TRUNCATE braid_internal.decisions_0, braid_internal.decisions_1, braid_internal.heuristics;
	-- its successor waits for our commit, and takes the new identity
	SELECT pg_terminate_backend(pid) FROM pg_stat_activity
	WHERE backend_type = 'braid resolver' AND datname = current_database();
$$;
REVOKE ALL ON FUNCTION braid_internal.new_identity() FROM PUBLIC;
COMMENT ON FUNCTION braid_internal.new_identity() IS
'For a clone that shall coordinate transactions of its own: gives it another identity. It forgets the transactions of the original, which stay the original''s business.';

CREATE FUNCTION braid_internal.judge_branch(branch_gid text, asked_server oid, status text,
	wanted text, who text, wanted_at_us text) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	transaction_gid text := regexp_replace(branch_gid, ':\d+$', '');
	branch_number int := substring(branch_gid FROM '\d+$')::int;
	all_servers oid[];
	decided text;
	actual text := CASE status WHEN 'committed' THEN 'commit' WHEN 'aborted' THEN 'rollback' END;
	by_whom text;
	name_of_server text;
	kept record;
BEGIN
	SELECT h.forgotten, h.decision, h.outcome INTO kept
		FROM braid_internal.heuristics h WHERE h.gid = transaction_gid AND h.branch = branch_number;
	IF FOUND THEN
		RETURN CASE WHEN kept.forgotten THEN 'void' WHEN kept.outcome = 'unknown' THEN 'unknown'
			WHEN kept.outcome = kept.decision THEN 'agrees' ELSE 'contradicts' END;
	END IF;
	IF status = 'in progress' THEN
		RETURN 'under way';
	END IF;
	IF actual IS NULL AND wanted IS NULL THEN
		RETURN 'none';
	END IF;

	SELECT d.servers INTO all_servers FROM braid_internal.decisions d WHERE d.gid = transaction_gid LIMIT 1;
	decided := CASE WHEN FOUND THEN 'commit' ELSE 'rollback' END;
	IF actual = decided AND actual IS DISTINCT FROM wanted THEN
		RETURN CASE WHEN wanted IS NULL THEN 'none' ELSE 'void' END;
	END IF;
	IF actual IS NULL OR actual = wanted THEN
		by_whom := who;
	END IF;
	asked_server := coalesce(all_servers[branch_number + 1], asked_server);
	SELECT s.srvname INTO name_of_server FROM pg_foreign_server s WHERE s.oid = asked_server;
	INSERT INTO braid_internal.heuristics (gid, branch, server, server_name, decision, outcome, decided_by, decided_at, servers)
		VALUES (transaction_gid, branch_number, asked_server, coalesce(name_of_server, '(dropped)'), decided,
			coalesce(actual, 'unknown'), by_whom,
			CASE WHEN by_whom IS NOT NULL THEN timestamptz 'epoch' + wanted_at_us::bigint * interval '1 microsecond' END,
			all_servers);
	PERFORM braid_internal.xa_count_heuristic(decided, coalesce(actual, 'unknown'));
	IF actual = decided THEN
		RAISE LOG 'heuristic %: branch "%" on server "%" was finished by hand, as decided', actual, branch_gid, name_of_server;
		RETURN 'agrees';
	END IF;
	RAISE WARNING 'heuristic %: branch "%" on server "%" was finished by hand, and not as decided',
		coalesce(actual, 'hazard'), branch_gid, name_of_server
		USING DETAIL = format('The decision is: %s.', decided), HINT = 'See braid.transactions.';
	RETURN CASE WHEN actual IS NULL THEN 'unknown' ELSE 'contradicts' END;
END
$$;
REVOKE ALL ON FUNCTION braid_internal.judge_branch(text, oid, text, text, text, text) FROM PUBLIC;
COMMENT ON FUNCTION braid_internal.judge_branch(text, oid, text, text, text, text) IS
'For the resolver: what is to be made of a branch that is not prepared any more, given the status of its xid and what somebody wanted by hand (both may be null); keeps a heuristic outcome. See heuristic.c.';

CREATE FUNCTION braid_internal.heuristic_name(outcome text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$ SELECT CASE outcome WHEN 'commit' THEN 'heuristically committed' WHEN 'rollback' THEN 'heuristically rolled back'
	ELSE 'heuristic hazard' END $$;
COMMENT ON FUNCTION braid_internal.heuristic_name(text) IS 'What the state of a branch with this outcome is called.';

CREATE VIEW braid_internal.heuristic_transactions AS
	SELECT h.gid, pg_catalog.min(h.decision) AS decision,
		CASE WHEN pg_catalog.bool_or(h.outcome = 'unknown') THEN 'heuristic hazard'
			WHEN pg_catalog.bool_and(h.outcome = 'commit')
				AND (pg_catalog.min(h.decision) = 'commit'
					OR pg_catalog.count(*) > 1 AND pg_catalog.count(*) = pg_catalog.max(h.branch) + 1)
				THEN 'heuristically committed'
			WHEN pg_catalog.bool_and(h.outcome = 'rollback')
				AND (pg_catalog.min(h.decision) = 'rollback'
					OR pg_catalog.count(*) = pg_catalog.max(pg_catalog.cardinality(h.servers)))
				THEN 'heuristically rolled back'
			ELSE 'heuristically mixed' END AS state,
		pg_catalog.bool_and(h.outcome = h.decision) AS agrees,
		pg_catalog.min(coalesce(h.decided_at, h.detected)) AS started,
		coalesce(pg_catalog.max(h.servers), pg_catalog.array_agg(h.server ORDER BY h.branch)) AS servers,
		pg_catalog.max(h.servers) IS NOT NULL AS servers_known,
		pg_catalog.string_agg(pg_catalog.format('Branch %s on server "%s" was %s by %s%s.', h.branch, h.server_name,
			CASE h.outcome WHEN 'commit' THEN 'committed' WHEN 'rollback' THEN 'rolled back' ELSE 'finished, which way is not known,' END,
			coalesce('role "' || h.decided_by || '"', 'somebody who is not known'),
			pg_catalog.to_char(h.decided_at, '" at "YYYY-MM-DD HH24:MI:SS')), ' ' ORDER BY h.branch) AS story
	FROM braid_internal.heuristics h WHERE NOT h.forgotten
	GROUP BY h.gid;
REVOKE ALL ON braid_internal.heuristic_transactions FROM PUBLIC;
COMMENT ON VIEW braid_internal.heuristic_transactions IS 'Coordinators: transactions with branches that were finished by hand';

-- Beside what is under way in shared memory:
-- - transactions decided before the server started, for servers that were not looked at completely
--   since then; while there are no such servers the decisions, of which there can be very many, are
--   not read;
-- - branches that sweeps have found and could not finish;
-- - heuristic outcomes.
CREATE VIEW braid.transactions AS
	WITH shared AS MATERIALIZED (
		SELECT * FROM braid_internal.xa_transactions()
	), finding AS MATERIALIZED (
		SELECT pg_catalog.regexp_replace(f.branch, ':\d+$', '') AS gid, f.*
		FROM braid_internal.xa_findings() f(branch, server, prepared, state, error, locks, xid_age, seen)
		WHERE f.state IN ('active', 'in doubt')
	), heuristic AS (
		SELECT h.gid, h.state, NULL::int AS pid, h.started, h.servers,
			ARRAY(SELECT coalesce(braid_internal.heuristic_name(b.outcome), t.branch_states[u.i], 'committed')
				FROM pg_catalog.unnest(h.servers) WITH ORDINALITY u(server, i)
				LEFT JOIN braid_internal.heuristics b ON b.gid = h.gid
					AND CASE WHEN h.servers_known THEN b.branch = u.i - 1 ELSE b.server = u.server END
				ORDER BY u.i) AS branch_states,
			coalesce(t.attempts, 0) AS attempts, t.last_error,
			pg_catalog.format(CASE WHEN h.agrees
				THEN '%1$s That is what was decided: nothing is wrong. Run SELECT braid.xa_forget(%2$L) to forget it.'
				ELSE '%1$s The decision is to %3$s, so the servers may disagree. Compare their data, mend it by new transactions, and then run SELECT braid.xa_forget(%2$L).' END,
				h.story, h.gid, CASE h.decision WHEN 'commit' THEN 'commit' ELSE 'roll back' END) AS advice
		FROM braid_internal.heuristic_transactions h LEFT JOIN shared t ON t.gid = h.gid
	), known AS (
		SELECT t.gid, t.state, t.pid, t.started, t.servers, t.branch_states, t.attempts, t.last_error, NULL::text AS advice
		FROM shared t WHERE t.gid NOT IN (SELECT h.gid FROM heuristic h)
		UNION ALL SELECT * FROM heuristic
	), unchecked AS (
		SELECT d.gid, 'unchecked' AS state, NULL::int AS pid, d.decided AS started, d.servers,
			ARRAY(SELECT CASE WHEN n.clean_before IS NULL THEN 'unchecked' ELSE 'committed' END
				FROM pg_catalog.unnest(d.servers) WITH ORDINALITY u(server, i)
				LEFT JOIN braid_internal.xa_nodes() n ON n.server = u.server ORDER BY i) AS branch_states,
			0 AS attempts, NULL::text AS last_error, NULL::text AS advice
		FROM braid_internal.decisions d
		WHERE (SELECT braid_internal.xa_unchecked_servers()) <> '{}'
			AND d.servers && (SELECT braid_internal.xa_unchecked_servers())
			AND d.decided < (SELECT pg_catalog.pg_postmaster_start_time())
			AND d.gid <> ALL (ARRAY(SELECT k.gid FROM known k))
	), orphaned AS (
		SELECT f.gid, 'in doubt' AS state, NULL::int AS pid, pg_catalog.min(f.prepared) AS started,
			pg_catalog.array_agg(f.server ORDER BY f.branch) AS servers,
			pg_catalog.array_agg(f.state ORDER BY f.branch) AS branch_states,
			0 AS attempts, pg_catalog.max(f.error) AS last_error,
			'It is finished as soon as the server lets the resolver do so: see last_error.' AS advice
		FROM finding f
		WHERE f.error IS NOT NULL
			AND f.gid NOT IN (SELECT k.gid FROM known k) AND f.gid NOT IN (SELECT u.gid FROM unchecked u)
		GROUP BY f.gid
	)
	SELECT t.gid, t.state, t.pid, t.started, pg_catalog.clock_timestamp() - t.started AS age,
		ARRAY(SELECT coalesce(s.srvname::text, '(dropped)') FROM pg_catalog.unnest(t.servers) WITH ORDINALITY u(server, i)
			LEFT JOIN pg_catalog.pg_foreign_server s ON s.oid = u.server ORDER BY i) AS servers,
		t.branch_states,
		(SELECT pg_catalog.sum(f.locks)::bigint FROM finding f WHERE f.gid = t.gid) AS locks_held,
		(SELECT pg_catalog.max(f.xid_age) FROM finding f WHERE f.gid = t.gid) AS xmin_age,
		(SELECT pg_catalog.max(f.seen) FROM finding f WHERE f.gid = t.gid) AS seen,
		t.attempts, t.last_error,
		CASE WHEN t.advice IS NOT NULL THEN t.advice
		WHEN t.state IN ('in doubt', 'unchecked') THEN coalesce((
			SELECT pg_catalog.string_agg(pg_catalog.format(
				'Server "%s" is not ready: %s. %s When it is back, the branch there is finished without you; until then it keeps its locks.',
				s.srvname, n.reason, n.hint), ' ')
			FROM unnest(t.servers, t.branch_states) b(server, state)
			JOIN pg_catalog.pg_foreign_server s ON s.oid = b.server
			JOIN braid_internal.xa_nodes() n ON n.server = b.server
			WHERE b.state IN ('in doubt', 'unchecked') AND NOT n.ready),
			pg_catalog.format('Run SELECT * FROM braid.xa_commit(%L) to have it finished now.', t.gid))
		WHEN t.state = 'active' AND t.started < pg_catalog.clock_timestamp() - interval '1 minute' THEN
			pg_catalog.format('It is not decided; the client decides. If the client hangs, run SELECT pg_terminate_backend(%s): an undecided transaction is rolled back then.', t.pid)
		WHEN t.state = 'committing' AND t.started < pg_catalog.clock_timestamp() - interval '1 minute' THEN
			'It is decided, and its branches are being committed. See braid.participants for servers that are slow.'
		END AS advice
	FROM (SELECT * FROM known UNION ALL SELECT * FROM unchecked UNION ALL SELECT * FROM orphaned) t;
REVOKE ALL ON braid.transactions FROM PUBLIC;
GRANT SELECT ON braid.transactions TO pg_monitor, braid_operator;
COMMENT ON VIEW braid.transactions IS
'Global transactions of this database that are not finished on all their servers: active (not decided yet), committing, in doubt (decided here; a server could not be told yet), unchecked (committed here before the last restart; a server could not be asked since then); and those that somebody has finished by hand, until they are forgotten: heuristically committed, heuristically rolled back, heuristically mixed, heuristic hazard. Locks and age of the xmin that prepared branches hold are those that the last look at their servers has seen';

-- ---- what the operator does

CREATE FUNCTION braid_internal.parse_gid(gid text,
	OUT transaction_gid text, OUT coordinator text, OUT branch int, OUT is_ours bool)
LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	parts text[] := regexp_match(gid, '^(braid:([0-9a-f]{16}):\d{1,10}:\d{1,20})(?::(\d{1,9}))?$');
BEGIN
	IF parts IS NULL THEN
		RAISE EXCEPTION '"%" is not the name of a global transaction or of a branch of one', gid
			USING ERRCODE = 'invalid_parameter_value', HINT = 'See braid.transactions and braid.branches.';
	END IF;
	transaction_gid := parts[1];
	coordinator := parts[2];
	branch := parts[3]::int;
	SELECT lpad(to_hex(c.id), 16, '0') = coordinator INTO is_ours FROM braid_internal.coordinator c;
END
$$;
REVOKE ALL ON FUNCTION braid_internal.parse_gid(text) FROM PUBLIC;
COMMENT ON FUNCTION braid_internal.parse_gid(text) IS
'Parts of the name of a global transaction, or of a branch (else null); whether this database coordinates it; 22023.';

CREATE FUNCTION braid_internal.raise_unknown_gid(gid text, detail text) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RAISE EXCEPTION 'global transaction "%" is not known', gid
		USING ERRCODE = 'undefined_object', DETAIL = detail, HINT = 'See braid.transactions and braid.branches.';
END
$$;
REVOKE ALL ON FUNCTION braid_internal.raise_unknown_gid(text, text) FROM PUBLIC;
COMMENT ON FUNCTION braid_internal.raise_unknown_gid(text, text) IS 'Raises 42704.';

CREATE FUNCTION braid_internal.sweep_for_operator(server oid, timeout interval, OUT error text)
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF NOT braid_internal.xa_sweep(server, (extract(epoch FROM timeout) * 1000)::int) THEN
		SELECT coalesce(n.reason, 'it did not answer in time') INTO error
			FROM braid_internal.xa_nodes() n WHERE n.server = sweep_for_operator.server;
		error := coalesce(error, 'the resolver of this database does not run');
	END IF;
END
$$;
REVOKE ALL ON FUNCTION braid_internal.sweep_for_operator(oid, interval) FROM PUBLIC;
COMMENT ON FUNCTION braid_internal.sweep_for_operator(oid, interval) IS
'Has the resolver finish what is left on a server; null, or why that was not possible.';

-- The coordinator's side: branches of a decided transaction.
CREATE FUNCTION braid_internal.finish_decided(wanted text, timeout interval,
	OUT gid text, OUT server name, OUT state text, OUT error text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	name record := braid_internal.parse_gid(wanted);
	deadline timestamptz := clock_timestamp() + timeout;
	all_servers oid[];
	b record;
BEGIN
	SELECT coalesce(
		(SELECT t.servers FROM braid_internal.xa_transactions() t WHERE t.gid = name.transaction_gid),
		(SELECT d.servers FROM braid_internal.decisions d WHERE d.gid = name.transaction_gid LIMIT 1),
		(SELECT max(h.servers) FROM braid_internal.heuristics h WHERE h.gid = name.transaction_gid)) INTO all_servers;
	FOR b IN SELECT u.server, (u.i - 1)::int AS number, s.srvname
			FROM unnest(all_servers) WITH ORDINALITY u(server, i)
			LEFT JOIN pg_foreign_server s ON s.oid = u.server
			WHERE name.branch IS NULL OR name.branch = u.i - 1 ORDER BY u.i
	LOOP
		gid := name.transaction_gid || ':' || b.number;
		server := b.srvname;
		error := braid_internal.sweep_for_operator(b.server, greatest(deadline - clock_timestamp(), interval '0'));
		error := coalesce(error, (SELECT f.error FROM braid_internal.xa_findings() f
			WHERE f.gid = finish_decided.gid AND f.state = 'in doubt'));
		state := coalesce(
			(SELECT braid_internal.heuristic_name(h.outcome) FROM braid_internal.heuristics h
				WHERE h.gid = name.transaction_gid AND h.branch = b.number),
			CASE WHEN error IS NULL THEN 'committed' ELSE 'in doubt' END);
		RETURN NEXT;
	END LOOP;
	IF NOT FOUND THEN
		PERFORM braid_internal.raise_unknown_gid(wanted, 'The transaction has no branch of that number.');
	END IF;
END
$$;
REVOKE ALL ON FUNCTION braid_internal.finish_decided(text, interval) FROM PUBLIC;
COMMENT ON FUNCTION braid_internal.finish_decided(text, interval) IS
'Commits the branches of a transaction that this database has decided to commit; a row for each. 42704.';

-- The coordinator's side: branches of a transaction that is not decided and has ended.
CREATE FUNCTION braid_internal.finish_undecided(wanted text, timeout interval,
	OUT gid text, OUT server name, OUT state text, OUT error text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	name record := braid_internal.parse_gid(wanted);
	deadline timestamptz := clock_timestamp() + timeout;
	not_asked text;
	found_one bool := false;
	node record;
	b record;
BEGIN
	FOR node IN SELECT s.oid, s.srvname FROM braid_internal.xa_nodes() n JOIN pg_foreign_server s ON s.oid = n.server
	LOOP
		error := braid_internal.sweep_for_operator(node.oid, greatest(deadline - clock_timestamp(), interval '0'));
		IF error IS NOT NULL THEN
			not_asked := concat_ws(' ', not_asked, format('Server "%s" could not be asked: %s.', node.srvname, error));
		END IF;
	END LOOP;
	FOR b IN SELECT f.gid, s.srvname, f.state, f.error
			FROM braid_internal.xa_findings() f JOIN pg_foreign_server s ON s.oid = f.server
			WHERE f.gid = wanted OR name.branch IS NULL AND starts_with(f.gid, wanted || ':')
		UNION ALL
		SELECT h.gid || ':' || h.branch, h.server_name, braid_internal.heuristic_name(h.outcome), NULL
			FROM braid_internal.heuristics h
			WHERE h.gid = name.transaction_gid AND h.branch = coalesce(name.branch, h.branch) AND NOT h.forgotten
		ORDER BY 1
	LOOP
		gid := b.gid;
		server := b.srvname;
		state := b.state;
		error := b.error;
		found_one := true;
		RETURN NEXT;
	END LOOP;
	IF NOT found_one THEN
		PERFORM braid_internal.raise_unknown_gid(wanted, coalesce(not_asked, 'No server has a prepared branch of it.'));
	END IF;
	IF not_asked IS NOT NULL THEN
		RAISE WARNING 'not all servers could be asked for branches of "%"', wanted USING DETAIL = not_asked;
	END IF;
END
$$;
REVOKE ALL ON FUNCTION braid_internal.finish_undecided(text, interval) FROM PUBLIC;
COMMENT ON FUNCTION braid_internal.finish_undecided(text, interval) IS
'Rolls back the branches of a transaction that this database has not decided to commit; a row for each. 42704.';

-- The participant's side.
CREATE FUNCTION braid_internal.finish_here(wanted text, commit bool,
	OUT gid text, OUT server name, OUT state text, OUT error text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	name record := braid_internal.parse_gid(wanted);
	found_one bool := false;
	b record;
BEGIN
	FOR b IN SELECT p.gid FROM pg_prepared_xacts p WHERE p.database = current_database()
			AND (p.gid = wanted OR name.branch IS NULL AND starts_with(p.gid, wanted || ':')) ORDER BY p.gid
	LOOP
		IF braid_internal.coordinator_is_connected(name.coordinator) THEN
			RAISE EXCEPTION 'branch "%" cannot be finished here because its coordinator is connected', b.gid
				USING ERRCODE = 'object_in_use',
					DETAIL = 'The coordinator finishes it as soon as it has decided. Finishing it here could contradict the decision.',
					HINT = 'Run braid.xa_commit() or braid.xa_rollback() on the coordinator.';
		END IF;
		PERFORM braid_internal.finish_branch(b.gid, commit, session_user::name);
		gid := b.gid;
		state := braid_internal.heuristic_name(CASE WHEN commit THEN 'commit' ELSE 'rollback' END);
		found_one := true;
		RETURN NEXT;
	END LOOP;
	IF NOT found_one THEN
		PERFORM braid_internal.raise_unknown_gid(wanted,
			'This database does not coordinate it, and no branch of it is prepared here.');
	END IF;
END
$$;
REVOKE ALL ON FUNCTION braid_internal.finish_here(text, bool) FROM PUBLIC;
COMMENT ON FUNCTION braid_internal.finish_here(text, bool) IS
'Finishes branches that are prepared here and whose coordinator is gone; a row for each. 42704, 55006.';

CREATE FUNCTION braid_internal.refuse_active(wanted text) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	t record;
BEGIN
	SELECT x.gid, x.pid INTO t FROM braid_internal.xa_transactions() x
		WHERE x.state = 'active' AND x.gid = (braid_internal.parse_gid(wanted)).transaction_gid;
	IF FOUND THEN
		RAISE EXCEPTION 'global transaction "%" is active', t.gid
			USING ERRCODE = 'object_in_use',
				DETAIL = format('Process %s has not decided it yet.', t.pid),
				HINT = format('Let its client end it, or run SELECT pg_terminate_backend(%s): an undecided transaction is rolled back then.', t.pid);
	END IF;
END
$$;
REVOKE ALL ON FUNCTION braid_internal.refuse_active(text) FROM PUBLIC;
COMMENT ON FUNCTION braid_internal.refuse_active(text) IS 'Raises 55006 if the transaction, or that of the branch, is active.';

CREATE FUNCTION braid_internal.is_decided(wanted text) RETURNS bool
LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
	SELECT EXISTS (SELECT FROM braid_internal.xa_transactions() t WHERE t.gid = n.transaction_gid)
		OR EXISTS (SELECT FROM braid_internal.decisions d WHERE d.gid = n.transaction_gid)
		OR EXISTS (SELECT FROM braid_internal.heuristics h WHERE h.gid = n.transaction_gid AND h.decision = 'commit')
	FROM braid_internal.parse_gid(wanted) n
$$;
REVOKE ALL ON FUNCTION braid_internal.is_decided(text) FROM PUBLIC;
COMMENT ON FUNCTION braid_internal.is_decided(text) IS
'Has this database decided to commit the transaction, which is not active, or that of the branch?';

CREATE FUNCTION braid.xa_commit(gid text, timeout interval DEFAULT '10 seconds',
	OUT branch text, OUT server name, OUT state text, OUT error text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF NOT (braid_internal.parse_gid(gid)).is_ours THEN
		RETURN QUERY SELECT * FROM braid_internal.finish_here(gid, true);
		RETURN;
	END IF;
	PERFORM braid_internal.refuse_active(gid);
	IF NOT braid_internal.is_decided(gid) THEN
		RAISE EXCEPTION 'global transaction "%" cannot be committed because it was not decided to commit', gid
			USING ERRCODE = 'object_not_in_prerequisite_state',
				DETAIL = 'This database has no decision of it: it was rolled back here, or is finished everywhere since some time, or never was.',
				HINT = 'If a server still has a prepared branch of it, braid.xa_rollback() finishes that.';
	END IF;
	RETURN QUERY SELECT * FROM braid_internal.finish_decided(gid, timeout);
END
$$;
REVOKE ALL ON FUNCTION braid.xa_commit(text, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION braid.xa_commit(text, interval) TO braid_operator;
COMMENT ON FUNCTION braid.xa_commit(text, interval) IS
'Commits a global transaction by its gid, or one branch by its own (as xa_commit() of the X/Open XA specification). On the coordinator: has the branches of a transaction that is decided to commit finished now; waits no longer than the time-out. On a participant: commits the branches prepared there if the coordinator is not connected, at once and whatever becomes of the current transaction; the coordinator learns of this heuristic outcome when it is back. Returns each branch, its server (null: this one) and what became of it. 22023 malformed gid, 42704 unknown, 55000 not decided to commit, 55006 active, or the coordinator is connected.';

CREATE FUNCTION braid.xa_rollback(gid text, timeout interval DEFAULT '10 seconds',
	OUT branch text, OUT server name, OUT state text, OUT error text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF NOT (braid_internal.parse_gid(gid)).is_ours THEN
		RETURN QUERY SELECT * FROM braid_internal.finish_here(gid, false);
		RETURN;
	END IF;
	PERFORM braid_internal.refuse_active(gid);
	IF braid_internal.is_decided(gid) THEN
		RAISE EXCEPTION 'global transaction "%" cannot be rolled back because it is decided to commit', gid
			USING ERRCODE = 'object_not_in_prerequisite_state',
				DETAIL = 'It is committed here, and may be on other servers.',
				HINT = 'Run braid.xa_commit() to have it finished now.';
	END IF;
	RETURN QUERY SELECT * FROM braid_internal.finish_undecided(gid, timeout);
END
$$;
REVOKE ALL ON FUNCTION braid.xa_rollback(text, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION braid.xa_rollback(text, interval) TO braid_operator;
COMMENT ON FUNCTION braid.xa_rollback(text, interval) IS
'Rolls back a global transaction by its gid, or one branch by its own (as xa_rollback() of the X/Open XA specification). On the coordinator: has the branches of a transaction that has ended without a decision to commit finished now; waits no longer than the time-out. On a participant: rolls back the branches prepared there if the coordinator is not connected, at once and whatever becomes of the current transaction; the coordinator learns of this heuristic outcome when it is back. Returns each branch, its server (null: this one) and what became of it. 22023 malformed gid, 42704 unknown, 55000 decided to commit, 55006 active, or the coordinator is connected.';

CREATE FUNCTION braid.xa_forget(gid text) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	name record := braid_internal.parse_gid(gid);
BEGIN
	IF name.is_ours THEN
		IF EXISTS (SELECT FROM braid_internal.xa_transactions() t WHERE t.gid = name.transaction_gid) THEN
			RAISE EXCEPTION 'global transaction "%" cannot be forgotten because it is not finished on all servers', gid
				USING ERRCODE = 'object_in_use', HINT = 'See braid.transactions.';
		END IF;
		UPDATE braid_internal.heuristics h SET forgotten = true
			WHERE h.gid = name.transaction_gid AND h.branch = coalesce(name.branch, h.branch) AND NOT h.forgotten;
	ELSE
		IF braid_internal.coordinator_is_connected(name.coordinator) THEN
			RAISE EXCEPTION 'what became of "%" cannot be forgotten here because its coordinator is connected', gid
				USING ERRCODE = 'object_in_use', HINT = 'Run braid.xa_forget() on the coordinator.';
		END IF;
		DELETE FROM braid_internal.interventions i
			WHERE i.gid = xa_forget.gid OR name.branch IS NULL AND starts_with(i.gid, xa_forget.gid || ':');
	END IF;
	IF NOT FOUND THEN
		PERFORM braid_internal.raise_unknown_gid(gid, 'It has no heuristic outcome.');
	END IF;
END
$$;
REVOKE ALL ON FUNCTION braid.xa_forget(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION braid.xa_forget(text) TO braid_operator;
COMMENT ON FUNCTION braid.xa_forget(text) IS
'Forgets the heuristic outcome of a global transaction, or of one branch (as xa_forget() of the X/Open XA specification): on the coordinator, which has the participants forget it too, or on a participant whose coordinator is gone for good. 22023 malformed gid, 42704 no such outcome, 55006 not finished on all servers, or the coordinator is connected.';
