# Watermarks and late rows against a model: one transaction at a time, of rows that
# come in any order, are corrected and withdrawn, and the views must show what the
# policy says, group by group, with what was late counted, put aside and merged; the
# worker is ended, the server restarted and views are rebuilt in between. The seed is
# printed; BRAID_SEED repeats a run's choices.
use strict;
use warnings;
use Braid::Cluster;
use Braid::Policies;
use POSIX ();
use List::Util qw(max sum uniq);
use Test::More;

my $steps = $ENV{BRAID_STEPS} // 35;
my $seed = $ENV{BRAID_SEED} // int(rand(1_000_000));
srand($seed);
note "BRAID_SEED=$seed";

my $cluster = Braid::Cluster->new('db', { conf => "autovacuum = off\nTimeZone = 'UTC'\n" });

# Event time is a number, and the same in seconds after the beginning of 2026-03-29.
$cluster->sql('db', <<'SQL');
CREATE TABLE events (id int, k int, ts bigint, at timestamptz GENERATED ALWAYS AS (to_timestamp(1774742400 + ts)) STORED, v int);
CREATE TABLE kinds (k int, name text);
INSERT INTO kinds VALUES (0, 'zero'), (1, 'one');
SQL

# What a group shows, by the query and by the model: a function of its rows.
my %shown = (
	merged => [ 'count(*), sum(v), min(v), max(v)',
		sub { my @v = map { $_->{v} } @_; return join '|', scalar @v, sum(@v), (sort { $a <=> $b } @v)[ 0, -1 ] } ],
	computed => [ 'count(*), count(DISTINCT v) AS d, string_agg(v::text, \',\' ORDER BY v)',
		sub { my @v = sort { $a <=> $b } map { $_->{v} } @_; return join '|', scalar @v, scalar(uniq @v), join(',', @v) } ],
	distinct => [ 'count(*), count(DISTINCT v) AS d',
		sub { my @v = map { $_->{v} } @_; return join '|', scalar @v, scalar(uniq @v) } ],
);

my $delay = 5;
my $watermark = "braid.watermark = 'ts - $delay'";
my $clock = "braid.watermark = 'at - interval ''$delay s'''";
my $second = "extract(epoch FROM %s - timestamptz '2026-03-29 00:00 UTC')::bigint";
my $tumble = 'braid.tumble(ts, 10::bigint)';

# name => [ options, FROM and window, what is shown, late policy, emits on close, size, slide ]
my %views = (
	(map { my $p = $_; map { ("${p}_$_" => [ "$watermark, braid.late = '$p'", "$tumble AS w, k", 'events', $_, $p, 0, 10, 10 ]) } keys %shown } qw(update drop divert)),
	closed => [ "$watermark, braid.emit = 'close'", "$tumble AS w, k", 'events', 'merged', 'drop', 1, 10, 10 ],
	closed_computed => [ "$watermark, braid.emit = 'close', braid.late = 'divert'", "$tumble AS w, k", 'events', 'computed', 'divert', 1, 10, 10 ],
	hops => [ "$clock, braid.emit = 'close'", 'window_end, k', "events, braid.hop(at, '20 s', '10 s')", 'merged', 'drop', 1, 20, 10 ],
	starts => [ "$clock, braid.late = 'drop'", 'window_start, k', "events, braid.hop(at, '20 s', '10 s')", 'distinct', 'drop', 0, 20, 10 ],
	minutes => [ "$clock, braid.late = 'drop'", "date_trunc('minute', at) AS w, k", 'events', 'merged', 'drop', 0, 60, 60 ],
	joined => [ "$watermark, braid.late = 'drop'", "$tumble AS w, k", 'events JOIN kinds USING (k)', 'merged', 'drop', 0, 10, 10 ],
);

# The window as the number of its start, however the view shows it.
sub window_of_view
{
	my ($name) = @_;
	return sprintf($second, 'window_end') . ' - 20' if $name eq 'hops';
	return sprintf($second, 'window_start') if $name eq 'starts';
	return sprintf($second, 'w') if $name eq 'minutes';
	return 'w';
}

