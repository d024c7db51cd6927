-- Row-level security of the tables below a continuous view: it shows what its owner may see.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS braid;
CREATE ROLE regress_rls_alice;
CREATE ROLE regress_rls_bob;
CREATE ROLE regress_rls_staff;
GRANT ALL ON SCHEMA public TO regress_rls_alice, regress_rls_bob;
CREATE TABLE letters (id int PRIMARY KEY, owner name, secret boolean, words int);
CREATE TABLE kinds (words int, kind text);
INSERT INTO letters VALUES (1, 'regress_rls_alice', false, 10), (2, 'regress_rls_alice', true, 20), (3, 'regress_rls_bob', false, 30), (4, 'regress_rls_bob', true, 40);
INSERT INTO kinds VALUES (10, 'short'), (20, 'short'), (30, 'long'), (40, 'long');
ALTER TABLE letters REPLICA IDENTITY FULL;
ALTER TABLE kinds REPLICA IDENTITY FULL;
GRANT SELECT (id, words) ON letters TO regress_rls_alice, regress_rls_bob;
GRANT SELECT ON kinds TO regress_rls_alice, regress_rls_bob;
ALTER TABLE letters ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON letters USING (owner = current_user);

-- Each owner's views have that owner's rows. The policy's columns need no privilege.
SET ROLE regress_rls_alice;
CREATE MATERIALIZED VIEW alice_words WITH (braid.continuous) AS SELECT count(*), sum(words) FROM letters;
CREATE MATERIALIZED VIEW alice_kinds WITH (braid.continuous) AS SELECT l.id, l.words, k.kind FROM kinds k LEFT JOIN letters l USING (words);
CREATE MATERIALIZED VIEW alice_lists WITH (braid.continuous) AS SELECT words, string_agg(id::text, ',' ORDER BY id) FROM letters GROUP BY words;
CREATE MATERIALIZED VIEW alice_pairs WITH (braid.continuous) AS SELECT a.id, b.id AS other FROM letters a JOIN letters b USING (words);
SET ROLE regress_rls_bob;
CREATE MATERIALIZED VIEW bob_words WITH (braid.continuous) AS SELECT count(*), sum(words) FROM letters;
RESET ROLE;
CREATE MATERIALIZED VIEW all_words WITH (braid.continuous) AS SELECT count(*), sum(words) FROM letters;
CREATE FUNCTION check_all() RETURNS TABLE (view text, live boolean, differences bigint) LANGUAGE sql AS $$
	SELECT name, braid.wait(name::regclass, '60 s'), (SELECT count(*) FROM braid.verify(name::regclass))
	FROM unnest(ARRAY['alice_words', 'alice_kinds', 'alice_lists', 'alice_pairs', 'bob_words', 'all_words']) name
$$;
SELECT * FROM check_all();
SELECT 'alice' AS who, * FROM alice_words UNION ALL SELECT 'bob', * FROM bob_words UNION ALL SELECT 'all', * FROM all_words;
SELECT * FROM alice_kinds ORDER BY kind, id;

-- Rows come, change hands, and go.
INSERT INTO letters VALUES (5, 'regress_rls_alice', false, 10), (6, 'regress_rls_bob', false, 10);
UPDATE letters SET owner = 'regress_rls_alice' WHERE id = 4;
UPDATE letters SET owner = 'regress_rls_bob' WHERE id = 1;
UPDATE letters SET words = words + 20 WHERE id IN (2, 3);
DELETE FROM letters WHERE id = 6;
SELECT * FROM check_all();
SELECT 'alice' AS who, * FROM alice_words UNION ALL SELECT 'bob', * FROM bob_words UNION ALL SELECT 'all', * FROM all_words;
SELECT * FROM alice_kinds ORDER BY kind, id;
SELECT * FROM alice_lists ORDER BY words;

-- A function that tells what it is given is not given the others' rows.
CREATE TABLE told (id int);
GRANT ALL ON told TO regress_rls_alice;
SET ROLE regress_rls_alice;
CREATE FUNCTION tell(int) RETURNS boolean IMMUTABLE COST 0.0001 LANGUAGE plpgsql AS $$
BEGIN
	IF $1 IN (3, 8) THEN RAISE EXCEPTION 'told %', $1; END IF;
	RETURN true;
END $$;
CREATE MATERIALIZED VIEW curious WITH (braid.continuous) AS SELECT id FROM letters WHERE tell(id);
RESET ROLE;
SELECT braid.wait('curious', '60 s');
INSERT INTO letters VALUES (7, 'regress_rls_alice', false, 1), (8, 'regress_rls_bob', false, 1);
SELECT braid.wait('curious', '60 s');
SELECT * FROM curious ORDER BY id;
DROP MATERIALIZED VIEW curious;

