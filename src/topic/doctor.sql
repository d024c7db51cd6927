
-- ---------------------------------------------------------------- topics: doctor

CREATE FUNCTION braid_internal.topic_problem() RETURNS text
AS 'MODULE_PATHNAME', 'braid_sql_topic_problem' LANGUAGE C VOLATILE STRICT;
REVOKE ALL ON FUNCTION braid_internal.topic_problem() FROM PUBLIC;
COMMENT ON FUNCTION braid_internal.topic_problem() IS 'Why no worker rotates the topics of this database; null if one does, or if nothing is wrong.';

-- Of each topic the oldest messages that should have gone for long, and who keeps them. A topic gives way by its
-- oldest segment first, so nothing behind that matters.
CREATE FUNCTION braid_internal.topic_stuck_segments(patience interval, OUT topic regclass, OUT segment regclass, OUT since timestamptz,
	OUT is_open boolean, OUT held_by text, OUT locked_by text)
RETURNS SETOF record
LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
	WITH used AS (
		SELECT s.topic, s.sealed, s.opened, braid_internal.segment_name(s.topic, false, s.number) AS name,
			lead(s.opened) OVER (PARTITION BY s.topic ORDER BY s.opened) AS closed
		FROM braid_internal.topic_segments s
		WHERE NOT s.is_keys AND s.opened IS NOT NULL
	), sizes AS (
		SELECT u.topic, sum(pg_total_relation_size(u.name)) AS bytes FROM used u GROUP BY u.topic
	), oldest AS (
		SELECT DISTINCT ON (u.topic) u.* FROM used u WHERE u.closed IS NOT NULL ORDER BY u.topic, u.opened
	), stuck AS (
		SELECT t.id, t.view, o.name, o.sealed IS NULL AS is_open, t.partitions, h.is_held AND braid_internal.segment_last_xid(o.name, t.partitions) >= h.xid AS is_held,
			CASE WHEN o.sealed IS NULL THEN o.closed ELSE o.sealed + coalesce(t.retain, '0') END AS since,
			t.retain IS NULL AND t.retain_size IS NULL AS is_kept_by_groups, h.is_held AS has_groups, z.bytes > t.retain_size AS is_large, t.retain IS NOT NULL AS is_timed
		FROM oldest o JOIN braid_internal.topics t ON t.id = o.topic JOIN sizes z ON z.topic = t.id
			CROSS JOIN LATERAL braid_internal.topic_hold(t.id) h
	)
	SELECT s.view, s.name, s.since, s.is_open,
		CASE WHEN s.is_held THEN coalesce((SELECT string_agg(format('%I', g.name), ', ' ORDER BY g.name)
			FROM braid_internal.groups g
			WHERE g.topic = s.id AND g.holds AND (g.is_work OR EXISTS (SELECT FROM generate_series(0, s.partitions - 1) p (part),
				braid_internal.group_position(s.id, g.id, p.part) n WHERE n.oldest < clock_timestamp() - patience))), 'a group') END,
		(SELECT string_agg(DISTINCT coalesce('process ' || l.pid, 'a prepared transaction'), ', ')
			FROM pg_locks l
			WHERE l.locktype = 'relation' AND l.relation = s.name AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
				AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()))
	FROM stuck s
	WHERE s.since < clock_timestamp() - patience
		AND (s.is_open OR s.is_large OR s.is_timed OR (s.is_kept_by_groups AND s.has_groups AND NOT s.is_held))
$$;
REVOKE ALL ON FUNCTION braid_internal.topic_stuck_segments(interval) FROM PUBLIC;
COMMENT ON FUNCTION braid_internal.topic_stuck_segments(interval) IS
'Topics whose oldest closed segment should have been sealed (is_open), or emptied, for longer than patience: since when, for which groups it is kept, and who has it locked.';

