# The checker of histories, which judges what 152_xa_snapshot_histories.pl has seen: it finds
# each anomaly in a history made by hand, and nothing in those that snapshot isolation
# allows; and it says the same of long ones that a simulated database has made.
# BRAID_OPERATIONS: of how many operations those are; BRAID_SEED.
use strict;
use warnings;
use Braid::History;
use List::Util qw(max);
use Test::More;
use Time::HiRes qw(time);

my $wanted = $ENV{BRAID_OPERATIONS} // 20_000;
my $seed = $ENV{BRAID_SEED} // time;
srand $seed;
note "seed $seed";

sub history
{
	my (@lines) = @_;
	my $history = Braid::History->new;
	$history->add($_) for @lines;
	return $history;
}

# A history by hand: lines without sessions, each of which then has one to itself.
sub by_hand { return history(map { my $n = $_; $_[$n] =~ /^(?:s\d|-) / ? $_[$n] : "t$n $_[$n]" } 0 .. $#_); }

sub finds
{
	my ($what, $names, @lines) = @_;
	my $history = by_hand(@lines);
	is(join(', ', sort keys %{ $history->kinds }), $names, $what) or diag join "\n", $history->anomalies;
	return;
}

# ---- allowed

finds('one after the other', '', 'ok a:x:1 a:y:1', 'ok r:x:1, r:y:1,', 'ok a:x:2 r:x:1,2,', 'ok r:x:1,2, r:y:1,', '- final r:x:1,2, r:y:1,');
finds('nothing was written', '', 'ok r:x: r:y:');
finds('write skew', '', 'ok r:x: r:y: a:x:1', 'ok r:x: r:y: a:y:1', '- final r:x:1, r:y:1,');
finds('the anomaly of a read-only transaction', '', 'ok r:x: r:y: a:x:1', 'ok r:y: a:y:1', 'ok r:x: r:y:1,', '- final r:x:1, r:y:1,');
finds('a cycle of three rw in a row', '', 'ok r:x: a:y:1', 'ok r:y: a:z:1', 'ok r:z: a:x:1', '- final r:x:1, r:y:1, r:z:1,');
finds('what was rolled back is not there', '', 'ok a:x:1', 'fail r:x:1, a:x:2 r:x:1,2,', 'ok a:x:3 r:x:1,3,', '- final r:x:1,3,');
finds('what nobody was told of was rolled back', '', 'info a:x:1 a:y:1', '- final r:x: r:y:');
finds('what nobody was told of was committed', '', 'info a:x:1 a:y:1', 'ok r:x:1, r:y:1,', '- final r:x:1, r:y:1,');
finds('several appends of one transaction', '', 'ok a:x:1 a:x:2 r:x:1,2, a:x:3', 'ok r:x:1,2,3,', '- final r:x:1,2,3,');
finds('numbers that begin alike', '', 'ok a:x:1', 'ok r:x:1, a:x:11 a:x:1111', 'ok r:x:1,11,1111,', '- final r:x:1,11,1111,');
finds('an old snapshot', '', 'ok a:x:1', 'ok a:y:1', 'ok r:x: r:y:', 'ok r:x:1, r:y:', '- final r:x:1, r:y:1,');
finds('sessions that read their own', '', 's1 ok a:x:1', 's1 ok r:x:1, a:x:2', 's2 ok r:x:', 's2 ok r:x:1,2,', '- final r:x:1,2,');

# ---- not allowed

finds('G0: two keys are written in two orders', 'G0', 'ok a:x:1 a:y:1', 'ok a:x:2 a:y:2', '- final r:x:1,2, r:y:2,1,');
finds('G0: another one is between two appends', 'G0', 'ok a:x:1 a:x:3', 'ok a:x:2', '- final r:x:1,2,3,');
finds('G1a: a read of what was rolled back', 'G1a', 'fail a:x:1', 'ok r:x:1,', '- final r:x:');
finds('G1a: and nobody has seen it go', 'G1a', 'fail a:x:1', 'ok r:x:1,');
finds('G1a: rolled back, and there in the end', 'G1a', 'fail a:x:1', '- final r:x:1,');
finds('G1b: a read of what was changed again', 'G1b', 'ok a:x:1 a:x:2', 'ok r:x:1,', '- final r:x:1,2,');
finds('G1c: two have read from each other', 'G1c', 'ok a:x:1 r:y:1,', 'ok a:y:1 r:x:1,', '- final r:x:1, r:y:1,');
finds('G1c: read from one that has written later', 'G1c', 'ok a:x:1 r:y:1,', 'ok a:x:2 a:y:1', '- final r:x:1,2, r:y:1,');
finds('read skew: half of a transaction', 'G-single', 'ok a:x:1 a:y:1', 'ok r:x:1, r:y:', '- final r:x:1, r:y:1,');
finds('read skew of one that is rolled back', 'G-single', 'ok a:x:1 a:y:1', 'fail r:x:1, r:y:', '- final r:x:1, r:y:1,');
finds('read skew over a third transaction', 'G-single', 'ok a:x:1 a:y:1', 'ok r:x:1, a:z:1', 'ok r:z:1, r:y:', '- final r:x:1, r:y:1, r:z:1,');
finds('read skew of one that nobody was told of', 'G-single', 'info a:x:1 a:y:1', 'ok r:x:1, r:y:', '- final r:x:1, r:y:1,');
finds('lost update', 'lost update', 'ok r:x: a:x:1', 'ok r:x: a:x:2', '- final r:x:1,2,');
finds('lost update: its value is gone', 'lost append', 'ok r:x: a:x:1', 'ok r:x: a:x:2', '- final r:x:2,');
finds('long fork', 'long fork', 'ok a:x:1', 'ok a:y:1', 'ok r:x:1, r:y:', 'ok r:x: r:y:1,', '- final r:x:1, r:y:1,');
finds('long fork of those that write', 'long fork', 'ok a:x:1', 'ok a:y:1', 'ok r:x:1, r:y: a:z:1', 'ok r:x: r:y:1, a:u:1', '- final r:x:1, r:y:1, r:z:1, r:u:1,');
finds('long fork over longer ways', 'long fork', 'ok a:x:1 a:u:1', 'ok a:y:1 a:v:1', 'ok r:x:1, a:z:1', 'ok r:u:1, r:z:1, r:y:', 'ok r:v:1, r:x:', '- final r:x:1, r:y:1, r:z:1, r:u:1, r:v:1,');
finds('an append that is not there', 'lost append', 'ok a:x:1', '- final r:x:');
finds('half of a transaction that nobody was told of', 'half committed', 'info a:x:1 a:y:1', '- final r:x:1, r:y:');
finds('lists that do not go together', 'incompatible order', 'ok a:x:1', 'ok a:x:2', 'ok r:x:1,2,', 'ok r:x:2,', '- final r:x:1,2,');
finds('lists that do not go together, and no list in the end', 'incompatible order', 'ok a:x:1', 'ok a:x:2', 'ok r:x:1,2,', 'ok r:x:2,1,');
finds('it was read, and is something else in the end', 'incompatible order', 'ok a:x:1', 'ok a:x:2', 'ok r:x:2,1,', '- final r:x:1,2,');
finds('what nobody has written', 'garbage', 'ok r:x:7,');
finds('what nobody has written, in the end', 'garbage', 'ok a:x:1', '- final r:x:1,2,');
finds('a value twice', 'garbage', 'ok a:x:1', '- final r:x:1,1,');
finds('its own append is missing', 'internal', 'ok a:x:1 r:x:', '- final r:x:1,');
finds('its own append has another end', 'internal', 'ok a:x:11', 'ok a:x:1 r:x:11,', '- final r:x:11,1,');
finds('not the same list twice', 'internal', 'ok a:x:1', 'ok r:x: r:x:1,', '- final r:x:1,');
finds('a session that does not see its own', 'G-single', 's1 ok a:x:1', 's1 ok r:x:', '- final r:x:1,');
finds('a session that goes back', 'G-single', 'ok a:x:1', 's1 ok r:x:1,', 's1 ok r:x:', '- final r:x:1,');
finds('two sessions that do not see each other', 'long fork', 's1 ok a:x:1', 's1 ok r:y:', 's2 ok a:y:1', 's2 ok r:x:', '- final r:x:1, r:y:1,');
finds('a component with several', 'G-single, G0', 'ok a:x:1 a:y:1', 'ok a:x:2 a:y:2', 'ok r:x:1, r:y:', '- final r:x:1,2, r:y:2,1,');

# ---- a simulated database: sessions with transactions that take turns, a step each

# Under snapshot isolation, or without a part of it, for a share of the transactions: with "torn",
# they read half of the keys as they are later; with "lax", they do not mind what others have
# written since. Returns the lines.
sub simulate
{
	my ($operations, %flaw) = @_;
	my ($clock, $n, $value, @sessions, @lines, %lists) = (0, 0, 0);
	my $list = sub {
		my ($key, $time) = @_;
		return join '', map { "$_->[1]," } grep { $_->[0] <= $time } @{ $lists{$key} };
	};
	while ($n < $operations)
	{
		my $number = int rand 6;
		my $s = $sessions[$number] //= { time => $clock, later => $clock, lax => rand() < ($flaw{lax} // 0), torn => rand() < ($flaw{torn} // 0), said => [], own => {} };
		$s->{later} = $clock if $s->{torn} && rand() < 0.5;
		my $key = int($n / 300) + int rand 8;
		if (rand() < 0.25)
		{
			my $conflicts = grep { @{ $lists{$_} } && $lists{$_}[-1][0] > $s->{time} } keys %{ $s->{own} };
			my $outcome = ($conflicts && !$s->{lax}) || rand() < 0.05 ? 'fail' : rand() < 0.02 ? 'info' : 'ok';
			$clock++;
			if ($outcome ne 'fail') { push @{ $lists{$_} }, map { [ $clock, $_ ] } @{ $s->{own}{$_} } for keys %{ $s->{own} }; }
			push @lines, join ' ', "s$number", $outcome, @{ $s->{said} } if @{ $s->{said} };
			$n += @{ $s->{said} };
			$sessions[$number] = undef;
		}
		elsif (rand() < 0.5)
		{
			$lists{$key} //= [];
			push @{ $s->{own}{$key} }, ++$value;
			push @{ $s->{said} }, "a:$key:$value";
		}
		else
		{
			my $read = $list->($key, $s->{torn} && $key % 2 ? $s->{later} : $s->{time}) . join '', map { "$_," } @{ $s->{own}{$key} // [] };
			push @{ $s->{said} }, "r:$key:$read" if !grep { /^r:$key:/ } @{ $s->{said} };
		}
	}
	push @lines, map { "- final r:$_:" . $list->($_, $clock) } sort keys %lists;
	return @lines;
}

my $good = history(simulate($wanted));
my $began = time;
is(join("\n", $good->anomalies), '', 'a long history');
note sprintf '%s; checked in %.1f s', $good->summary, time - $began;
cmp_ok($good->operations, '>=', $wanted, 'it was long');
cmp_ok($good->count($_), '>', 0, "transactions with outcome $_") for qw(ok fail info);

my $torn = history(simulate($wanted, torn => 0.02))->kinds;
cmp_ok($torn->{'G-single'}, '>', 0, 'one of fifty snapshots is torn: it is found') or diag explain $torn;
is_deeply([ grep { !/^(?:G-single|lost update|long fork)$/ } keys %$torn ], [], 'and nothing else');
my $lax = history(simulate($wanted, lax => 0.02))->kinds;
cmp_ok($lax->{'lost update'} + ($lax->{'G-single'} // 0), '>', 0, 'one of fifty transactions overwrites: it is found') or diag explain $lax;

# A single torn read between a thousand good transactions.
my @lines = simulate(4000);
splice @lines, @lines / 2, 0, 'x1 ok a:left:1 a:right:1', 'x2 ok r:left:1, r:right:';
is(join(', ', keys %{ history(@lines, '- final r:left:1, r:right:1,')->kinds }), 'G-single', 'a single torn read is found');
done_testing();
