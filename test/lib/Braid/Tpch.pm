# Braid::Tpch: the tables, queries and refresh functions of TPC-H, small.
#
# Follows the text of the specification, with data made by SQL instead of the
# benchmark's generator: keys, domains and the rules between columns are the
# specification's, texts are shorter. Every value is a hash of its row's key, so
# that all runs have the same data. Parameters of the queries are chosen such that
# each returns rows at a scale of 0.01, the default; BRAID_TPCH_SCALE is another.
# Numbers measured with it are no results of the benchmark.
package Braid::Tpch;

use strict;
use warnings;

our $scale = $ENV{BRAID_TPCH_SCALE} // 0.01;
my $suppliers = 10_000 * $scale;
my $parts = 200_000 * $scale;
my $customers = 150_000 * $scale;
my $orders = 1_500_000 * $scale;
my $refreshed = $orders / 1000;

our $schema = <<'SQL';
CREATE TABLE region (r_regionkey int PRIMARY KEY, r_name char(25) NOT NULL, r_comment varchar(152));
CREATE TABLE nation (n_nationkey int PRIMARY KEY, n_name char(25) NOT NULL,
	n_regionkey int NOT NULL REFERENCES region, n_comment varchar(152));
CREATE TABLE supplier (s_suppkey int PRIMARY KEY, s_name char(25) NOT NULL, s_address varchar(40) NOT NULL,
	s_nationkey int NOT NULL REFERENCES nation, s_phone char(15) NOT NULL, s_acctbal numeric(15,2) NOT NULL,
	s_comment varchar(101) NOT NULL);
CREATE TABLE part (p_partkey int PRIMARY KEY, p_name varchar(55) NOT NULL, p_mfgr char(25) NOT NULL,
	p_brand char(10) NOT NULL, p_type varchar(25) NOT NULL, p_size int NOT NULL, p_container char(10) NOT NULL,
	p_retailprice numeric(15,2) NOT NULL, p_comment varchar(23) NOT NULL);
CREATE TABLE partsupp (ps_partkey int NOT NULL REFERENCES part, ps_suppkey int NOT NULL REFERENCES supplier,
	ps_availqty int NOT NULL, ps_supplycost numeric(15,2) NOT NULL, ps_comment varchar(199) NOT NULL,
	PRIMARY KEY (ps_partkey, ps_suppkey));
CREATE TABLE customer (c_custkey int PRIMARY KEY, c_name varchar(25) NOT NULL, c_address varchar(40) NOT NULL,
	c_nationkey int NOT NULL REFERENCES nation, c_phone char(15) NOT NULL, c_acctbal numeric(15,2) NOT NULL,
	c_mktsegment char(10) NOT NULL, c_comment varchar(117) NOT NULL);
CREATE TABLE orders (o_orderkey bigint PRIMARY KEY, o_custkey int NOT NULL REFERENCES customer,
	o_orderstatus char(1) NOT NULL, o_totalprice numeric(15,2) NOT NULL, o_orderdate date NOT NULL,
	o_orderpriority char(15) NOT NULL, o_clerk char(15) NOT NULL, o_shippriority int NOT NULL,
	o_comment varchar(79) NOT NULL);
CREATE TABLE lineitem (l_orderkey bigint NOT NULL REFERENCES orders, l_partkey int NOT NULL, l_suppkey int NOT NULL,
	l_linenumber int NOT NULL, l_quantity numeric(15,2) NOT NULL, l_extendedprice numeric(15,2) NOT NULL,
	l_discount numeric(15,2) NOT NULL, l_tax numeric(15,2) NOT NULL, l_returnflag char(1) NOT NULL,
	l_linestatus char(1) NOT NULL, l_shipdate date NOT NULL, l_commitdate date NOT NULL, l_receiptdate date NOT NULL,
	l_shipinstruct char(25) NOT NULL, l_shipmode char(10) NOT NULL, l_comment varchar(44) NOT NULL,
	PRIMARY KEY (l_orderkey, l_linenumber),
	FOREIGN KEY (l_partkey, l_suppkey) REFERENCES partsupp);
