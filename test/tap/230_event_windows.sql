-- What windows are, said in plain SQL: every boundary near a time is looked at, and
-- with a time zone every minute near a boundary. Slow, and nothing to be clever about.
CREATE SCHEMA reference;

-- Boundary number k of a grid.
CREATE FUNCTION reference.boundary(origin timestamp, span interval, k numeric) RETURNS timestamp LANGUAGE sql IMMUTABLE AS
	'SELECT origin + (k * extract(month FROM span) + k * 12 * extract(year FROM span))::int * interval ''1 month''
		+ trunc(k * extract(epoch FROM span - date_trunc(''month'', span)) / 86400)::int * interval ''1 day''
		+ ((k * extract(epoch FROM span - date_trunc(''month'', span))) % 86400) * interval ''1 s''';

-- Those around a time, n before it and n after it.
CREATE FUNCTION reference.grid(near timestamp, span interval, origin timestamp, n int, OUT k numeric, OUT g timestamp)
	RETURNS SETOF record LANGUAGE sql IMMUTABLE AS
	'SELECT around + i, reference.boundary(origin, span, around + i)
	FROM floor(CASE WHEN span = date_trunc(''month'', span)
			THEN ((extract(year FROM near) - extract(year FROM origin)) * 12 + extract(month FROM near) - extract(month FROM origin))
				/ (extract(month FROM span) + 12 * extract(year FROM span))
			ELSE extract(epoch FROM near - origin) / extract(epoch FROM span) END) around,
		generate_series(-n, n) i';

-- The first instant at which the clock of the zone shows the time, or more. It is not
-- far from the one that PostgreSQL takes for it, but where a day was left out.
CREATE FUNCTION reference.instant(shown timestamp, zone text) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS
	'SELECT CASE zone WHEN ''UTC'' THEN shown AT TIME ZONE ''UTC'' ELSE
		(SELECT min(t) FROM generate_series((shown AT TIME ZONE zone) - CASE zone WHEN ''Pacific/Apia'' THEN interval ''25 hours'' ELSE ''2 hours'' END,
			shown AT TIME ZONE zone, ''1 min'') t
		WHERE t AT TIME ZONE zone >= shown) END';

-- Windows that do not fit into days, and those of an hour and less, are cut without the
-- clock, from the origin on.
CREATE FUNCTION reference.clock(INOUT zone text, span interval, INOUT origin timestamp) LANGUAGE sql IMMUTABLE AS
	'SELECT CASE WHEN follows THEN zone ELSE ''UTC'' END,
		CASE WHEN follows THEN origin ELSE reference.instant(origin, zone) AT TIME ZONE ''UTC'' END
	FROM (SELECT span >= ''1 month'' OR extract(epoch FROM span) % 86400 = 0
		OR span > ''1 hour'' AND 86400 % extract(epoch FROM span) = 0 AS follows) f';

CREATE FUNCTION reference.tumble(ts timestamptz, size interval, origin timestamp, zone text, OUT window_start timestamptz, OUT window_end timestamptz)
	LANGUAGE sql IMMUTABLE AS
	'SELECT max(b) FILTER (WHERE b <= ts), min(b) FILTER (WHERE b > ts)
	FROM reference.clock(zone, size, origin) c, reference.grid(ts AT TIME ZONE c.zone, size, c.origin, 2) g, reference.instant(g.g, c.zone) b';

-- Windows of whole days end by the clock in any case.
CREATE FUNCTION reference.hop(ts timestamptz, size interval, slide interval, origin timestamp, zone text, OUT window_start timestamptz, OUT window_end timestamptz)
	RETURNS SETOF record LANGUAGE sql IMMUTABLE AS
	'SELECT DISTINCT window_start, window_end
	FROM reference.clock(zone, slide, origin) c,
		reference.grid(ts AT TIME ZONE c.zone, slide, c.origin, ceil(extract(epoch FROM size) / extract(epoch FROM slide))::int + 3) g,
		reference.instant(g.g, c.zone) window_start,
		reference.instant(CASE WHEN extract(epoch FROM size) % 86400 = 0 THEN window_start AT TIME ZONE $5 + size
			ELSE g.g + size END, CASE WHEN extract(epoch FROM size) % 86400 = 0 AND c.zone <> $5 THEN $5 ELSE c.zone END) at_start,
		reference.instant(CASE WHEN size >= ''1 month'' AND slide >= ''1 month'' THEN reference.boundary(c.origin, ''1 month'',
				g.k * (extract(month FROM slide) + 12 * extract(year FROM slide)) + extract(month FROM size) + 12 * extract(year FROM size))
			ELSE g.g + size END, c.zone) at_boundary,
		LATERAL (SELECT CASE WHEN c.zone <> $5 THEN at_start ELSE at_boundary END AS window_end) e
	WHERE window_start <= ts AND window_end > ts';

CREATE FUNCTION reference.cumulate(ts timestamptz, step interval, size interval, origin timestamp, zone text, OUT window_start timestamptz, OUT window_end timestamptz)
	RETURNS SETOF record LANGUAGE sql IMMUTABLE AS
	'SELECT DISTINCT w.b, reference.instant(e.g, w.zone)
	FROM (SELECT c.zone, c.origin, g.k, g.g, b FROM reference.clock(zone, size, origin) c, reference.grid(ts AT TIME ZONE c.zone, size, c.origin, 2) g,
			reference.instant(g.g, c.zone) b WHERE b <= ts ORDER BY g.k DESC LIMIT 1) w,
		LATERAL (SELECT reference.boundary(w.origin, size, w.k + 1) AS g
			UNION SELECT least(CASE WHEN step >= ''1 month'' THEN reference.boundary(w.origin, ''1 month'', w.k * (extract(month FROM size) + 12 * extract(year FROM size))
					+ j * (extract(month FROM step) + 12 * extract(year FROM step)))
				ELSE w.g + j * step END, reference.boundary(w.origin, size, w.k + 1))
			FROM generate_series(1, ceil(extract(epoch FROM size) / extract(epoch FROM step))::int + 2) j) e
	WHERE reference.instant(e.g, w.zone) > ts';

-- The same of integers.
CREATE FUNCTION reference.tumble(ts numeric, size numeric, origin numeric, OUT window_start numeric, OUT window_end numeric) LANGUAGE sql IMMUTABLE AS
	'SELECT s, s + size FROM (SELECT floor((ts - origin) / size) * size + origin AS s) w';
CREATE FUNCTION reference.hop(ts numeric, size numeric, slide numeric, origin numeric, OUT window_start numeric, OUT window_end numeric)
	RETURNS SETOF record LANGUAGE sql IMMUTABLE AS
	'SELECT s, s + size FROM generate_series(floor((ts - size - origin) / slide) - 1, floor((ts - origin) / slide) + 1) k, LATERAL (SELECT origin + k * slide AS s) w
	WHERE s <= ts AND s + size > ts';
CREATE FUNCTION reference.cumulate(ts numeric, step numeric, size numeric, origin numeric, OUT window_start numeric, OUT window_end numeric)
	RETURNS SETOF record LANGUAGE sql IMMUTABLE AS
	'SELECT w.window_start, w.window_start + j * step FROM reference.tumble(ts, size, origin) w, generate_series(1, size / step) j
	WHERE w.window_start + j * step > ts';

-- How windows are cut; a null origin or zone is an argument that is not given.
CREATE TABLE reference.cases (kind text, size interval, slide interval, origin timestamp, zone text);
INSERT INTO reference.cases
SELECT 'tumble', size::interval, NULL::interval, origin::timestamp, zone
FROM unnest('{1 s,7 min,15 min,1 hour,90 min,2 hours,5 hours,6 hours,36 hours,1 day,3 days,1 week,14 days,1 month,5 months,1 year}'::text[]) size,
	unnest('{NULL,1999-12-31 12:34}'::text[]) origin, unnest('{NULL,Europe/Paris,Asia/Kolkata,America/Havana,America/St_Johns,Australia/Lord_Howe,Pacific/Apia}'::text[]) zone
WHERE zone IS NULL OR size <> '1 s';
INSERT INTO reference.cases
SELECT 'tumble', '1 month', NULL, '1996-08-31 06:00', zone FROM unnest('{NULL,Europe/Paris}'::text[]) zone;
INSERT INTO reference.cases
SELECT kind, size::interval, slide::interval, NULL, zone
FROM (VALUES ('hop', '10 min', '5 min'), ('hop', '1 hour', '25 min'), ('hop', '2 hours', '30 min'), ('hop', '1 day', '6 hours'), ('hop', '1 day', '1 hour'), ('hop', '3 days', '1 day'),
	('hop', '1 month', '1 week'), ('hop', '1 month', '1 month'), ('hop', '1 year', '4 months'), ('hop', '2 weeks', '1 week'), ('hop', '1 day', '1 day'), ('hop', '1 hour', '7 min'), ('hop', '36 hours', '7 hours'),
	('cumulate', '1 hour', '15 min'), ('cumulate', '6 hours', '1 hour'), ('cumulate', '1 day', '3 hours'), ('cumulate', '1 day', '1 hour'), ('cumulate', '1 week', '1 day'),
	('cumulate', '1 month', '1 day'), ('cumulate', '1 year', '3 months'), ('cumulate', '30 min', '10 min')) c(kind, size, slide),
	unnest('{NULL,Europe/Paris,America/Havana,Pacific/Apia}'::text[]) zone;
INSERT INTO reference.cases VALUES ('hop', '3 months', '1 month', '2001-01-31', NULL), ('cumulate', '1 year', '1 month', '2001-01-31', NULL), ('hop', '3 months', '1 month', '2001-01-31 01:00', 'Europe/Paris');

-- Weeks begin on Mondays, everything else with the year 2000.
CREATE FUNCTION reference.origin(span interval) RETURNS timestamp LANGUAGE sql IMMUTABLE AS
	'SELECT CASE WHEN span < ''1 month'' AND extract(epoch FROM span) % 604800 = 0 THEN timestamp ''2000-01-03'' ELSE ''2000-01-01'' END';

-- Differences between the functions and the reference over the times given, of one type.
CREATE FUNCTION reference.differences(type text, times timestamptz[]) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	c reference.cases;
	call text;
	span interval;
	whole bool;
	rows text;
BEGIN
	FOR c IN TABLE reference.cases LOOP
		CONTINUE WHEN c.zone IS NOT NULL AND type <> 'timestamptz';
		span := CASE c.kind WHEN 'hop' THEN c.slide ELSE c.size END;
		whole := extract(epoch FROM c.size) % 86400 = 0 AND coalesce(extract(epoch FROM c.slide), 0) % 86400 = 0;
		CONTINUE WHEN type = 'date' AND NOT whole OR type = 'date' AND extract(hour FROM c.origin) <> 0;
		call := CASE c.kind
			WHEN 'tumble' THEN format('(SELECT braid.tumble(t, %1$L%2$s) AS window_start, braid.tumble_end(t, %1$L%2$s) AS window_end)', c.size, '%1$s')
			WHEN 'hop' THEN format('braid.hop(t, %L, %L%s)', c.size, c.slide, '%1$s')
			ELSE format('braid.cumulate(t, %L, %L%s)', c.slide, c.size, '%1$s') END;
		call := format(call, coalesce(', origin => ' || quote_literal(CASE WHEN type = 'timestamptz' THEN (c.origin AT TIME ZONE coalesce(c.zone, 'UTC'))::text
			ELSE c.origin::text END), '') || coalesce(', timezone => ' || quote_literal(c.zone), ''));
		EXECUTE format($sql$
			WITH given AS MATERIALIZED (SELECT u AT TIME ZONE 'UTC' AS at, %1$s AS t FROM unnest($1) u),
				ours AS MATERIALIZED (SELECT t, window_start::text, window_end::text FROM given, LATERAL %2$s w),
				theirs AS MATERIALIZED (SELECT t, (%3$s)::text, (%4$s)::text FROM given, LATERAL reference.%5$s(at AT TIME ZONE 'UTC', %6$s, %7$L, %8$L) w)
			SELECT string_agg(d::text, ' ') FROM (
				(SELECT 'surplus', * FROM (TABLE ours EXCEPT ALL TABLE theirs) s LIMIT 1) UNION ALL (SELECT 'missing', * FROM (TABLE theirs EXCEPT ALL TABLE ours) m LIMIT 1)) d
			$sql$,
			CASE type WHEN 'timestamptz' THEN 'u' WHEN 'timestamp' THEN $e$u AT TIME ZONE 'UTC'$e$ ELSE $e$(u AT TIME ZONE 'UTC')::date$e$ END,
			call,
			CASE type WHEN 'timestamptz' THEN 'window_start' WHEN 'timestamp' THEN $e$window_start AT TIME ZONE 'UTC'$e$ ELSE $e$(window_start AT TIME ZONE 'UTC')::date$e$ END,
			CASE type WHEN 'timestamptz' THEN 'window_end' WHEN 'timestamp' THEN $e$window_end AT TIME ZONE 'UTC'$e$ ELSE $e$(window_end AT TIME ZONE 'UTC')::date$e$ END,
			c.kind,
			CASE c.kind WHEN 'tumble' THEN format('%L::interval', c.size) WHEN 'hop' THEN format('%L::interval, %L::interval', c.size, c.slide)
				ELSE format('%L::interval, %L::interval', c.slide, c.size) END,
			coalesce(c.origin, reference.origin(span)), coalesce(c.zone, 'UTC'))
		INTO rows USING times;
		IF rows IS NOT NULL THEN
			RETURN NEXT concat_ws(' ', type, c, rows);
		END IF;
	END LOOP;
END $$;

-- The same of integers, with random sizes and origins.
CREATE FUNCTION reference.integer_differences(type text, size int, slide int, origin int, times numeric[]) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format($sql$
		WITH given AS MATERIALIZED (SELECT u::%1$s AS t, u FROM unnest($1) u),
			ours AS MATERIALIZED (SELECT 'tumble', t, braid.tumble(t, %2$s, %4$s)::numeric, braid.tumble_end(t, %2$s, %4$s)::numeric FROM given
				UNION ALL SELECT 'without origin', t, braid.tumble(t, %2$s)::numeric, braid.tumble_end(t, %2$s)::numeric FROM given
				UNION ALL SELECT 'hop', t, window_start, window_end FROM given, braid.hop(t, %2$s, %3$s, %4$s)
				UNION ALL SELECT 'cumulate', t, window_start, window_end FROM given, braid.cumulate(t, %3$s, %3$s * 4, %4$s)),
			theirs AS MATERIALIZED (SELECT 'tumble', t, (reference.tumble(u, %2$s, %4$s)).* FROM given
				UNION ALL SELECT 'without origin', t, (reference.tumble(u, %2$s, 0)).* FROM given
				UNION ALL SELECT 'hop', t, (reference.hop(u, %2$s, %3$s, %4$s)).* FROM given
				UNION ALL SELECT 'cumulate', t, (reference.cumulate(u, %3$s, %3$s * 4, %4$s)).* FROM given)
		SELECT d::text FROM ((SELECT 'surplus', * FROM (TABLE ours EXCEPT ALL TABLE theirs) s LIMIT 1)
			UNION ALL (SELECT 'missing', * FROM (TABLE theirs EXCEPT ALL TABLE ours) m LIMIT 1)) d
		$sql$, type, size, slide, origin) USING times;
END $$;

-- Sessions of one type over random rows: told by the distance to the row before.
CREATE FUNCTION reference.session_differences(type text, expression text, gap text, in_session text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format($sql$
		WITH given AS MATERIALIZED (SELECT n, (random() * 5)::int AS k, CASE WHEN random() > 0.05 THEN %2$s END::%1$s AS t
				FROM generate_series(1, 500) n, LATERAL (SELECT n AS m, (random() * 1000)::int AS r) r),
			ours AS MATERIALIZED (SELECT n, k, t, braid.session(t, %3$s) OVER w, braid.session_end(t, %3$s) OVER w FROM given WINDOW w AS (PARTITION BY k ORDER BY t)),
			opened AS (SELECT *, (lag(t) OVER (PARTITION BY k ORDER BY t) IS NULL OR NOT t - lag(t) OVER (PARTITION BY k ORDER BY t) < %4$s)::int AS opens
				FROM given WHERE t IS NOT NULL),
			numbered AS (SELECT *, sum(opens) OVER (PARTITION BY k ORDER BY t) AS number FROM opened),
			theirs AS MATERIALIZED (SELECT n, k, t, min(t) OVER (PARTITION BY k, number), (max(t) OVER (PARTITION BY k, number) + %3$s)::%1$s FROM numbered
				UNION ALL SELECT n, k, t, NULL, NULL FROM given WHERE t IS NULL)
		SELECT d::text FROM ((SELECT 'surplus', * FROM (TABLE ours EXCEPT ALL TABLE theirs) s LIMIT 1)
			UNION ALL (SELECT 'missing', * FROM (TABLE theirs EXCEPT ALL TABLE ours) m LIMIT 1)) d
		$sql$, type, expression, gap, in_session);
END $$;
