
-- ---------------------------------------------------------------- changefeeds

-- Written by users' commands.
CREATE TABLE braid_internal.feeds (
	relation regclass PRIMARY KEY,
	topic regclass NOT NULL,
	key text[],
	requests int NOT NULL DEFAULT 0
);
COMMENT ON TABLE braid_internal.feeds IS
'Changefeeds: continuous views and tables whose changes go to a topic. key: names of the columns that are the key of the messages, if they were given; requests counts how often it was set: each time it begins anew.';
SELECT pg_catalog.pg_extension_config_dump('braid_internal.feeds', '');
GRANT SELECT ON braid_internal.feeds TO PUBLIC; -- so that whoever owns a database can dump it

-- Written by the capture worker. Not dumped: after a restore each feed begins anew.
CREATE TABLE braid_internal.feed_states (
	relation oid PRIMARY KEY,
	topic oid NOT NULL,
	requests int NOT NULL,
	shape text,
	since timestamptz NOT NULL,
	error text
);
COMMENT ON TABLE braid_internal.feed_states IS
'Feeds that have begun, with a message "snapshot": to which topic, by which request, what the rows of their messages are like, and since when; error: why that of a table has stopped.';

CREATE FUNCTION braid_internal.feeds_changed() RETURNS trigger
AS 'MODULE_PATHNAME', 'braid_sql_views_changed' LANGUAGE C;
COMMENT ON FUNCTION braid_internal.feeds_changed() IS 'Starts the capture worker when feeds change, be it by a restore.';
REVOKE ALL ON FUNCTION braid_internal.feeds_changed() FROM PUBLIC;
CREATE TRIGGER feeds_changed AFTER INSERT OR UPDATE OR DELETE ON braid_internal.feeds
	FOR EACH STATEMENT EXECUTE FUNCTION braid_internal.feeds_changed();

CREATE FUNCTION braid_internal.feed_dropped() RETURNS event_trigger
AS 'MODULE_PATHNAME', 'braid_sql_feed_dropped' LANGUAGE C;
COMMENT ON FUNCTION braid_internal.feed_dropped() IS 'Ends the feeds of views and tables that are dropped.';
REVOKE ALL ON FUNCTION braid_internal.feed_dropped() FROM PUBLIC;
CREATE EVENT TRIGGER braid_feed_dropped ON sql_drop EXECUTE FUNCTION braid_internal.feed_dropped();
COMMENT ON EVENT TRIGGER braid_feed_dropped IS 'braid: ends feeds of what is dropped';

CREATE FUNCTION braid_internal.feed_problem(owner oid, topic oid) RETURNS text
AS 'MODULE_PATHNAME', 'braid_sql_feed_problem' LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION braid_internal.feed_problem(oid, oid) IS
'Why the owner of a view or table cannot send to the topic, so that its feed is held back; null if nothing is in the way.';
