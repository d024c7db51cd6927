-- The depot: what is in stock, and for which orders it was taken.
CREATE EXTENSION braid;

CREATE TABLE stock (item int PRIMARY KEY, quantity int NOT NULL CHECK (quantity >= 0));
CREATE TABLE reservations (purchase int PRIMARY KEY, item int NOT NULL, quantity int NOT NULL);

SELECT braid.create_topic('from_shop', partitions => 4);
SELECT braid.create_topic('to_shop', partitions => 4);
SELECT braid.create_group('from_shop', 'depot');

CREATE FUNCTION serve() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	request jsonb;
	id int;
	n bigint = 0;
BEGIN
	FOR request IN SELECT payload FROM braid.receive('from_shop', 'depot', max_rows => 100, wait => '1 s') LOOP
		n := n + 1;
		id := (request ->> 'reserve')::int;
		UPDATE stock SET quantity = quantity - (request ->> 'quantity')::int
		WHERE item = (request ->> 'item')::int AND quantity >= (request ->> 'quantity')::int;
		IF FOUND THEN
			INSERT INTO reservations VALUES (id, (request ->> 'item')::int, (request ->> 'quantity')::int);
			PERFORM braid.send('to_shop', jsonb_build_object('reserved', id), key => id::text);
		ELSE
			PERFORM braid.send('to_shop', jsonb_build_object('sold_out', id), key => id::text);
		END IF;
	END LOOP;
	RETURN n;
END $$;