my @names = sort keys %views;
for my $name (@names)
{
	my ($options, $keys, $from, $what) = @{ $views{$name} };
	$cluster->sql('db', <<"SQL");
SET client_min_messages = warning;
CREATE MATERIALIZED VIEW $name WITH (braid.continuous, $options) AS
	SELECT $keys, $shown{$what}[0] FROM $from GROUP BY 1, 2;
SQL
}
# Over the groups of another view, and over closed groups within one.
$cluster->sql('db', <<"SQL");
SET client_min_messages = warning;
CREATE MATERIALIZED VIEW over_closed WITH (braid.continuous) AS SELECT w, sum(count) AS n FROM closed GROUP BY w;
CREATE MATERIALIZED VIEW busiest WITH (braid.continuous, $watermark, braid.emit = 'close') AS
	SELECT w, k, n FROM (SELECT w, k, n, rank() OVER (PARTITION BY w ORDER BY n DESC) AS r
		FROM (SELECT $tumble AS w, k, count(*) AS n FROM events GROUP BY 1, 2) g) g WHERE r = 1;
SQL

# ---------------------------------------------------------------- the model

my $policies = Braid::Policies->new($cluster, 'db', keys => [ 0 .. 2 ], most => 6,
	time => sub { my ($now) = @_; return rand() < 0.75 ? $now + int(rand(8)) - 3 : $now - int(rand(45)); },
	advance => sub { return int(rand(4)); });
my $before;			 # the watermark of before the transaction
my $now;			 # and of after it
my %groups;			 # view => "w|k" => what it shows
my %counted = map { $_ => { late => 0, dropped => 0, diverted => 0 } } @names;
my %aside;			 # view => [ weight, v ]

sub floor_to { my ($x, $size) = @_; return $size * POSIX::floor($x / $size); }

# Starts of the windows that a time is in.
sub windows_of
{
	my ($ts, $size, $slide) = @_;
	my $last = floor_to($ts, $slide);
	return map { $last - $_ * $slide } 0 .. $size / $slide - 1;
}

sub is_closed { my ($w, $size, $mark) = @_; return defined $mark && $w + $size <= $mark; }

