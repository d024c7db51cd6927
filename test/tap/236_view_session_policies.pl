# Sessions with a watermark against a model: one transaction at a time, of rows that
# come in any order, are corrected and withdrawn. Every view must show what its policy
# says, session by session, with what was late counted, put aside and merged; the worker
# is ended, the server restarted and views are rebuilt in between. Then several clients
# at once, and kills. The seed is printed; BRAID_SEED repeats a run's choices.
use strict;
use warnings;
use Braid::Cluster;
use Braid::Policies;
use List::Util qw(any max sum);
use Test::More;

my $steps = $ENV{BRAID_STEPS} // 40;
my $seed = $ENV{BRAID_SEED} // int(rand(1_000_000));
srand($seed);
note "BRAID_SEED=$seed";

# Views are rebuilt in the worker's cycle, or beside it.
my $populating = rand() < 0.5 ? "braid.view_populate_limit = 0\n" : '';
my $cluster = Braid::Cluster->new('db', { conf => "autovacuum = off\nTimeZone = 'UTC'\n$populating" });

# Event time is a number, and the same in seconds after the beginning of 2026-03-29.
$cluster->sql('db', <<'SQL');
CREATE TABLE events (id int, k int, ts bigint, at timestamptz GENERATED ALWAYS AS (to_timestamp(1774742400 + ts)) STORED, v int);
CREATE INDEX ON events (k, ts);
SQL

my ($gap, $delay, $retain) = (10, 5, 30);
my $mark = "braid.watermark = 'ts - $delay'";
my $clock = "braid.watermark = 'at - interval ''$delay s'''";
my $second = "extract(epoch FROM %s - timestamptz '2026-03-29 00:00 UTC')::bigint";

# name => [ options, what is shown beside key and start, policy, by time ]
my $sums = 'max(ts) AS last, count(*) AS n, sum(v) AS s';
my $all = "$sums, min(v) AS low, max(v) AS high";
my $computed = "max(ts) AS last, count(*) AS n, string_agg(v::text, ',' ORDER BY v) AS vs";
my %views = (
	updated => [ $mark, $all, 'update' ],
	dropped => [ "$mark, braid.late = 'drop'", $all, 'drop' ],
	dropped_computed => [ "$clock, braid.late = 'drop'", $computed, 'drop', 1 ],
	diverted => [ "$clock, braid.late = 'divert'", $all, 'divert', 1 ],
	diverted_computed => [ "$mark, braid.late = 'divert'", $computed, 'divert' ],
	closed => [ "$clock, braid.emit = 'close'", $all, 'drop', 1 ],
	closed_diverted => [ "$mark, braid.emit = 'close', braid.late = 'divert'", $all, 'divert' ],
	kept => [ "$mark, braid.base_deletes = 'keep'", $sums, 'update' ],
	kept_dropped => [ "$clock, braid.base_deletes = 'keep', braid.late = 'drop'", $sums, 'drop', 1 ],
	retained => [ "$mark, braid.retain = '$retain'", $all, 'update' ],
	retained_dropped => [ "$clock, braid.retain = '$retain s', braid.late = 'drop'", $all, 'drop', 1 ],
	retained_closed => [ "$mark, braid.retain = '$retain', braid.emit = 'close', braid.late = 'divert'", $all, 'divert' ],
);
my @names = sort keys %views;
sub keeps { return $_[0] =~ /^kept/; }
sub retains { return $_[0] =~ /^retained/; }
sub emits { return $_[0] =~ /closed/; }
sub policy { return $views{ $_[0] }[2]; }
sub freezes { return policy($_[0]) ne 'update' || keeps($_[0]); }