-- Restrictive policies, policies for roles, FORCE, and changes of all of them.
CREATE POLICY open_only ON letters AS RESTRICTIVE USING (NOT secret);
SELECT * FROM check_all();
SELECT 'alice' AS who, * FROM alice_words UNION ALL SELECT 'bob', * FROM bob_words UNION ALL SELECT 'all', * FROM all_words;
ALTER POLICY open_only ON letters USING (NOT secret OR words > 50);
CREATE POLICY staff ON letters TO regress_rls_staff USING (words < 50);
SELECT * FROM check_all();
TABLE alice_words;
GRANT regress_rls_staff TO regress_rls_alice;
SELECT * FROM check_all();
TABLE alice_words;
INSERT INTO letters VALUES (9, 'regress_rls_staff', false, 11), (10, 'regress_rls_staff', true, 12);
SELECT * FROM check_all();
TABLE alice_words;
REVOKE regress_rls_staff FROM regress_rls_alice;
SELECT * FROM check_all();
TABLE alice_words;
DROP POLICY open_only ON letters;
DROP POLICY mine ON letters;
SELECT * FROM check_all();
TABLE alice_words;
ALTER TABLE letters DISABLE ROW LEVEL SECURITY;
SELECT * FROM check_all();
TABLE alice_words;

-- Enabled later; a policy that cannot be followed breaks the views to which it applies.
CREATE POLICY mine ON letters USING (owner = current_user);
ALTER TABLE letters ENABLE ROW LEVEL SECURITY;
INSERT INTO letters VALUES (11, 'regress_rls_bob', false, 1);
SELECT * FROM check_all();
TABLE alice_words;
ALTER POLICY mine ON letters USING (owner = current_setting('app.user', true));
INSERT INTO letters VALUES (12, 'regress_rls_alice', false, 1);
SELECT braid.wait('all_words', '60 s');
SELECT braid.wait('alice_words', '60 s');
TABLE alice_words;
ALTER POLICY mine ON letters USING (owner = current_user);
REFRESH MATERIALIZED VIEW alice_words;
REFRESH MATERIALIZED VIEW alice_kinds;
REFRESH MATERIALIZED VIEW alice_lists;
REFRESH MATERIALIZED VIEW alice_pairs;
REFRESH MATERIALIZED VIEW bob_words;
SELECT * FROM check_all();

-- The owner of the table is under its policies if they are forced; another owner of the view has his own rows.
ALTER TABLE letters OWNER TO regress_rls_bob;
SELECT * FROM check_all();
TABLE bob_words;
ALTER TABLE letters FORCE ROW LEVEL SECURITY;
SELECT * FROM check_all();
TABLE bob_words;
ALTER MATERIALIZED VIEW alice_words OWNER TO regress_rls_bob;
SELECT * FROM check_all();
TABLE alice_words;

-- What is refused, and why.
CREATE POLICY clever ON letters USING (words IN (SELECT words FROM kinds));
SET ROLE regress_rls_alice;
CREATE MATERIALIZED VIEW bad WITH (braid.continuous) AS SELECT count(*) FROM letters;
RESET ROLE;
ALTER POLICY clever ON letters USING (letters IS NULL);
SET ROLE regress_rls_alice;
CREATE MATERIALIZED VIEW bad WITH (braid.continuous) AS SELECT count(*) FROM letters;
RESET ROLE;
ALTER POLICY clever ON letters USING (session_user = 'somebody');
SET ROLE regress_rls_alice;
CREATE MATERIALIZED VIEW bad WITH (braid.continuous) AS SELECT count(*) FROM letters;
RESET ROLE;
DROP POLICY clever ON letters;
SET ROLE regress_rls_bob;
CREATE VIEW bobs_letters AS SELECT id FROM letters;
GRANT SELECT ON bobs_letters TO regress_rls_alice;
SET ROLE regress_rls_alice;
CREATE MATERIALIZED VIEW bad WITH (braid.continuous) AS SELECT count(*) FROM bobs_letters;
RESET ROLE;
CREATE MATERIALIZED VIEW bad WITH (braid.continuous) AS SELECT count(*) FROM bobs_letters;

SET client_min_messages = warning;
DROP TABLE letters, kinds, told CASCADE;
DROP FUNCTION check_all;
DROP OWNED BY regress_rls_alice, regress_rls_bob, regress_rls_staff;
DROP ROLE regress_rls_alice, regress_rls_bob, regress_rls_staff;
