-- What CREATE EXTENSION makes, and the rules that all of it follows.
CREATE EXTENSION braid;
SELECT braid.version() = extversion AS library_and_script_agree
FROM pg_extension WHERE extname = 'braid';

-- Every object of the public schema is described.
SELECT 'function ' || p.oid::regprocedure AS without_comment
FROM pg_proc p WHERE pronamespace IN ('braid'::regnamespace, 'braid_internal'::regnamespace)
	AND obj_description(p.oid, 'pg_proc') IS NULL
UNION ALL
SELECT 'relation ' || c.oid::regclass
FROM pg_class c WHERE relnamespace IN ('braid'::regnamespace, 'braid_internal'::regnamespace)
	AND relkind IN ('r', 'v', 'f', 'p') AND obj_description(c.oid, 'pg_class') IS NULL
ORDER BY 1;

-- No function depends on the caller's search_path.
SELECT p.oid::regprocedure AS without_search_path
FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
WHERE pronamespace IN ('braid'::regnamespace, 'braid_internal'::regnamespace)
	AND l.lanname IN ('sql', 'plpgsql')
	AND NOT EXISTS (SELECT FROM unnest(proconfig) c WHERE c LIKE 'search_path=%')
ORDER BY 1;

-- Those that run with more rights than their caller's: for operators and resolvers,
-- and for nobody else.
SELECT p.oid::regprocedure AS security_definer,
	(SELECT string_agg(a.grantee::regrole::text, ', ') FROM aclexplode(p.proacl) a WHERE a.grantee <> p.proowner) AS granted_to
FROM pg_proc p WHERE pronamespace IN ('braid'::regnamespace, 'braid_internal'::regnamespace) AND prosecdef
ORDER BY 1;

-- What everybody may read or write of the internal schema.
SELECT c.relname, a.privilege_type
FROM pg_class c, aclexplode(c.relacl) a
WHERE c.relnamespace = 'braid_internal'::regnamespace AND a.grantee = 0
ORDER BY 1, 2;

-- The prefix is reserved.
SET braid.no_such_parameter = 1;

-- Fault injection says what it does not know.
SELECT braid_internal.failpoint_set('x', 'explode');
SELECT braid_internal.failpoint_set('', 'wait');

DROP EXTENSION braid;
SELECT count(*) AS schemas_left FROM pg_namespace WHERE nspname LIKE 'braid%';
CREATE EXTENSION braid;
