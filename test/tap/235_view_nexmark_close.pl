# Nexmark's windowed queries with a watermark and emit = close: each window is shown
# when it can no longer change, with the rows that the query has for it then; what is
# late, withdrawn or corrected afterwards changes nothing that was shown.
use strict;
use warnings;
use Braid::Cluster;
use Braid::Nexmark;
use Test::More;

my $cluster = Braid::Cluster->new('db', { conf => "autovacuum = off\nTimeZone = 'UTC'\n" });
$cluster->sql('db', $Braid::Nexmark::schema);

# Query => [ watermark, the end of a row's window ]
my %views = (
	q5 => [ 'bid.date_time', 'ends' ],
	q7 => [ 'date_time', "braid.tumble_end(date_time, '10 s')" ],
	q8 => [ 'person.date_time, auction.date_time', "start + interval '10 s'" ],
	q12 => [ "date_time - interval '2 s'", 'ends' ]);
my @names = sort keys %views;
for my $name (@names)
{
	$cluster->sql('db', "SET client_min_messages = warning; CREATE MATERIALIZED VIEW $name WITH (braid.continuous, braid.watermark = \$time\$$views{$name}[0]\$time\$, braid.emit = 'close') AS $Braid::Nexmark::queries{$name}[1]");
}
my $waits = 'SELECT ' . join(', ', map { "braid.wait('$_', '60 s')" } @names) . ';';
$cluster->sql('db', $waits);

# Surplus and missing rows among those whose window is closed.
sub differences
{
	return $cluster->sql('db', $waits . join "\n", map {
		my $closed = "SELECT q.* FROM ($Braid::Nexmark::queries{$_}[1]) q WHERE $views{$_}[1] <= (SELECT watermark::timestamp FROM braid.views WHERE name = '$_'::regclass)";
		"SELECT '$_', 'surplus', x FROM (TABLE $_ EXCEPT ALL ($closed)) x; SELECT '$_', 'missing', x FROM (($closed) EXCEPT ALL TABLE $_) x;" } @names);
}

my $all_waited = join('|', ('t') x @names);
for my $round (0 .. 7)
{
	$cluster->sql('db', sprintf 'CALL make_events(%d, %d)', $round * 700, $round * 700 + 699);
	is(differences(), $all_waited, "events until " . ($round * 7 + 7) . ' s: closed windows are those of the query');
}
is($cluster->sql('db', 'SELECT ' . join(' AND ', map { "(SELECT count(*) > 0 FROM $_)" } @names)), 't', 'every view has shown windows');

$cluster->sql('db', join ';', map { "CREATE TABLE was_$_ AS TABLE $_" } @names);
for my $step (@Braid::Nexmark::steps)
{
	my ($when, $sql) = @$step;
	$cluster->sql('db', "BEGIN; $sql; COMMIT; $waits");

	# q7 looks up the bid itself: one that is withdrawn is not there to be shown.
	is($cluster->sql('db', join ' UNION ALL ', map { "SELECT '$_', count(*) FROM (TABLE was_$_ EXCEPT TABLE $_) x HAVING count(*) > 0" } grep { $_ ne 'q7' } @names), '', "$when: what was shown stays");
}
$cluster->sql('db', 'REFRESH MATERIALIZED VIEW q5; REFRESH MATERIALIZED VIEW q8; REFRESH MATERIALIZED VIEW q12;' . $waits);
is($cluster->sql('db', join ' UNION ALL ', map { "SELECT '$_', count(*) FROM (TABLE was_$_ EXCEPT TABLE $_) x HAVING count(*) > 0" } grep { $_ ne 'q7' } @names), '', 'and is not computed again by REFRESH');
is($cluster->sql('db', join ' UNION ALL ', map { "SELECT * FROM braid.verify('$_')" } @names), '', 'braid.verify() finds nothing');
done_testing();
