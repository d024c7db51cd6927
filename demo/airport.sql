-- The node of an airport: the aircraft on its ground.
CREATE EXTENSION braid;
CREATE TABLE aircraft (
	tailnum text PRIMARY KEY,
	since timestamp NOT NULL
);
