# Commits whose record ends anywhere about the begin of a page of the log, when nothing
# behind that is flushed: each is in the views.
use strict;
use warnings;
use Braid::Cluster;
use Braid::Views;
use PostgreSQL::Test::Utils;
use Test::More;

# The process that flushes in the background writes whole pages first, and what is left of the last
# one at its next turn: in between, all of a page is in the log and the end of a record is not.
my $cluster = Braid::Cluster->new('db', { conf => <<'CONF' });
synchronous_commit = off
wal_writer_delay = 1s
autovacuum = off
CONF
my $views = Braid::Views->new($cluster, 'db');

sub sql { return $cluster->sql('db', $_[0]); }

# Has a commit record begin so many bytes before the end of a page. A message that is logged for nothing is
# as long as it takes: 24 bytes of a record's head, 5 of its data's, 24 of a message's,
# 2 of its prefix.
sql(<<'SQL');
CREATE TABLE small (k int);
CREATE PROCEDURE place(before int) LANGUAGE plpgsql AS $$
DECLARE
	room int;
BEGIN
	INSERT INTO small VALUES (before);
	room := (8192 * 3 - before - (pg_current_wal_insert_lsn() - '0/0') % 8192) % 8192 - 55;
	IF room < 300 THEN
		PERFORM pg_logical_emit_message(false, '-', repeat('-', 1000));
		room := (8192 * 3 - before - (pg_current_wal_insert_lsn() - '0/0') % 8192) % 8192 - 55;
	END IF;
	PERFORM pg_logical_emit_message(false, '-', repeat('-', room));
	COMMIT;
END $$;
SQL
is($views->create('smalls', 'SELECT k, count(*) FROM small GROUP BY k'), '', 'a view');
is(join("\n", $views->differences), '', 'made');

my $in_between = 0;
for my $before (8, 16, 24, 32, 40, 48)
{
	for my $try (1 .. 5)
	{
		$cluster->hold_capture('db');
		my $offset = sql("CALL place($before); SELECT (pg_current_wal_insert_lsn() - '0/0') % 8192");
		my $hit = $cluster->wait_for('db', q{SELECT pg_current_wal_flush_lsn() >= pg_current_wal_insert_lsn() - (pg_current_wal_insert_lsn() - '0/0') % 8192});
		my $behind = sql('SELECT pg_current_wal_insert_lsn() - pg_current_wal_flush_lsn()');
		$cluster->release_capture('db');
		is(join("\n", $views->differences), '', "$before bytes before a page, ended at $offset, of which $behind were not flushed");
		$in_between++ if $behind == $offset && $offset > 0 && $offset < 100;
		last if $behind == $offset;
	}
}
cmp_ok($in_between, '>=', 3, 'the end of a record was not flushed');
unlike(PostgreSQL::Test::Utils::slurp_file($cluster->node('db')->logfile), qr/WAL ends at/, 'the worker has not looked for more than there is');
done_testing();
