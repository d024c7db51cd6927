
-- ---------------------------------------------------------------- view: event time

CREATE FUNCTION braid_internal.view_time(id int, OUT watermark text, OUT late bigint, OUT dropped bigint, OUT diverted bigint)
AS 'MODULE_PATHNAME', 'braid_sql_view_time' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION braid_internal.view_time(int) IS
'The watermark of the continuous view with this id and what it counts of late rows; nulls if it has none.';

CREATE FUNCTION braid.diverted(view regclass, OUT "row" jsonb, OUT weight int, OUT reason text, OUT watermark text, OUT diverted_at timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'braid_sql_diverted' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION braid.diverted(regclass) IS
'Rows that came too late for a continuous view with braid.late = divert, in the form in which they are grouped: "row" has the keys of the group and what is aggregated. weight: 1 for a row that came, -1 for one that went. reason: closed (the window was), or expired (and its groups are deleted, see braid.retain). watermark: the one that had passed the window. Errors: 42809 not a continuous view, 42501 not its owner, 55000 it does not divert.';

CREATE FUNCTION braid.merge_diverted(view regclass) RETURNS bigint
AS 'MODULE_PATHNAME', 'braid_sql_merge_diverted' LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION braid.merge_diverted(regclass) IS
'Has the rows that braid.diverted() shows merged into their groups, once this transaction commits; they are not diverted again. Rows whose groups have expired stay. Returns how many rows that are, at most. braid.wait() waits for it. Errors: as braid.diverted().';
