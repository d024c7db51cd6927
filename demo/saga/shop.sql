-- The shop: orders, and what it asks the bank and the depot to do. Each step of the saga is one local
-- transaction: it takes a message, changes an order, and sends what is next.
CREATE EXTENSION braid;

CREATE TABLE orders (
	id int PRIMARY KEY,
	customer int NOT NULL,
	item int NOT NULL,
	quantity int NOT NULL,
	amount int NOT NULL,            -- cents
	state text NOT NULL CHECK (state IN ('placed', 'paid', 'refunding', 'shipped', 'cancelled')),
	reason text,                    -- of the cancellation
	placed timestamptz NOT NULL DEFAULT clock_timestamp(),
	ended timestamptz
);

SELECT braid.create_topic('to_bank', partitions => 4);
SELECT braid.create_topic('to_depot', partitions => 4);
SELECT braid.create_topic('from_bank', partitions => 4);
SELECT braid.create_topic('from_depot', partitions => 4);
SELECT braid.create_group('from_bank', 'shop');
SELECT braid.create_group('from_depot', 'shop');

CREATE FUNCTION place_order(id int, customer int, item int, quantity int, amount int) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	INSERT INTO orders (id, customer, item, quantity, amount, state) VALUES (id, customer, item, quantity, amount, 'placed');
	SELECT braid.send('to_bank', jsonb_build_object('charge', id, 'customer', customer, 'amount', amount), key => id::text);
END;

-- An answer that finds the order in another state than the one it is for would show that a message had been
-- lost, doubled or reordered.
CREATE FUNCTION move_order(id int, expected text, next text, why text DEFAULT NULL) RETURNS orders
LANGUAGE plpgsql AS $$
DECLARE
	o orders;
BEGIN
	UPDATE orders SET state = next, reason = coalesce(why, reason),
		ended = CASE WHEN next IN ('shipped', 'cancelled') THEN clock_timestamp() END
	WHERE orders.id = move_order.id AND state = expected RETURNING * INTO o;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'order % is not %', id, expected;
	END IF;
	RETURN o;
END $$;

CREATE FUNCTION hear_bank() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	answer jsonb;
	o orders;
	n bigint = 0;
BEGIN
	FOR answer IN SELECT payload FROM braid.receive('from_bank', 'shop', max_rows => 100, wait => '1 s') LOOP
		n := n + 1;
		CASE
			WHEN answer ? 'charged' THEN
				o := move_order((answer ->> 'charged')::int, 'placed', 'paid');
				PERFORM braid.send('to_depot', jsonb_build_object('reserve', o.id, 'item', o.item, 'quantity', o.quantity), key => o.id::text);
			WHEN answer ? 'declined' THEN
				PERFORM move_order((answer ->> 'declined')::int, 'placed', 'cancelled', 'payment declined');
			WHEN answer ? 'refunded' THEN
				PERFORM move_order((answer ->> 'refunded')::int, 'refunding', 'cancelled');
		END CASE;
	END LOOP;
	RETURN n;
END $$;

CREATE FUNCTION hear_depot() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	answer jsonb;
	o orders;
	n bigint = 0;
BEGIN
	FOR answer IN SELECT payload FROM braid.receive('from_depot', 'shop', max_rows => 100, wait => '1 s') LOOP
		n := n + 1;
		CASE
			WHEN answer ? 'reserved' THEN
				PERFORM move_order((answer ->> 'reserved')::int, 'paid', 'shipped');
			WHEN answer ? 'sold_out' THEN
				-- The compensation: what was paid goes back.
				o := move_order((answer ->> 'sold_out')::int, 'paid', 'refunding', 'sold out');
				PERFORM braid.send('to_bank', jsonb_build_object('refund', o.id, 'customer', o.customer, 'amount', o.amount), key => o.id::text);
		END CASE;
	END LOOP;
	RETURN n;
END $$;