# changes: [ weight, row ]
sub follow
{
	my (@changes) = @_;
	$before = $now;
	for my $name (@names)
	{
		my (undef, undef, $from, $what, $policy, undef, $size, $slide) = @{ $views{$name} };
		my %current;
		for my $row ($policies->rows)
		{
			next if $from =~ /kinds/ && $row->{k} > 1;
			push @{ $current{"$_|$row->{k}"} }, $row for windows_of($row->{ts}, $size, $slide);
		}
		my %keys = map { $_ => 1 } keys %current, keys %{ $groups{$name} // {} };
		for my $key (keys %keys)
		{
			my ($w) = split /\|/, $key;
			next if $policy ne 'update' && is_closed($w, $size, $before);
			if ($current{$key}) { $groups{$name}{$key} = $shown{$what}[1]->(@{ $current{$key} }); }
			else { delete $groups{$name}{$key}; }
		}
		for my $change (@changes)
		{
			my ($weight, $row) = @$change;
			next if $from =~ /kinds/ && $row->{k} > 1;
			for my $w (windows_of($row->{ts}, $size, $slide))
			{
				next if !is_closed($w, $size, $before);
				$counted{$name}{late}++;
				$counted{$name}{dropped}++ if $policy eq 'drop';
				next if $policy ne 'divert';
				$counted{$name}{diverted}++;
				push @{ $aside{$name} }, [ $weight, $w, $row->{k}, $row->{v} ];
			}
		}
	}
	for my $change (@changes)
	{
		my ($weight, $row) = @$change;
		next if $weight < 0;
		$now = max(grep { defined } $now, $row->{ts} - $delay);
	}
	return;
}

sub diverts { my ($name) = @_; return $views{$name}[4] eq 'divert'; }

# All that was put aside is merged: then its groups are what their rows give.
sub merge
{
	my ($name) = @_;
	my (undef, undef, undef, $what, undef, undef, $size, $slide) = @{ $views{$name} };
	my %keys = map { ("$_->[1]|$_->[2]" => 1) } @{ $aside{$name} // [] };
	for my $key (keys %keys)
	{
		my ($w, $k) = split /\|/, $key;
		my @members = grep { $_->{k} == $k && grep { $_ == $w } windows_of($_->{ts}, $size, $slide) } $policies->rows;
		if (@members) { $groups{$name}{$key} = $shown{$what}[1]->(@members); }
		else { delete $groups{$name}{$key}; }
	}
	$aside{$name} = [];
	return;
}

sub modelled
{
	my ($name) = @_;
	my ($closes, $size) = @{ $views{$name} }[ 5, 6 ];
	return join "\n", sort map { "$_|$groups{$name}{$_}" }
		grep { !$closes || is_closed((split /\|/)[0], $size, $now) } keys %{ $groups{$name} // {} };
}

# ---------------------------------------------------------------- steps

sub wait_for_all
{
	my $waits = join ', ', map { "braid.wait('$_')" } @names, 'over_closed', 'busiest';
	return "SELECT least($waits);\n";
}

# What is wrong, in words.
sub problems
{
	my @wrong;
	my $sql = wait_for_all();
	for my $name (@names)
	{
		$sql .= "SELECT '$name', concat_ws('|', " . join(', ', window_of_view($name), 'k', shown_columns($name)) . ") FROM $name;\n";
	}
	my %got;
	for my $line (split /\n/, $cluster->sql('db', $sql))
	{
		if ($line =~ /^(\w+)\|(-?\d+\|.*)$/) { push @{ $got{$1} }, $2; }
		elsif ($line ne 't') { push @wrong, "not expected: $line"; }
	}
	for my $name (@names)
	{
		my $is = join "\n", sort @{ $got{$name} // [] };
		my $must = modelled($name);
		push @wrong, "$name shows\n$is\ninstead of\n$must" if $is ne $must;
	}
	push @wrong, $policies->wrong_figures(\%counted, $now);
	my $aside = join ' UNION ALL ', map { "SELECT '$_', count(*), coalesce(sum(weight * (\"row\"->>'v')::int), 0) FROM braid.diverted('$_')" } grep { diverts($_) } @names;
	for my $line (split /\n/, $cluster->sql('db', $aside))
	{
		my ($name, $is) = split /\|/, $line, 2;
		my @aside = @{ $aside{$name} // [] };
		my $must = @aside . '|' . (sum(map { $_->[0] * $_->[3] } @aside) // 0);
		push @wrong, "$name has put aside $is instead of $must" if $is ne $must;
	}
	push @wrong, map { "over: $_" } split /\n/, $cluster->sql('db', <<'SQL');
(SELECT w, sum(count) FROM closed GROUP BY w EXCEPT SELECT * FROM over_closed) UNION ALL (SELECT * FROM over_closed EXCEPT SELECT w, sum(count) FROM closed GROUP BY w);
(SELECT w, k, count FROM closed c WHERE count = (SELECT max(count) FROM closed d WHERE d.w = c.w) EXCEPT SELECT * FROM busiest)
	UNION ALL (SELECT * FROM busiest EXCEPT SELECT w, k, count FROM closed c WHERE count = (SELECT max(count) FROM closed d WHERE d.w = c.w));
SQL
	return @wrong;
}

my %columns_of;
sub shown_columns
{
	my ($name) = @_;
	$columns_of{$name} //= [ split /\n/, $cluster->sql('db',
		"SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid = '$name'::regclass AND attnum > 2 ORDER BY attnum") ];
	return @{ $columns_of{$name} };
}

$cluster->sql('db', wait_for_all());
my @wrong = $policies->play($steps, views => \@names, diverting => [ grep { diverts($_) } @names ],
	follow => \&follow, merge => \&merge, problems => \&problems);
is(join("\n", @wrong), '', "$steps transactions: every view shows what its policy says");
cmp_ok($counted{drop_merged}{late}, '>', 10, 'rows were late');
is($cluster->sql('db', join ' UNION ALL ', map { "SELECT * FROM braid.verify('$_')" } @names, 'over_closed', 'busiest'), '', 'braid.verify() finds nothing');
done_testing();