CREATE INDEX ON nation (n_regionkey);
CREATE INDEX ON supplier (s_nationkey);
CREATE INDEX ON partsupp (ps_suppkey);
CREATE INDEX ON customer (c_nationkey);
CREATE INDEX ON orders (o_custkey);
CREATE INDEX ON lineitem (l_partkey, l_suppkey);
CREATE INDEX ON lineitem (l_suppkey);

-- A number from low to high for a key; another one for each salt.
CREATE FUNCTION pick(key bigint, salt int, low int, high int) RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
	'SELECT low + ((hashint8extended(key, salt) & 2147483647) % (high - low + 1))::int';
CREATE FUNCTION word(key bigint, salt int, words text[]) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
	'SELECT words[pick(key, salt, 1, cardinality(words))]';
CREATE FUNCTION phone(nation int, key bigint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
	$$SELECT concat_ws('-', nation + 10, pick(key, 91, 100, 999), pick(key, 92, 100, 999), pick(key, 93, 1000, 9999))$$;
CREATE FUNCTION retail_price(part int) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
	'SELECT ((90000 + (part / 10) % 20001 + 100 * (part % 1000)) / 100.0)::numeric(15,2)';
SQL

# The keys of orders are sparse, 8 of each 32; refreshed ones fill gaps.
my $make_orders = <<"SQL";
CREATE FUNCTION supplier_of(part int, nth int) RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
	'SELECT (part + nth * ($suppliers / 4 + (part - 1) / $suppliers)) % $suppliers + 1';

-- Orders number low to high with their lines. offset moves their keys.
CREATE PROCEDURE make_orders(low int, high int, key_offset int) LANGUAGE plpgsql AS \$\$
BEGIN
	CREATE TEMPORARY TABLE new_lines ON COMMIT DROP AS
	SELECT o.key, l.line, l.id, part, supplier_of(part, pick(l.id, 42, 0, 3)) AS supplier, quantity,
		quantity * retail_price(part) AS price, pick(l.id, 43, 0, 10) / 100.0 AS discount, pick(l.id, 44, 0, 8) / 100.0 AS tax,
		ordered, ordered + pick(l.id, 45, 1, 121) AS shipped, ordered + pick(l.id, 46, 30, 90) AS committed
	FROM (SELECT ((n - 1) / 8) * 32 + (n - 1) % 8 + 1 + key_offset AS key,
			date '1992-01-01' + pick(n * 64 + key_offset, 40, 0, 2405) AS ordered
		FROM generate_series(low, high) n) o
		CROSS JOIN LATERAL (SELECT line, o.key * 8 + line AS id FROM generate_series(1, pick(o.key, 41, 1, 7)) line) l
		CROSS JOIN LATERAL (SELECT pick(l.id, 47, 1, $parts) AS part, pick(l.id, 48, 1, 50) AS quantity) p;

	INSERT INTO orders
	SELECT key, pick(key, 50, 0, $customers / 3 - 1) * 3 + pick(key, 51, 1, 2),
		CASE WHEN bool_and(shipped > date '1995-06-17') THEN 'O' WHEN bool_or(shipped > date '1995-06-17') THEN 'P' ELSE 'F' END,
		sum(round(price * (1 + tax) * (1 - discount), 2)), ordered,
		word(key, 52, '{1-URGENT,2-HIGH,3-MEDIUM,4-NOT SPECIFIED,5-LOW}'),
		'Clerk#' || lpad(pick(key, 53, 1, 10)::text, 9, '0'), 0,
		concat_ws(' ', word(key, 54, '{quick,final,special,bold,express}'), word(key, 55, '{deposits,packages,accounts,ideas}'),
			word(key, 56, '{sleep,wake,haggle,nag}'), word(key, 57, '{requests,theodolites,pinto beans,foxes}'))
	FROM new_lines GROUP BY key, ordered;

	INSERT INTO lineitem
	SELECT key, part, supplier, line, quantity, price, discount, tax,
		CASE WHEN received > date '1995-06-17' THEN 'N' ELSE word(id, 60, '{R,A}') END,
		CASE WHEN shipped > date '1995-06-17' THEN 'O' ELSE 'F' END, shipped, committed, received,
		word(id, 61, '{DELIVER IN PERSON,COLLECT COD,NONE,TAKE BACK RETURN}'),
		word(id, 62, '{REG AIR,AIR,RAIL,SHIP,TRUCK,MAIL,FOB}'), 'line ' || line
	FROM (SELECT *, shipped + pick(id, 63, 1, 30) AS received FROM new_lines) l;
	DROP TABLE new_lines;
END \$\$;
SQL

our $data = $make_orders . <<"SQL";
INSERT INTO region SELECT n - 1, name, 'region ' || name
FROM unnest('{AFRICA,AMERICA,ASIA,EUROPE,MIDDLE EAST}'::text[]) WITH ORDINALITY r (name, n);

INSERT INTO nation SELECT n - 1, split_part(name, ':', 1), split_part(name, ':', 2)::int, 'nation ' || n
FROM unnest('{ALGERIA:0,ARGENTINA:1,BRAZIL:1,CANADA:1,EGYPT:4,ETHIOPIA:0,FRANCE:3,GERMANY:3,INDIA:2,INDONESIA:2,IRAN:4,
	IRAQ:4,JAPAN:2,JORDAN:4,KENYA:0,MOROCCO:0,MOZAMBIQUE:0,PERU:1,CHINA:2,ROMANIA:3,SAUDI ARABIA:4,VIETNAM:2,RUSSIA:3,
	UNITED KINGDOM:3,UNITED STATES:1}'::text[]) WITH ORDINALITY r (name, n);

INSERT INTO supplier SELECT n, 'Supplier#' || lpad(n::text, 9, '0'), 'address ' || n, nation, phone(nation, n),
	pick(n, 2, -99999, 999999) / 100.0,
	CASE WHEN n % 20 = 7 THEN 'the Customer always has Complaints' WHEN n % 20 = 9 THEN 'the Customer Recommends' ELSE 'carefully' END
FROM generate_series(1, $suppliers) n, LATERAL (SELECT pick(n, 1, 0, 24) AS nation) k;

INSERT INTO part SELECT n,
	concat_ws(' ', word(n, 10, colours), word(n, 11, colours), word(n, 12, colours), word(n, 13, colours), word(n, 14, colours)),
	'Manufacturer#' || maker, 'Brand#' || maker || pick(n, 16, 1, 5),
	concat_ws(' ', word(n, 17, '{STANDARD,SMALL,MEDIUM,LARGE,ECONOMY,PROMO}'), word(n, 18, '{ANODIZED,BURNISHED,PLATED,POLISHED,BRUSHED}'),
		word(n, 19, '{TIN,NICKEL,BRASS,STEEL,COPPER}')),
	pick(n, 20, 1, 50),
	word(n, 21, '{SM,LG,MED,JUMBO,WRAP}') || ' ' || word(n, 22, '{CASE,BOX,BAG,JAR,PKG,PACK,CAN,DRUM}'),
	retail_price(n), 'part ' || n
FROM generate_series(1, $parts) n, LATERAL (SELECT pick(n, 15, 1, 5) AS maker,
	'{almond,antique,aquamarine,azure,beige,bisque,black,blanched,blue,blush,brown,burlywood,chartreuse,chiffon,chocolate,coral,
	cornsilk,cream,cyan,dark,deep,dim,dodger,drab,firebrick,floral,forest,frosted,gainsboro,ghost,goldenrod,green,grey,honeydew}'::text[] AS colours) k;

INSERT INTO partsupp SELECT part, supplier_of(part, nth), pick(part * 4 + nth, 30, 1, 9999), pick(part * 4 + nth, 31, 100, 100000) / 100.0,
	'offer ' || nth
FROM generate_series(1, $parts) part, generate_series(0, 3) nth;

INSERT INTO customer SELECT n, 'Customer#' || lpad(n::text, 9, '0'), 'address ' || n, nation, phone(nation, n),
	pick(n, 71, -99999, 999999) / 100.0, word(n, 72, '{AUTOMOBILE,BUILDING,FURNITURE,MACHINERY,HOUSEHOLD}'), 'customer ' || n
FROM generate_series(1, $customers) n, LATERAL (SELECT pick(n, 70, 0, 24) AS nation) k;

CALL make_orders(1, $orders, 0);
ANALYZE;
SQL

# The statements of RF1 of the nth refresh: new orders with their lines.
sub insert_orders
{
	my ($n) = @_;
	return sprintf 'CALL make_orders(%d, %d, 8)', ($n - 1) * $refreshed + 1, $n * $refreshed;
}

# RF2: the oldest orders and their lines go.
sub delete_orders
{
	my ($n) = @_;
	my $keys = sprintf 'SELECT ((n - 1) / 8) * 32 + (n - 1) %% 8 + 1 FROM generate_series(%d, %d) n',
	  ($n - 1) * $refreshed + 1, $n * $refreshed;
	return "DELETE FROM lineitem WHERE l_orderkey IN ($keys);\nDELETE FROM orders WHERE o_orderkey IN ($keys)";
}

# Beyond the benchmark: every table that is not refreshed changes, too.
our @updates = (
	[ 'a nation moves to another region' => 'UPDATE nation SET n_regionkey = 3 WHERE n_nationkey IN (0, 20)' ],
	[ 'a region and nations change names' => q{UPDATE region SET r_name = lower(r_name) WHERE r_name = 'MIDDLE EAST';
		UPDATE nation SET n_name = CASE n_name WHEN 'FRANCE' THEN 'GERMANY' ELSE 'FRANCE' END WHERE n_name IN ('FRANCE', 'GERMANY')} ],
	[ 'suppliers move, and are complained of' => q{UPDATE supplier SET s_nationkey = CASE s_suppkey % 20 WHEN 3 THEN 3 ELSE 20 END WHERE s_suppkey % 10 = 3;
		UPDATE supplier SET s_comment = 'Customer of Complaints' WHERE s_suppkey % 25 = 4} ],
	[ 'parts change' => q{UPDATE part SET p_type = 'PROMO PLATED BRASS', p_size = 15 WHERE p_partkey % 100 = 1;
		UPDATE part SET p_brand = 'Brand#23', p_container = 'MED BOX' WHERE p_partkey % 500 = 2;
		UPDATE part SET p_name = 'forest green' WHERE p_partkey % 50 = 3} ],
	[ 'offers change' => 'UPDATE partsupp SET ps_supplycost = ps_supplycost / 2, ps_availqty = ps_availqty * 2 WHERE ps_partkey % 50 = 1' ],
	[ 'customers move and change segment' => q{UPDATE customer SET c_nationkey = (c_nationkey + 3) % 25 WHERE c_custkey % 40 = 1;
		UPDATE customer SET c_mktsegment = 'BUILDING', c_acctbal = c_acctbal + 1000 WHERE c_custkey % 30 = 2} ],
	[ 'lines are corrected' => q{UPDATE lineitem SET l_quantity = 50, l_extendedprice = l_extendedprice * 3, l_receiptdate = l_receiptdate + 40
		WHERE l_orderkey % 512 = 1 OR l_suppkey = 23;
		UPDATE orders SET o_comment = 'special requests', o_orderpriority = '1-URGENT' WHERE o_orderkey % 512 = 2} ],
);

# Number => query. Ties in ORDER BY ... LIMIT are broken by keys.
our %queries = (
	1 => <<'SQL',
SELECT l_returnflag, l_linestatus, sum(l_quantity) AS sum_qty, sum(l_extendedprice) AS sum_base_price,
	sum(l_extendedprice * (1 - l_discount)) AS sum_disc_price,
	sum(l_extendedprice * (1 - l_discount) * (1 + l_tax)) AS sum_charge,
	avg(l_quantity) AS avg_qty, avg(l_extendedprice) AS avg_price, avg(l_discount) AS avg_disc, count(*) AS count_order
FROM lineitem
WHERE l_shipdate <= date '1998-12-01' - interval '90 days'
GROUP BY l_returnflag, l_linestatus
ORDER BY l_returnflag, l_linestatus
SQL
	2 => <<'SQL',
SELECT s_acctbal, s_name, n_name, p_partkey, p_mfgr, s_address, s_phone, s_comment
FROM part, supplier, partsupp, nation, region
WHERE p_partkey = ps_partkey AND s_suppkey = ps_suppkey AND p_size = 15 AND p_type LIKE '%BRASS'
	AND s_nationkey = n_nationkey AND n_regionkey = r_regionkey AND r_name = 'EUROPE'
	AND ps_supplycost = (
		SELECT min(ps_supplycost)
		FROM partsupp, supplier, nation, region
		WHERE p_partkey = ps_partkey AND s_suppkey = ps_suppkey AND s_nationkey = n_nationkey
			AND n_regionkey = r_regionkey AND r_name = 'EUROPE')
ORDER BY s_acctbal DESC, n_name, s_name, p_partkey
LIMIT 100
SQL
	3 => <<'SQL',
SELECT l_orderkey, sum(l_extendedprice * (1 - l_discount)) AS revenue, o_orderdate, o_shippriority
FROM customer, orders, lineitem
WHERE c_mktsegment = 'BUILDING' AND c_custkey = o_custkey AND l_orderkey = o_orderkey
	AND o_orderdate < date '1995-03-15' AND l_shipdate > date '1995-03-15'
GROUP BY l_orderkey, o_orderdate, o_shippriority
ORDER BY revenue DESC, o_orderdate, l_orderkey
LIMIT 10
SQL
	4 => <<'SQL',
SELECT o_orderpriority, count(*) AS order_count
FROM orders
WHERE o_orderdate >= date '1993-07-01' AND o_orderdate < date '1993-07-01' + interval '3 months'
	AND EXISTS (SELECT * FROM lineitem WHERE l_orderkey = o_orderkey AND l_commitdate < l_receiptdate)
GROUP BY o_orderpriority
ORDER BY o_orderpriority
SQL
	5 => <<'SQL',
SELECT n_name, sum(l_extendedprice * (1 - l_discount)) AS revenue
FROM customer, orders, lineitem, supplier, nation, region
WHERE c_custkey = o_custkey AND l_orderkey = o_orderkey AND l_suppkey = s_suppkey AND c_nationkey = s_nationkey
	AND s_nationkey = n_nationkey AND n_regionkey = r_regionkey AND r_name = 'ASIA'
	AND o_orderdate >= date '1994-01-01' AND o_orderdate < date '1994-01-01' + interval '1 year'
GROUP BY n_name
ORDER BY revenue DESC
SQL
	6 => <<'SQL',
SELECT sum(l_extendedprice * l_discount) AS revenue
FROM lineitem
WHERE l_shipdate >= date '1994-01-01' AND l_shipdate < date '1994-01-01' + interval '1 year'
	AND l_discount BETWEEN 0.06 - 0.01 AND 0.06 + 0.01 AND l_quantity < 24
SQL
	7 => <<'SQL',
SELECT supp_nation, cust_nation, l_year, sum(volume) AS revenue
FROM (
	SELECT n1.n_name AS supp_nation, n2.n_name AS cust_nation, extract(year FROM l_shipdate) AS l_year,
		l_extendedprice * (1 - l_discount) AS volume
	FROM supplier, lineitem, orders, customer, nation n1, nation n2
	WHERE s_suppkey = l_suppkey AND o_orderkey = l_orderkey AND c_custkey = o_custkey
		AND s_nationkey = n1.n_nationkey AND c_nationkey = n2.n_nationkey
		AND ((n1.n_name = 'FRANCE' AND n2.n_name = 'GERMANY') OR (n1.n_name = 'GERMANY' AND n2.n_name = 'FRANCE'))
		AND l_shipdate BETWEEN date '1995-01-01' AND date '1996-12-31') AS shipping
GROUP BY supp_nation, cust_nation, l_year
ORDER BY supp_nation, cust_nation, l_year
SQL
	8 => <<'SQL',
SELECT o_year, sum(CASE WHEN nation = 'BRAZIL' THEN volume ELSE 0 END) / sum(volume) AS mkt_share
FROM (
	SELECT extract(year FROM o_orderdate) AS o_year, l_extendedprice * (1 - l_discount) AS volume, n2.n_name AS nation
	FROM part, supplier, lineitem, orders, customer, nation n1, nation n2, region
	WHERE p_partkey = l_partkey AND s_suppkey = l_suppkey AND l_orderkey = o_orderkey AND o_custkey = c_custkey
		AND c_nationkey = n1.n_nationkey AND n1.n_regionkey = r_regionkey AND r_name = 'AMERICA'
		AND s_nationkey = n2.n_nationkey AND o_orderdate BETWEEN date '1995-01-01' AND date '1996-12-31'
		AND p_type = 'ECONOMY ANODIZED STEEL') AS all_nations
GROUP BY o_year
ORDER BY o_year
SQL
	9 => <<'SQL',
SELECT nation, o_year, sum(amount) AS sum_profit
FROM (
	SELECT n_name AS nation, extract(year FROM o_orderdate) AS o_year,
		l_extendedprice * (1 - l_discount) - ps_supplycost * l_quantity AS amount
	FROM part, supplier, lineitem, partsupp, orders, nation
	WHERE s_suppkey = l_suppkey AND ps_suppkey = l_suppkey AND ps_partkey = l_partkey AND p_partkey = l_partkey
		AND o_orderkey = l_orderkey AND s_nationkey = n_nationkey AND p_name LIKE '%green%') AS profit
GROUP BY nation, o_year
ORDER BY nation, o_year DESC
SQL
	10 => <<'SQL',
SELECT c_custkey, c_name, sum(l_extendedprice * (1 - l_discount)) AS revenue, c_acctbal, n_name, c_address, c_phone, c_comment
FROM customer, orders, lineitem, nation
WHERE c_custkey = o_custkey AND l_orderkey = o_orderkey
	AND o_orderdate >= date '1993-10-01' AND o_orderdate < date '1993-10-01' + interval '3 months'
	AND l_returnflag = 'R' AND c_nationkey = n_nationkey
GROUP BY c_custkey, c_name, c_acctbal, c_phone, n_name, c_address, c_comment
ORDER BY revenue DESC, c_custkey
LIMIT 20
SQL
	11 => <<'SQL',
SELECT ps_partkey, sum(ps_supplycost * ps_availqty) AS value
FROM partsupp, supplier, nation
WHERE ps_suppkey = s_suppkey AND s_nationkey = n_nationkey AND n_name = 'GERMANY'
GROUP BY ps_partkey
HAVING sum(ps_supplycost * ps_availqty) > (
	SELECT sum(ps_supplycost * ps_availqty) * SHARE
	FROM partsupp, supplier, nation
	WHERE ps_suppkey = s_suppkey AND s_nationkey = n_nationkey AND n_name = 'GERMANY')
ORDER BY value DESC, ps_partkey
SQL
	12 => <<'SQL',
SELECT l_shipmode,
	sum(CASE WHEN o_orderpriority = '1-URGENT' OR o_orderpriority = '2-HIGH' THEN 1 ELSE 0 END) AS high_line_count,
	sum(CASE WHEN o_orderpriority <> '1-URGENT' AND o_orderpriority <> '2-HIGH' THEN 1 ELSE 0 END) AS low_line_count
FROM orders, lineitem
WHERE o_orderkey = l_orderkey AND l_shipmode IN ('MAIL', 'SHIP') AND l_commitdate < l_receiptdate AND l_shipdate < l_commitdate
	AND l_receiptdate >= date '1994-01-01' AND l_receiptdate < date '1994-01-01' + interval '1 year'
GROUP BY l_shipmode
ORDER BY l_shipmode
SQL
	13 => <<'SQL',
SELECT c_count, count(*) AS custdist
FROM (
	SELECT c_custkey, count(o_orderkey)
	FROM customer LEFT OUTER JOIN orders ON c_custkey = o_custkey AND o_comment NOT LIKE '%special%requests%'
	GROUP BY c_custkey) AS c_orders (c_custkey, c_count)
GROUP BY c_count
ORDER BY custdist DESC, c_count DESC
SQL
	14 => <<'SQL',
SELECT 100.00 * sum(CASE WHEN p_type LIKE 'PROMO%' THEN l_extendedprice * (1 - l_discount) ELSE 0 END)
	/ sum(l_extendedprice * (1 - l_discount)) AS promo_revenue
FROM lineitem, part
WHERE l_partkey = p_partkey AND l_shipdate >= date '1995-09-01' AND l_shipdate < date '1995-09-01' + interval '1 month'
SQL
	15 => <<'SQL',
WITH revenue (supplier_no, total_revenue) AS (
	SELECT l_suppkey, sum(l_extendedprice * (1 - l_discount))
	FROM lineitem
	WHERE l_shipdate >= date '1996-01-01' AND l_shipdate < date '1996-01-01' + interval '3 months'
	GROUP BY l_suppkey)
SELECT s_suppkey, s_name, s_address, s_phone, total_revenue
FROM supplier, revenue
WHERE s_suppkey = supplier_no AND total_revenue = (SELECT max(total_revenue) FROM revenue)
ORDER BY s_suppkey
SQL
	16 => <<'SQL',
SELECT p_brand, p_type, p_size, count(DISTINCT ps_suppkey) AS supplier_cnt
FROM partsupp, part
WHERE p_partkey = ps_partkey AND p_brand <> 'Brand#45' AND p_type NOT LIKE 'MEDIUM POLISHED%'
	AND p_size IN (49, 14, 23, 45, 19, 3, 36, 9)
	AND ps_suppkey NOT IN (SELECT s_suppkey FROM supplier WHERE s_comment LIKE '%Customer%Complaints%')
GROUP BY p_brand, p_type, p_size
ORDER BY supplier_cnt DESC, p_brand, p_type, p_size
SQL
	17 => <<'SQL',
SELECT sum(l_extendedprice) / 7.0 AS avg_yearly
FROM lineitem, part
WHERE p_partkey = l_partkey AND p_brand = 'Brand#23' AND p_container = 'MED BOX'
	AND l_quantity < (SELECT 0.2 * avg(l_quantity) FROM lineitem WHERE l_partkey = p_partkey)
SQL
	18 => <<'SQL',
SELECT c_name, c_custkey, o_orderkey, o_orderdate, o_totalprice, sum(l_quantity)
FROM customer, orders, lineitem
WHERE o_orderkey IN (SELECT l_orderkey FROM lineitem GROUP BY l_orderkey HAVING sum(l_quantity) > 270)
	AND c_custkey = o_custkey AND o_orderkey = l_orderkey
GROUP BY c_name, c_custkey, o_orderkey, o_orderdate, o_totalprice
ORDER BY o_totalprice DESC, o_orderdate, o_orderkey
LIMIT 100
SQL
	19 => <<'SQL',
SELECT sum(l_extendedprice * (1 - l_discount)) AS revenue
FROM lineitem, part
WHERE (p_partkey = l_partkey AND p_brand = 'Brand#12' AND p_container IN ('SM CASE', 'SM BOX', 'SM PACK', 'SM PKG')
		AND l_quantity >= 1 AND l_quantity <= 1 + 30 AND p_size BETWEEN 1 AND 25
		AND l_shipmode IN ('AIR', 'REG AIR') AND l_shipinstruct = 'DELIVER IN PERSON')
	OR (p_partkey = l_partkey AND p_brand = 'Brand#23' AND p_container IN ('MED BAG', 'MED BOX', 'MED PKG', 'MED PACK')
		AND l_quantity >= 10 AND l_quantity <= 10 + 30 AND p_size BETWEEN 1 AND 40
		AND l_shipmode IN ('AIR', 'REG AIR') AND l_shipinstruct = 'DELIVER IN PERSON')
	OR (p_partkey = l_partkey AND p_brand = 'Brand#34' AND p_container IN ('LG CASE', 'LG BOX', 'LG PACK', 'LG PKG')
		AND l_quantity >= 20 AND l_quantity <= 20 + 30 AND p_size BETWEEN 1 AND 50
		AND l_shipmode IN ('AIR', 'REG AIR') AND l_shipinstruct = 'DELIVER IN PERSON')
SQL
	20 => <<'SQL',
SELECT s_name, s_address
FROM supplier, nation
WHERE s_suppkey IN (
		SELECT ps_suppkey
		FROM partsupp
		WHERE ps_partkey IN (SELECT p_partkey FROM part WHERE p_name LIKE 'forest%')
			AND ps_availqty > (
				SELECT 0.5 * sum(l_quantity)
				FROM lineitem
				WHERE l_partkey = ps_partkey AND l_suppkey = ps_suppkey
					AND l_shipdate >= date '1994-01-01' AND l_shipdate < date '1994-01-01' + interval '1 year'))
	AND s_nationkey = n_nationkey AND n_name = 'CANADA'
ORDER BY s_name
SQL
	21 => <<'SQL',
SELECT s_name, count(*) AS numwait
FROM supplier, lineitem l1, orders, nation
WHERE s_suppkey = l1.l_suppkey AND o_orderkey = l1.l_orderkey AND o_orderstatus = 'F' AND l1.l_receiptdate > l1.l_commitdate
	AND EXISTS (SELECT * FROM lineitem l2 WHERE l2.l_orderkey = l1.l_orderkey AND l2.l_suppkey <> l1.l_suppkey)
	AND NOT EXISTS (SELECT * FROM lineitem l3
		WHERE l3.l_orderkey = l1.l_orderkey AND l3.l_suppkey <> l1.l_suppkey AND l3.l_receiptdate > l3.l_commitdate)
	AND s_nationkey = n_nationkey AND n_name = 'SAUDI ARABIA'
GROUP BY s_name
ORDER BY numwait DESC, s_name
LIMIT 100
SQL
	22 => <<'SQL',
SELECT cntrycode, count(*) AS numcust, sum(c_acctbal) AS totacctbal
FROM (
	SELECT substring(c_phone FROM 1 FOR 2) AS cntrycode, c_acctbal
	FROM customer
	WHERE substring(c_phone FROM 1 FOR 2) IN ('13', '31', '23', '29', '30', '18', '17')
		AND c_acctbal > (SELECT avg(c_acctbal) FROM customer
			WHERE c_acctbal > 0.00 AND substring(c_phone FROM 1 FOR 2) IN ('13', '31', '23', '29', '30', '18', '17'))
		AND NOT EXISTS (SELECT * FROM orders WHERE o_custkey = c_custkey)) AS custsale
GROUP BY cntrycode
ORDER BY cntrycode
SQL
);

# The specification has the share in proportion to the scale.
$queries{11} =~ s/SHARE/0.00004 \/ $scale/e;

1;