CREATE FUNCTION braid_internal.topic_checkup_topics(patience interval, OUT item text, OUT status text, OUT detail text, OUT advice text)
RETURNS SETOF record
LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
	SELECT 'topic worker', 'error', problem,
		'See the server log for messages of "braid topic"; raise "max_worker_processes" and "braid.max_workers" if there is no room for it.'
	FROM braid_internal.topic_problem() problem
	WHERE problem IS NOT NULL AND EXISTS (SELECT FROM braid_internal.topics)
	UNION ALL
	SELECT format('topic %s', s.topic), 'warning', c.detail, c.advice
	FROM braid_internal.topic_stuck_segments(patience) s CROSS JOIN LATERAL (VALUES
		(CASE WHEN s.is_open THEN 'open' WHEN s.held_by IS NOT NULL THEN 'held' ELSE 'locked' END)) k (kind)
		JOIN LATERAL (VALUES
		('open', format('%s cannot be closed since %s: it is locked by %s', s.segment, date_trunc('second', s.since), coalesce(s.locked_by, 'somebody who has just let go of it')),
			'A transaction that has sent, or reads, is still open: see pg_stat_activity and pg_prepared_xacts, and end it.'),
		('held', format('messages are kept beyond their time since %s, for consumer group %s', date_trunc('second', s.since), s.held_by),
			'Let the group read on; or give up what it has not read, with braid.alter_group(topic, group_name, holds => false) or braid.drop_group().'),
		('locked', format('messages that nobody wants any more are kept since %s: %s is locked by %s', date_trunc('second', s.since), s.segment,
				coalesce(s.locked_by, 'somebody who has just let go of it')),
			'A transaction that has read them is still open: see pg_stat_activity and pg_prepared_xacts, and end it.')
		) c (kind, detail, advice) USING (kind)
$$;
REVOKE ALL ON FUNCTION braid_internal.topic_checkup_topics(interval) FROM PUBLIC;
COMMENT ON FUNCTION braid_internal.topic_checkup_topics(interval) IS 'Topics that an operator should look at: they are not rotated, or keep what should have gone.';

-- A group at the source of a relay bears its name, and is moved from there.
CREATE FUNCTION braid_internal.topic_checkup_groups(patience interval, OUT item text, OUT status text, OUT detail text, OUT advice text)
RETURNS SETOF record
LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
	SELECT format('consumer group %s of %s', g.name, t.view), 'warning',
		format('it is %s behind', date_trunc('second', clock_timestamp() - l.oldest)),
		CASE WHEN g.name LIKE 'relay %' THEN 'The server that relays the topic is away, or slow: see braid.relays there. If it is gone for good, drop the group.'
			ELSE 'See braid.group_positions for where it stands, and who has taken what; more consumers help as long as they are fewer than partitions.' END
	FROM braid_internal.groups g JOIN braid_internal.topics t ON t.id = g.topic
		CROSS JOIN LATERAL (SELECT min(n.oldest) AS oldest FROM generate_series(0, t.partitions - 1) p (part),
			braid_internal.group_position(t.id, g.id, p.part) n) l
	WHERE NOT g.is_work AND l.oldest < clock_timestamp() - patience
	UNION ALL
	SELECT format('consumer group %s of %s', g.name, t.view), 'warning',
		format('%s dead letters, the last one of %s', d.n, date_trunc('second', d.died_at)),
		format('See braid.dead_letters for why, and mend that; then braid.redeliver(%L, %L) gives them back. braid.discard_dead_letters() deletes them.', t.view, g.name)
	FROM (SELECT group_id, count(*) AS n, max(died_at) AS died_at FROM braid_internal.dead_letters GROUP BY group_id) d
		JOIN braid_internal.groups g ON g.id = d.group_id JOIN braid_internal.topics t ON t.id = g.topic
$$;
REVOKE ALL ON FUNCTION braid_internal.topic_checkup_groups(interval) FROM PUBLIC;
COMMENT ON FUNCTION braid_internal.topic_checkup_groups(interval) IS 'Consumer groups that an operator should look at: they are far behind, or have dead letters.';

