-- The bank: charges and refunds, each once.
CREATE EXTENSION braid;

CREATE TABLE accounts (customer int PRIMARY KEY, balance int NOT NULL CHECK (balance >= 0));    -- cents
CREATE TABLE payments (purchase int PRIMARY KEY, customer int NOT NULL, amount int NOT NULL, refunded boolean NOT NULL DEFAULT false);

SELECT braid.create_topic('from_shop', partitions => 4);
SELECT braid.create_topic('to_shop', partitions => 4);
SELECT braid.create_group('from_shop', 'bank');

CREATE FUNCTION serve() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	request jsonb;
	id int;
	n bigint = 0;
BEGIN
	FOR request IN SELECT payload FROM braid.receive('from_shop', 'bank', max_rows => 100, wait => '1 s') LOOP
		n := n + 1;
		id := coalesce(request ->> 'charge', request ->> 'refund')::int;
		IF request ? 'charge' THEN
			UPDATE accounts SET balance = balance - (request ->> 'amount')::int
			WHERE customer = (request ->> 'customer')::int AND balance >= (request ->> 'amount')::int;
			IF FOUND THEN
				INSERT INTO payments VALUES (id, (request ->> 'customer')::int, (request ->> 'amount')::int);
				PERFORM braid.send('to_shop', jsonb_build_object('charged', id), key => id::text);
			ELSE
				PERFORM braid.send('to_shop', jsonb_build_object('declined', id), key => id::text);
			END IF;
		ELSE
			UPDATE payments SET refunded = true WHERE purchase = id AND NOT refunded;
			IF NOT FOUND THEN
				RAISE EXCEPTION 'order % has nothing to refund', id;
			END IF;
			UPDATE accounts SET balance = balance + (request ->> 'amount')::int WHERE customer = (request ->> 'customer')::int;
			PERFORM braid.send('to_shop', jsonb_build_object('refunded', id), key => id::text);
		END IF;
	END LOOP;
	RETURN n;
END $$;
