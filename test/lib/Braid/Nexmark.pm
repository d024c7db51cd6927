# Braid::Nexmark: the online auction of the Nexmark benchmark, as tables or as streams.
#
# People come, sell and bid: of 50 events 1 is a person, 3 are auctions, and 46 are
# bids. Who bids how much on what is distributed as in the benchmark's own generator
# (github.com/nexmark/nexmark): one half of the bids is on the first of the last hundred
# auctions, three quarters are of one of the last hundred people, prices are spread evenly by their
# logarithm, an auction is open for 1,666 events on the average. In the tests what the
# benchmark calls streams are tables, with inserts, late rows, updates and deletes.
#
# Windows are those of the rows' own time, also in q12, which has the time of
# processing in the benchmark. q13 joins its side input as it is, instead of as of
# that time.
package Braid::Nexmark;

use strict;
use warnings;

my %columns = (
	person => 'id bigint NOT NULL, name text, email text, credit_card text, city text, state text, date_time timestamp NOT NULL, extra text',
	auction => 'id bigint NOT NULL, item_name text, description text, initial_bid bigint, reserve bigint,
		date_time timestamp NOT NULL, expires timestamp NOT NULL, seller bigint NOT NULL, category bigint NOT NULL, extra text',
	bid => 'auction bigint NOT NULL, bidder bigint NOT NULL, price bigint NOT NULL, channel text, url text,
		date_time timestamp NOT NULL, extra text');
our @relations = sort keys %columns;

# The three relations as tables, and as streams.
our $tables = join '', map { "CREATE TABLE $_ ($columns{$_}" . ($_ eq 'bid' ? '' : ', PRIMARY KEY (id)') . ");\n" } @relations;
our $streams = join '', map { "CREATE FOREIGN TABLE $_ ($columns{$_}) SERVER braid_stream;\n" } @relations;

# Relations (id, ...) of the events with the numbers from low to high, as many times apart.
our $generator = <<'SQL';
-- How often a character is in a text.
CREATE FUNCTION count_char(text, "char") RETURNS bigint LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS
	'BEGIN RETURN length($1) - length(replace($1, $2::text, '''')); END';

-- A number from low to high for a key; another one for each salt.
CREATE FUNCTION pick(key bigint, salt int, low bigint, high bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
	'SELECT low + (hashint8extended(key, salt) & 2147483647) % (high - low + 1)';
CREATE FUNCTION word(key bigint, salt int, words text[]) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
	'SELECT words[pick(key, salt, 1, cardinality(words))]';
CREATE FUNCTION price(key bigint, salt int) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
	'SELECT round(100 * 10 ^ (pick(key, salt, 0, 6000000) / 1e6))::bigint';
-- As long as it is on the average, give or take a fifth, up to 480.
CREATE FUNCTION letters(key bigint, salt int, length int) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
	'SELECT left(repeat(md5(key::text || salt), 15), pick(key, salt, length * 4 / 5, length * 6 / 5)::int)';

-- Of the thousand people who came last, or soon come.
CREATE FUNCTION someone(key bigint, salt int, last bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
	'SELECT 1000 + pick(key, salt, greatest(last - 999, 0), last + 10)';

-- Events by number: 50 an epoch.
CREATE FUNCTION make_persons(low bigint, high bigint, start timestamp, apart interval) RETURNS SETOF person LANGUAGE sql AS $$
	SELECT 1000 + n / 50, word(n, 1, '{Peter,Paul,Luke,John,Saul,Vicky,Kate,Julie,Sarah,Deiter,Walter}') || ' '
			|| word(n, 2, '{Shultz,Abrams,Spencer,White,Bartels,Walton,Smith,Jones,Noris}'),
		letters(n, 3, 6) || '@' || letters(n, 4, 4) || '.com', to_char(pick(n, 5, 0, 99999999) * 12345678, 'FM0000 0000 0000 0000'),
		word(n, 6, '{Phoenix,Los Angeles,San Francisco,Boise,Portland,Bend,Redmond,Seattle,Kent,Cheyenne}'),
		word(n, 7, '{AZ,CA,ID,OR,WA,WY}'), date_trunc('milliseconds', start + n * apart), letters(n, 8, 140)
	FROM generate_series(low, high) n WHERE n % 50 = 0 $$;

CREATE FUNCTION make_auctions(low bigint, high bigint, start timestamp, apart interval) RETURNS SETOF auction LANGUAGE sql AS $$
	SELECT 1000 + epoch * 3 + n % 50 - 1, letters(n, 10, 11), letters(n, 11, 51), first, first + price(n, 12), date_trunc('milliseconds', start + n * apart),
		date_trunc('milliseconds', start + (n + pick(n, 13, 0, 3333)) * apart + interval '1 ms'),
		CASE WHEN pick(n, 14, 0, 3) > 0 THEN 1000 + epoch - epoch % 100 ELSE someone(n, 15, epoch) END, pick(n, 16, 10, 14), letters(n, 17, 390)
	FROM generate_series(low, high) n, LATERAL (SELECT n / 50 AS epoch, price(n, 18) AS first) e WHERE n % 50 BETWEEN 1 AND 3 $$;

CREATE FUNCTION make_bids(low bigint, high bigint, start timestamp, apart interval) RETURNS SETOF bid LANGUAGE sql AS $$
	SELECT 1000 + CASE WHEN pick(n, 20, 0, 1) > 0 THEN last - last % 100 ELSE pick(n, 21, greatest(last - 100, 0), last + 10) END,
		CASE WHEN pick(n, 22, 0, 3) > 0 THEN 1001 + epoch - epoch % 100 ELSE someone(n, 23, epoch) END, price(n, 24),
		CASE number WHEN 0 THEN word(n, 25, '{Apple,Google,Facebook,Baidu}') ELSE 'channel-' || number END,
		'https://www.nexmark.com/' || letters(n, 26, 5) || '/' || letters(n, 27, 5) || '/' || letters(n, 28, 5) || '/item.htm?query=1'
			|| CASE WHEN number > 0 AND pick(number, 29, 0, 9) > 0 THEN '&channel_id=' || pick(number, 30, 0, 2147483647) ELSE '' END,
		date_trunc('milliseconds', start + n * apart), letters(n, 31, 68)
	FROM generate_series(low, high) n, LATERAL (SELECT n / 50 AS epoch, n / 50 * 3 + 2 AS last,
		CASE WHEN pick(n, 32, 0, 1) > 0 THEN pick(n, 33, 1, 10000) ELSE 0 END AS number) e WHERE n % 50 > 3 $$;
SQL

our $schema = $tables . $generator . <<'SQL';
CREATE TABLE side_input (key bigint PRIMARY KEY, value text);
CREATE INDEX ON auction (seller);
CREATE INDEX ON auction (category);
CREATE INDEX ON bid (auction);
CREATE INDEX ON bid (bidder);
CREATE INDEX ON bid (date_time);

-- 10 ms apart; midnight is among them.
CREATE PROCEDURE make_events(low bigint, high bigint) LANGUAGE sql BEGIN ATOMIC
	INSERT INTO person SELECT * FROM make_persons(low, high, '2024-02-28 23:59:20', '10 ms');
	INSERT INTO auction SELECT * FROM make_auctions(low, high, '2024-02-28 23:59:20', '10 ms');
	INSERT INTO bid SELECT * FROM make_bids(low, high, '2024-02-28 23:59:20', '10 ms');
END;
SQL

our $data = <<'SQL';
CALL make_events(0, 9999);
INSERT INTO side_input SELECT n, 'value ' || n FROM generate_series(0, 9999) n;
ANALYZE;
SQL

# Name => statements of one transaction each.
our @steps = (
	[ 'events go on' => 'CALL make_events(10000, 10499)' ],
	[ 'events go on again' => 'CALL make_events(10500, 10999)' ],
	[ 'late bids' => q{INSERT INTO bid SELECT auction, bidder + 1, price * 2, 'Apple', url, date_time - interval '3 s', extra
		FROM bid WHERE date_time BETWEEN '2024-02-29 00:00:10' AND '2024-02-29 00:00:10.9'} ],
	[ 'bids are withdrawn' => q{DELETE FROM bid WHERE auction % 7 = 3 AND date_time BETWEEN '2024-02-29 00:00:00' AND '2024-02-29 00:00:20';
		DELETE FROM bid WHERE price > 5000000 AND bidder % 2 = 0} ],
	[ 'auctions close early, and change category' => q{UPDATE auction SET expires = date_time + interval '2 s' WHERE id % 10 = 1;
		UPDATE auction SET category = 10 WHERE id % 25 = 2} ],
	[ 'people move' => q{UPDATE person SET state = 'OR', city = 'Bend' WHERE id % 9 = 1} ],
	[ 'the side input changes' => q{UPDATE side_input SET value = upper(value) WHERE key % 3 = 1; DELETE FROM side_input WHERE key % 10 = 2} ],
	[ 'the same bids twice' => q{INSERT INTO bid SELECT * FROM bid WHERE auction BETWEEN 1100 AND 1110} ],
	[ 'an auction and its bids go' => 'DELETE FROM bid WHERE auction = 1200; DELETE FROM auction WHERE id IN (1200, 1201)' ],
);

my $hops = <<'SQL';
	SELECT auction, count(*) AS num, window_start AS start, window_end AS ends
	FROM bid, braid.hop(date_time, '10 s', '2 s')
	GROUP BY auction, window_start, window_end
SQL

my $winning = 'auction a JOIN bid b ON b.auction = a.id AND b.date_time BETWEEN a.date_time AND a.expires';

my $by_rank = join ",\n\t", map {
	my ($of, $name) = @$_;
	("count($of) AS total_$name",
		"count($of) FILTER (WHERE price < 10000) AS rank1_$name",
		"count($of) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_$name",
		"count($of) FILTER (WHERE price >= 1000000) AS rank3_$name")
} ([ '*', 'bids' ], [ 'DISTINCT bidder', 'bidders' ], [ 'DISTINCT auction', 'auctions' ]);

# Name => [what it asks, query].
our %queries = (
	q0 => [ 'pass through' => 'SELECT auction, bidder, price, date_time, extra FROM bid' ],
	q1 => [ 'currency conversion' => 'SELECT auction, bidder, 0.908 * price AS price, date_time, extra FROM bid' ],
	q2 => [ 'selection' => 'SELECT auction, price FROM bid WHERE auction % 123 = 0' ],
	q3 => [ 'local item suggestion' => <<'SQL' ],
SELECT p.name, p.city, p.state, a.id
FROM auction a JOIN person p ON a.seller = p.id
WHERE a.category = 10 AND p.state IN ('OR', 'ID', 'CA')
SQL
	q4 => [ 'average price for a category' => <<"SQL" ],
SELECT category, avg(final) AS final
FROM (SELECT max(b.price) AS final, a.category FROM $winning GROUP BY a.id, a.category) q
GROUP BY category
SQL
	q5 => [ 'hot items, in hopping windows' => <<"SQL" ],
WITH counts AS (
$hops)
SELECT c.auction, c.num, c.start, c.ends
FROM counts c JOIN (SELECT start, max(num) AS most FROM counts GROUP BY start) m ON m.start = c.start AND c.num >= m.most
SQL
	q6 => [ 'average selling price by seller' => <<"SQL" ],
SELECT seller, id, avg(price) OVER (PARTITION BY seller ORDER BY date_time, id ROWS BETWEEN 10 PRECEDING AND CURRENT ROW) AS avg_price
FROM (
	SELECT a.id, a.seller, b.price, b.date_time,
		row_number() OVER (PARTITION BY a.id, a.seller ORDER BY b.price DESC, b.date_time, b.bidder) AS rank
	FROM $winning) q
WHERE rank <= 1
SQL
	q7 => [ 'highest bid of each window' => <<'SQL' ],
SELECT b.auction, b.price, b.bidder, b.date_time, b.extra
FROM bid b JOIN (
	SELECT max(price) AS most, braid.tumble(date_time, '10 s') AS start, braid.tumble_end(date_time, '10 s') AS ends FROM bid GROUP BY 2, 3) m
	ON b.price = m.most AND b.date_time >= m.start AND b.date_time < m.ends
SQL
	q8 => [ 'monitor new users' => <<'SQL' ],
SELECT p.id, p.name, p.start
FROM (SELECT id, name, braid.tumble(date_time, '10 s') AS start FROM person GROUP BY 1, 2, 3) p
	JOIN (SELECT seller, braid.tumble(date_time, '10 s') AS start FROM auction GROUP BY 1, 2) a
	ON p.id = a.seller AND p.start = a.start
SQL
	q9 => [ 'winning bids' => <<"SQL" ],
SELECT id, item_name, description, initial_bid, reserve, date_time, expires, seller, category, extra,
	auction, bidder, price, bid_date_time, bid_extra
FROM (
	SELECT a.*, b.auction, b.bidder, b.price, b.date_time AS bid_date_time, b.extra AS bid_extra,
		row_number() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.date_time, b.bidder) AS rank
	FROM $winning) q
WHERE rank <= 1
SQL
	q10 => [ 'log to files by minute' => <<'SQL' ],
SELECT auction, bidder, price, date_time, extra, to_char(date_time, 'YYYY-MM-DD') AS dt, to_char(date_time, 'HH24:MI') AS hm
FROM bid
SQL
	q11 => [ 'user sessions' => <<'SQL' ],
SELECT bidder, count(*) AS bid_count, start, ends
FROM (
	SELECT bidder, braid.session(date_time, '10 s') OVER w AS start, braid.session_end(date_time, '10 s') OVER w AS ends
	FROM bid WINDOW w AS (PARTITION BY bidder ORDER BY date_time)) s
GROUP BY bidder, start, ends
SQL
	q12 => [ 'bids of a user in each window' => <<'SQL' ],
SELECT bidder, count(*) AS bid_count, braid.tumble(date_time, '10 s') AS start, braid.tumble_end(date_time, '10 s') AS ends
FROM bid
GROUP BY 1, 3, 4
SQL
	q13 => [ 'join with a side input' => <<'SQL' ],
SELECT b.auction, b.bidder, b.price, b.date_time, s.value
FROM bid b JOIN side_input s ON b.auction % 10000 = s.key
SQL
	q14 => [ 'calculation' => <<'SQL' ],
SELECT auction, bidder, 0.908 * price AS price,
	CASE WHEN extract(hour FROM date_time) BETWEEN 8 AND 18 THEN 'day'
		WHEN extract(hour FROM date_time) <= 6 OR extract(hour FROM date_time) >= 20 THEN 'night'
		ELSE 'other' END AS bid_time_type,
	date_time, extra, count_char(extra, 'c') AS c_counts
FROM bid
WHERE 0.908 * price > 1000000 AND 0.908 * price < 50000000
SQL
	q15 => [ 'bidding statistics' => <<"SQL" ],
SELECT date_time::date AS day,
	$by_rank
FROM bid
GROUP BY 1
SQL
	q16 => [ 'channel statistics' => <<"SQL" ],
SELECT channel, date_time::date AS day, max(date_trunc('minute', date_time)) AS minute,
	$by_rank
FROM bid
GROUP BY 1, 2
SQL
	q17 => [ 'auction statistics' => <<'SQL' ],
SELECT auction, date_time::date AS day, count(*) AS total_bids,
	count(*) FILTER (WHERE price < 10000) AS rank1_bids,
	count(*) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_bids,
	count(*) FILTER (WHERE price >= 1000000) AS rank3_bids,
	min(price) AS min_price, max(price) AS max_price, avg(price) AS avg_price, sum(price) AS sum_price
FROM bid
GROUP BY 1, 2
SQL
	q18 => [ 'last bid of a bidder on an auction' => <<'SQL' ],
SELECT auction, bidder, price, channel, url, date_time, extra
FROM (SELECT *, row_number() OVER (PARTITION BY bidder, auction ORDER BY date_time DESC, price, channel, url, extra) AS rank FROM bid) q
WHERE rank <= 1
SQL
	q19 => [ 'top 10 bids of an auction' => <<'SQL' ],
SELECT *
FROM (SELECT *, row_number() OVER (PARTITION BY auction ORDER BY price DESC, date_time, bidder, channel, url, extra) AS rank FROM bid) q
WHERE rank <= 10
SQL
	q20 => [ 'bids with their auction' => <<'SQL' ],
SELECT b.auction, b.bidder, b.price, b.channel, b.url, b.date_time AS bid_date_time, b.extra AS bid_extra,
	a.item_name, a.description, a.initial_bid, a.reserve, a.date_time, a.expires, a.seller, a.category, a.extra
FROM bid b JOIN auction a ON b.auction = a.id
WHERE a.category = 10
SQL
	q21 => [ 'channel ids' => <<'SQL' ],
SELECT auction, bidder, price, channel,
	CASE lower(channel) WHEN 'apple' THEN '0' WHEN 'google' THEN '1' WHEN 'facebook' THEN '2' WHEN 'baidu' THEN '3'
		ELSE (regexp_match(url, '(?:&|^)channel_id=([^&]*)'))[1] END AS channel_id
FROM bid
WHERE (regexp_match(url, '(?:&|^)channel_id=([^&]*)'))[1] IS NOT NULL
	OR lower(channel) IN ('apple', 'google', 'facebook', 'baidu')
SQL
	q22 => [ 'directories of URLs' => <<'SQL' ],
SELECT auction, bidder, price, channel, split_part(url, '/', 4) AS dir1, split_part(url, '/', 5) AS dir2, split_part(url, '/', 6) AS dir3
FROM bid
SQL
);

# What each query looks up in the rows that came before, beyond the ids of people and auctions.
our %indexes = (
	q3 => ['auction (seller)'],
	q4 => ['bid (auction)'],
	q6 => [ 'bid (auction)', 'auction (seller)' ],
	q7 => ['bid (date_time)'],
	q9 => ['bid (auction)'],
	q18 => ['bid (bidder, auction)'],
	q19 => ['bid (auction)'],
	q20 => ['bid (auction)']);

# Thousands of events a second and core that Flink 1.13 is published with, on three
# workers of 8 cores, 32 GB and SSDs, with parallelism 8, RocksDB as its state, a checkpoint every
# 3 minutes and batches of 2 s: 100 million events, made in process, results thrown
# away (github.com/nexmark/nexmark, README). It has no q6.
our %flink = (
	q0 => 155.02, q1 => 157.94, q2 => 175.21, q3 => 152.12, q4 => 34.33, q5 => 22.14, q7 => 12.33, q8 => 146.14,
	q9 => 14.24, q10 => 57.81, q11 => 39.7, q12 => 75.67, q13 => 130.73, q14 => 161.23, q15 => 72.42, q16 => 18.65,
	q17 => 116.8, q18 => 53.7, q19 => 44.04, q20 => 18.98, q21 => 98.49, q22 => 129.96);

1;