CREATE FUNCTION braid_internal.topic_checkup_relays(patience interval, OUT item text, OUT status text, OUT detail text, OUT advice text)
RETURNS SETOF record
LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp
AS $$
	SELECT format('relay %s', r.relay), c.fault, c.detail, coalesce(r.advice, c.advice)
	FROM braid.relays r CROSS JOIN LATERAL (VALUES
		('stopped', interval '0', 'error', format('it has stopped: %s', r.reason), 'See braid.relays.'),
		('failing', '0', 'warning', format('it fails since %s: %s', date_trunc('second', r.since), r.reason), 'See braid.relays.'),
		('connecting', patience, 'warning', format('it has not been connected since %s: %s', date_trunc('second', r.since), coalesce(r.reason, 'the source has not answered yet')),
			'See the server logs of both sides.'),
		('held', patience, 'warning', format('it is held back since %s: %s', date_trunc('second', r.since), r.reason), 'See braid.relays.'),
		('dropping', patience, 'warning', format('it is to be dropped since %s: %s', date_trunc('second', r.since), coalesce(r.reason, 'the source has not answered yet')), 'See braid.relays.'),
		('paused', '1 day', 'warning', format('it is paused since %s', date_trunc('second', r.since)), 'Resume it, or drop it.'),
		('streaming', NULL, 'warning', format('it is %s behind', date_trunc('second', r.lag)),
			'See pg_stat_activity for what its worker "braid relay" does, and waits for; other relays into this database share it.')
	) c (state, after, fault, detail, advice)
	WHERE c.state = r.state AND CASE WHEN c.after IS NULL THEN r.lag > patience ELSE r.since <= clock_timestamp() - c.after END
$$;
REVOKE ALL ON FUNCTION braid_internal.topic_checkup_relays(interval) FROM PUBLIC;
COMMENT ON FUNCTION braid_internal.topic_checkup_relays(interval) IS 'Relays that an operator should look at.';

-- As its owner, since who watches may count messages without being allowed to read them.
CREATE FUNCTION braid_internal.topic_checkup(OUT item text, OUT status text, OUT detail text, OUT advice text)
RETURNS SETOF record
LANGUAGE plpgsql VOLATILE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	patience CONSTANT interval := current_setting('braid.topic_lag_alarm');
	kind record;
	answer record;
	troubles int;
BEGIN
	-- A standby has what its primary has written, and nobody at work.
	IF pg_is_in_recovery() THEN
		RETURN;
	END IF;
	FOR kind IN SELECT * FROM (VALUES
		('topics', (SELECT count(*) FROM braid_internal.topics)),
		('groups', (SELECT count(*) FROM braid_internal.groups)),
		('relays', (SELECT count(*) FROM braid_internal.relays))) k (name, n) WHERE n > 0
	LOOP
		troubles := 0;
		FOR answer IN EXECUTE format('SELECT * FROM braid_internal.topic_checkup_%s($1)', kind.name) USING patience LOOP
			troubles := troubles + 1;
			item := answer.item;
			status := answer.status;
			detail := answer.detail;
			advice := answer.advice;
			RETURN NEXT;
		END LOOP;
		IF troubles = 0 THEN
			item := CASE kind.name WHEN 'groups' THEN 'consumer groups' ELSE kind.name END;
			status := 'ok';
			detail := format('%s, none in trouble', kind.n);
			advice := NULL;
			RETURN NEXT;
		END IF;
	END LOOP;
END
$$;
REVOKE ALL ON FUNCTION braid_internal.topic_checkup() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION braid_internal.topic_checkup() TO pg_monitor, braid_operator;
COMMENT ON FUNCTION braid_internal.topic_checkup() IS
'Topics, consumer groups and relays of this database that an operator should look at, with what is seen and what to do';
