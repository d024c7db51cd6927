-- The hub: what is booked, the aircraft in the air, and
-- continuous views of the bookings.
CREATE EXTENSION braid;

CREATE TABLE flights (
	id int PRIMARY KEY,
	scheduled timestamp NOT NULL,
	delay int,                      -- of the departure, minutes; null: cancelled
	landed timestamp,
	arrival_delay int,
	air_time int,
	carrier text NOT NULL,
	flight int NOT NULL,
	tailnum text,
	origin text NOT NULL,
	dest text NOT NULL,
	distance int NOT NULL
);

-- Moves between the New York airports without a flight in the data.
CREATE TABLE ferries (
	id int PRIMARY KEY,             -- the flight before which it was needed
	tailnum text NOT NULL,
	origin text NOT NULL,
	dest text NOT NULL,
	moved timestamp NOT NULL
);

-- Aircraft in the air.
CREATE TABLE aircraft (
	tailnum text PRIMARY KEY,
	since timestamp NOT NULL
);

CREATE MATERIALIZED VIEW departures WITH (braid.continuous) AS
	SELECT carrier, date_trunc('hour', scheduled) AS hour,
		count(*) AS departures, avg(delay) AS mean_delay, max(delay) AS max_delay
	FROM flights WHERE delay IS NOT NULL
	GROUP BY 1, 2;

CREATE MATERIALIZED VIEW in_use WITH (braid.continuous) AS
	SELECT origin, count(*) AS aircraft
	FROM flights WHERE delay IS NOT NULL AND landed IS NULL
	GROUP BY 1;

CREATE MATERIALIZED VIEW routes WITH (braid.continuous) AS
	SELECT origin, dest, count(*) AS flights, count(landed) AS landed,
		avg(arrival_delay) AS mean_delay, max(arrival_delay) AS max_delay, sum(air_time) AS minutes_in_air
	FROM flights WHERE delay IS NOT NULL
	GROUP BY 1, 2;