for my $name (@names)
{
	my ($options, $shown, undef, $by_time) = @{ $views{$name} };
	my $session = $by_time ? "braid.session(at, '$gap s') OVER (PARTITION BY k ORDER BY at)" : "braid.session(ts, ${gap}::bigint) OVER (PARTITION BY k ORDER BY ts)";
	$cluster->sql('db', <<"SQL");
SET client_min_messages = warning;
CREATE MATERIALIZED VIEW $name WITH (braid.continuous, $options) AS
	SELECT k, start, $shown FROM (SELECT k, ts, v, $session AS start FROM events) s GROUP BY k, start;
SQL
}
$cluster->sql('db', <<'SQL');
SET client_min_messages = warning;
CREATE MATERIALIZED VIEW over_closed WITH (braid.continuous) AS SELECT k, count(*) AS sessions, sum(n) AS n, sum(s) AS s FROM closed GROUP BY k;
CREATE MATERIALIZED VIEW over_closed_diverted WITH (braid.continuous) AS SELECT k, count(*) AS sessions, sum(n) AS n, sum(s) AS s FROM closed_diverted GROUP BY k;
CREATE MATERIALIZED VIEW over_retained WITH (braid.continuous) AS SELECT k, count(*) AS sessions, sum(n) AS n, sum(s) AS s FROM retained GROUP BY k;
SQL
my @over = qw(over_closed over_closed_diverted over_retained);

# ---------------------------------------------------------------- the model

# A session is { k, first, last, vs, n, s }: its values, how many they are, and their sum.
my $policies = Braid::Policies->new($cluster, 'db', keys => [ 0, 1, '-' ], most => 7, recent => 15,
	time => \&random_time, advance => sub { return int(rand(rand() < 0.15 ? 25 : 5)); });
my $before;	 # the watermark of before the transaction
my $now;	 # and of after it
my %open;	 # view => id => row: those whose sessions are open, as the view sees them
my %frozen;	 # view => [ session ]
my %counted = map { $_ => { late => 0, dropped => 0, diverted => 0 } } @names;
my %aside;	 # view => [ weight, row, reason ]

sub random_time
{
	my ($now) = @_;
	my $dice = rand();
	return undef if $dice < 0.04;
	return $dice < 0.7 ? $now + int(rand(8)) - 3 : $now - int(rand($dice < 0.9 ? 35 : 70));
}

sub session
{
	my (@members) = @_;
	my @vs = map { $_->{v} } @members;
	return { k => $members[0]{k}, first => $members[0]{ts}, last => $members[-1]{ts}, vs => \@vs, n => scalar @vs, s => sum(@vs) };
}

# By the definition: where two rows that follow one another are the gap apart, one ends.
sub sessions_of
{
	my (@members) = @_;
	my (%of, @sessions);
	push @{ $of{ $_->{k} . (defined $_->{ts} ? '' : '-') } }, $_ for @members;
	for my $list (values %of)
	{
		my @current;
		for my $row (sort { ($a->{ts} // 0) <=> ($b->{ts} // 0) } @$list)
		{
			if (@current && defined $row->{ts} && $row->{ts} - $current[-1]{ts} >= $gap)
			{
				push @sessions, session(@current);
				@current = ();
			}
			push @current, $row;
		}
		push @sessions, session(@current);
	}
	return @sessions;
}

sub has_ended { my ($last, $at) = @_; return defined $last && defined $at && $last + $gap <= $at; }

# Where a view lets nothing through any more; undef: nowhere.
sub sealed
{
	my ($name) = @_;
	return $before if freezes($name);
	return retains($name) && defined $before ? $before - $retain : undef;
}

sub is_within { my ($row, @sessions) = @_; return any { $_->{k} eq $row->{k} && defined $_->{first} && $_->{first} <= $row->{ts} && $row->{ts} <= $_->{last} } @sessions; }

# In order, what is less than the gap apart goes together; links are { k, first, last }.
sub chains
{
	my (@links) = @_;
	my @chains;
	for my $link (sort { $a->{k} cmp $b->{k} || $a->{first} <=> $b->{first} } @links)
	{
		my $c = $chains[-1];
		if (!$c || $c->{k} ne $link->{k} || $link->{first} - $c->{last} >= $gap)
		{
			$c = { k => $link->{k}, first => $link->{first}, last => $link->{last} };
			push @chains, $c;
		}
		$c->{last} = max($c->{last}, $link->{last});
		push @{ $c->{links} }, $link;
	}
	return @chains;
}

# Closed sessions can be less than the gap apart. Late rows touch the one before them
# and those that follow: { k, first, last, sessions, changes }.
sub components
{
	my ($name, @late) = @_;
	my %touched;
	my @rows = map { { k => $_->[1]{k}, first => $_->[1]{ts}, last => $_->[1]{ts}, change => $_ } } @late;
	for my $piece (chains(@rows))
	{
		my @same = grep { $_->{k} eq $piece->{k} } @{ $frozen{$name} };
		my ($previous) = sort { $b->{first} <=> $a->{first} } grep { $_->{first} <= $piece->{first} } @same;
		$touched{$previous} = 1 if $previous && $piece->{first} - $previous->{last} < $gap;
		$touched{$_} = 1 for grep { $_->{first} > $piece->{first} && $_->{first} - $piece->{last} < $gap } @same;
	}
	my @sessions = map { { k => $_->{k}, first => $_->{first}, last => $_->{last}, session => $_ } } grep { $touched{$_} } @{ $frozen{$name} };
	my @components = map { { %$_, sessions => [ map { $_->{session} // () } @{ $_->{links} } ], changes => [ map { $_->{change} // () } @{ $_->{links} } ] } } chains(@rows, @sessions);
	return (@components, map { { sessions => [$_] } } grep { !$touched{$_} } @{ $frozen{$name} });
}

# Rows that go into closed sessions: these are combined, or computed from the table.
sub merge_late
{
	my ($name, @late) = @_;
	my $is_computed = $views{$name}[1] eq $computed;
	my @after;
	for my $c (components($name, @late))
	{
		my @changes = @{ $c->{changes} // [] };
		my @sessions = @{ $c->{sessions} // [] };
		if (!@changes) { push @after, @sessions; next; }
		if (!keeps($name) && ($is_computed || any { $_->[0] < 0 } @changes))
		{
			push @after, sessions_of(grep { $_->{k} eq $c->{k} && defined $_->{ts} && $_->{ts} >= $c->{first} && $_->{ts} <= $c->{last} } $policies->rows);
			next;
		}
		my $n = sum(map({ $_->{n} } @sessions), map { $_->[0] } @changes);
		next if $n <= 0;
		push @after, { k => $c->{k}, first => $c->{first}, last => $c->{last}, n => $n,
			vs => [ (map { @{ $_->{vs} } } @sessions), map { $_->[1]{v} } @changes ],
			s => sum(map({ $_->{s} } @sessions), map { $_->[0] * $_->[1]{v} } @changes) };
	}
	$frozen{$name} = \@after;
	return;
}

sub follow_one
{
	my ($name, @changes) = @_;
	my $seal = sealed($name);
	my $open = $open{$name} //= {};

	# What has ended since goes to what stays.
	settle($name, $seal);
	my @before = sessions_of(values %$open);
	my @current = grep { !has_ended($_->{last}, $before) } @before;
	my @merged;
	for my $change (@changes)
	{
		my ($weight, $row, $is_delete) = @$change;
		my $is_behind = defined $row->{ts} && has_ended($row->{ts}, $before);
		my $is_late = $is_behind && !is_within($row, @current);
		my $is_expired = retains($name) && $is_behind && has_ended($row->{ts}, $before - $retain)
			&& !is_within($row, grep { !has_ended($_->{last}, $before - $retain) } @before, @{ $frozen{$name} });
		next if $is_late && keeps($name) && $is_delete;
		my $is_ignored = $is_late && (policy($name) ne 'update' || $is_expired);
		$counted{$name}{late}++ if $is_late;
		$counted{$name}{ policy($name) eq 'divert' ? 'diverted' : 'dropped' }++ if $is_ignored;
		push @{ $aside{$name} }, [ $weight, $row, $is_expired ? 'expired' : 'closed' ] if $is_ignored && policy($name) eq 'divert';
		next if $is_ignored;
		if ($is_late && keeps($name)) { push @merged, [ $weight, $row ]; }
		elsif ($weight > 0) { $open->{ $row->{id} } = $row; }
		else { delete $open->{ $row->{id} }; }
	}
	settle($name, $seal);
	merge_late($name, @merged) if @merged;
	return;
}

# Open sessions that have ended are closed: of views in which that matters.
sub settle
{
	my ($name, $seal) = @_;
	my $open = $open{$name};
	for my $s (sessions_of(values %$open))
	{
		next if !has_ended($s->{last}, $seal);
		for my $row (values %$open)
		{
			delete $open->{ $row->{id} } if $row->{k} eq $s->{k} && defined $row->{ts} && $row->{ts} >= $s->{first} && $row->{ts} <= $s->{last};
		}
		push @{ $frozen{$name} }, $s;
	}
	$frozen{$name} = [ grep { !retains($name) || !has_ended($_->{last}, $before - $retain) } @{ $frozen{$name} // [] } ] if defined $before;
	return;
}

# changes: [ weight, row, whether it is deleted ]
sub follow
{
	my (@changes) = @_;
	$before = $now;
	follow_one($_, @changes) for @names;
	$now = max(grep { defined } $now, map { $_->[0] > 0 && defined $_->[1]{ts} ? $_->[1]{ts} - $delay : undef } @changes);
	return;
}

sub diverts { return policy($_[0]) eq 'divert'; }

# What was put aside is merged into closed sessions, but for what has expired.
sub merge
{
	my ($name) = @_;
	$before = $now;
	settle($name, sealed($name));
	my (@merged, @stay);
	for my $a (@{ $aside{$name} // [] })
	{
		my $row = $a->[1];
		my $is_expired = $a->[2] eq 'expired' || (retains($name) && has_ended($row->{ts}, $before - $retain) && !is_within($row, @{ $frozen{$name} }));
		if ($is_expired) { push @stay, [ @$a[ 0, 1 ], 'expired' ]; }
		else { push @merged, $a; }
	}
	merge_late($name, @merged) if @merged;
	settle($name, sealed($name));
	$aside{$name} = \@stay;
	return;
}

sub shown
{
	my ($name, $s) = @_;
	my @vs = sort { $a <=> $b } @{ $s->{vs} };
	my @columns = ($s->{k}, $s->{first} // '-', $s->{last} // '-', $s->{n});
	push @columns, $views{$name}[1] eq $computed ? join(',', @vs) : $s->{s};
	push @columns, $vs[0], $vs[-1] if $views{$name}[1] eq $all;
	return join '|', @columns;
}

sub modelled
{
	my ($name) = @_;
	my @sessions = (@{ $frozen{$name} // [] }, sessions_of(values %{ $open{$name} // {} }));
	@sessions = grep { has_ended($_->{last}, $now) } @sessions if emits($name);
	@sessions = grep { !has_ended($_->{last}, defined $now ? $now - $retain : undef) } @sessions if retains($name);
	return join "\n", sort map { shown($name, $_) } @sessions;
}

# ---------------------------------------------------------------- steps

sub wait_for_all
{
	my $waits = join ', ', map { "braid.wait('$_', '60 s')" } @names, @over;
	return "SELECT least($waits);\n";
}

# Of groups that expire some may still be there.
sub query_of
{
	my ($name) = @_;
	my (undef, $shown, undef, $by_time) = @{ $views{$name} };
	my $start = $by_time ? sprintf($second, 'start') : 'start';
	my @columns = ("coalesce(k::text, '-')", "coalesce(($start)::text, '-')", "coalesce(last::text, '-')", $shown =~ / AS (\w+)/g);
	splice @columns, 3, 1;
	my $retained = retains($name) && defined $now ? ' WHERE (last + ' . $gap . ' > ' . ($now - $retain) . ') IS NOT FALSE' : '';
	return "SELECT '$name', concat_ws('|', " . join(', ', @columns) . ") FROM $name$retained;\n";
}

sub difference
{
	my ($name, $is, $must) = @_;
	my %is = map { $_ => 1 } split /\n/, $is;
	my %must = map { $_ => 1 } split /\n/, $must;
	return join "\n", "$name shows", (sort grep { !$must{$_} } keys %is), 'instead of', sort grep { !$is{$_} } keys %must;
}

# What is wrong, in words.
sub problems
{
	my @wrong;
	my %got;
	for my $line (split /\n/, $cluster->sql('db', wait_for_all() . join '', map { query_of($_) } @names))
	{
		if ($line =~ /^(\w+)\|([\d-].*)$/) { push @{ $got{$1} }, $2; }
		elsif ($line ne 't') { push @wrong, "not expected: $line"; }
	}
	for my $name (@names)
	{
		my $is = join "\n", sort @{ $got{$name} // [] };
		my $must = modelled($name);
		push @wrong, difference($name, $is, $must) if $is ne $must;
	}
	push @wrong, $policies->wrong_figures(\%counted, $now);
	my $aside = join ' UNION ALL ', map { "SELECT '$_', count(*), coalesce(sum(weight * (\"row\"->>'v')::int), 0), count(*) FILTER (WHERE reason = 'expired') FROM braid.diverted('$_')" } grep { diverts($_) } @names;
	for my $line (split /\n/, $cluster->sql('db', $aside))
	{
		my ($name, $is) = split /\|/, $line, 2;
		my @aside = @{ $aside{$name} // [] };
		my $must = join '|', scalar @aside, sum(map { $_->[0] * $_->[1]{v} } @aside) // 0, scalar(grep { $_->[2] eq 'expired' } @aside);
		push @wrong, "$name has put aside $is instead of $must" if $is ne $must;
	}
	for my $name (@over)
	{
		my ($below) = $name =~ /^over_(.*)$/;
		my $query = "SELECT k, count(*), sum(n), sum(s) FROM $below GROUP BY k";
		push @wrong, map { "$name: $_" } split /\n/, $cluster->sql('db', "($query EXCEPT TABLE $name) UNION ALL (TABLE $name EXCEPT $query)");
	}
	return @wrong;
}

$cluster->sql('db', wait_for_all());
my @wrong = $policies->play($steps, views => \@names, diverting => [ grep { diverts($_) } @names ],
	follow => \&follow, merge => \&merge, problems => \&problems);
is(join("\n", @wrong), '', "$steps transactions: every view shows what its policy says");
cmp_ok($counted{dropped}{late}, '>', 10, 'rows were late');
is($cluster->sql('db', join ' UNION ALL ', map { "SELECT * FROM braid.verify('$_')" } @names, @over), '', 'braid.verify() finds nothing');

# ---------------------------------------------------------------- another query; rows that go

my $closed = $now - $gap;
my $all_kept = 'SELECT k, start, last, n, s FROM kept ORDER BY k, start, last';
my $shown = $cluster->sql('db', $all_kept);
$cluster->sql('db', <<'SQL');
SELECT braid.alter_view('kept', 'SELECT k, start, max(ts) AS last, count(*) AS n, sum(v) AS s, max(v) AS high
	FROM (SELECT k, ts, v, braid.session(ts, 10::bigint) OVER (PARTITION BY k ORDER BY ts) AS start FROM events) s GROUP BY k, start');
SQL
$cluster->wait_for('db', "SELECT new_query IS NULL FROM braid.views WHERE name = 'kept'::regclass");
is($cluster->sql('db', $all_kept), $shown, 'another query: all sessions go over');
is($cluster->sql('db', "SELECT count(*) FROM kept WHERE coalesce(last <= $closed, false) = (high IS NOT NULL)"), '0', 'closed ones do not have its new column');
is($cluster->sql('db', "SELECT valid_since FROM braid.views WHERE name = 'kept'::regclass"), qq({"high": "$now"}), 'braid.views says since when');
$cluster->sql('db', "DELETE FROM events e WHERE ts <= $closed AND NOT EXISTS (SELECT FROM kept s WHERE s.k IS NOT DISTINCT FROM e.k AND s.last > $closed AND e.ts >= s.start)");
$cluster->sql('db', wait_for_all());
is($cluster->sql('db', $all_kept), $shown, 'rows of closed sessions are deleted: these stay');
$cluster->sql('db', 'TRUNCATE events');
$cluster->sql('db', wait_for_all());
my @stay = grep { /^[^|]*\|[^|]+\|(-?\d+)\|/ && $1 <= $closed } split /\n/, $shown;
is($cluster->sql('db', $all_kept), join("\n", @stay), 'TRUNCATE: closed sessions stay, open ones go');
is($cluster->sql('db', "SELECT count(*) FROM kept_dropped WHERE last > $closed"), '0', 'so they do without late rows');
is($cluster->sql('db', 'SELECT count(*) FROM updated'), '0', 'and all go where none is closed for good');
$cluster->sql('db', "DROP MATERIALIZED VIEW $_ CASCADE") for @names;

# ---------------------------------------------------------------- under load and kills

$cluster->sql('db', $Braid::Policies::load_schema . <<'SQL');
CREATE INDEX ON calls (k, ts);
SET client_min_messages = warning;
CREATE VIEW of_clicks AS SELECT k, ts, v, braid.session(ts, 8) OVER (PARTITION BY k ORDER BY ts) AS start FROM clicks;
CREATE VIEW of_calls AS SELECT k, ts, v, braid.session(ts, 3) OVER (PARTITION BY k ORDER BY ts) AS start FROM calls;
CREATE MATERIALIZED VIEW dropped WITH (braid.continuous, braid.watermark = 'clicks.ts - 5', braid.late = 'drop') AS
	SELECT k, start, max(ts) AS last, count(*) AS n, sum(v) AS s, max(v) AS m FROM of_clicks GROUP BY k, start;
CREATE MATERIALIZED VIEW diverted WITH (braid.continuous, braid.watermark = 'clicks.ts - 5', braid.late = 'divert') AS
	SELECT k, start, max(ts) AS last, count(*) AS n, sum(v) AS s FROM of_clicks GROUP BY k, start;
CREATE MATERIALIZED VIEW closed WITH (braid.continuous, braid.watermark = 'clicks.ts - 5', braid.emit = 'close') AS
	SELECT k, start, max(ts) AS last, count(*) AS n, sum(v) AS s, max(v) AS m FROM of_clicks GROUP BY k, start;
CREATE MATERIALIZED VIEW emitted WITH (braid.continuous) AS SELECT k, count(*) AS sessions, sum(n) AS n FROM closed GROUP BY k;
CREATE MATERIALIZED VIEW calls_open WITH (braid.continuous, braid.watermark = 'calls.ts', braid.late = 'drop') AS
	SELECT k, start, max(ts) AS last, count(*) AS n, sum(v) AS s, min(v) AS m, count(DISTINCT v) AS d FROM of_calls GROUP BY k, start;
CREATE MATERIALIZED VIEW calls_closed WITH (braid.continuous, braid.watermark = 'calls.ts', braid.emit = 'close') AS
	SELECT k, start, max(ts) AS last, count(*) AS n, sum(v) AS s FROM of_calls GROUP BY k, start;
CREATE MATERIALIZED VIEW calls_emitted WITH (braid.continuous) AS SELECT k, count(*) AS sessions, sum(n) AS n FROM calls_closed GROUP BY k;
SQL
my %gap_of = (dropped => 8, diverted => 8, closed => 8, calls_open => 3, calls_closed => 3);
my @loaded = (sort(keys %gap_of), 'emitted', 'calls_emitted');
my $waits = 'SELECT ' . join ', ', map { "braid.wait('$_', '60 s')" } @loaded;
$cluster->sql('db', $waits);

@wrong = $policies->watch($ENV{BRAID_ROUNDS} // 4, 'CALL work(120, 20, %f)', map { $_ => "last + $gap_of{$_}" } keys %gap_of);
$cluster->sql('db', $waits);
is(join("\n", @wrong), '', 'closed sessions stay, the watermark never goes back, sessions are shown when they close');
cmp_ok($policies->closed('closed'), '>', 10, 'sessions were closed');

# Each row is shown, or was dropped, or put aside: once.
is($cluster->sql('db', <<'SQL'), '', 'nothing is counted twice, and nothing is lost');
SELECT 'diverted', a.n, b.n, c.n FROM (SELECT count(*) AS n FROM clicks) a, (SELECT sum(n) AS n FROM diverted) b, (SELECT count(*) AS n FROM braid.diverted('diverted')) c WHERE a.n <> b.n + c.n;
SELECT 'counted', c.n, v.diverted FROM (SELECT count(*) AS n FROM braid.diverted('diverted')) c, braid.views v WHERE v.name = 'diverted'::regclass AND c.n <> v.diverted;
SELECT 'emitted', * FROM emitted e FULL JOIN (SELECT k, count(*) AS sessions, sum(n) AS n FROM closed GROUP BY k) c USING (k) WHERE e.sessions IS DISTINCT FROM c.sessions OR e.n IS DISTINCT FROM c.n;
SELECT 'calls_emitted', * FROM calls_emitted e FULL JOIN (SELECT k, count(*) AS sessions, sum(n) AS n FROM calls_closed GROUP BY k) c USING (k) WHERE e.sessions IS DISTINCT FROM c.sessions OR e.n IS DISTINCT FROM c.n;
SQL
is($cluster->sql('db', join ' UNION ALL ', map { "SELECT * FROM braid.verify('$_')" } @loaded), '', 'open sessions equal the query');
done_testing();
