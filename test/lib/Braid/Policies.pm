# Braid::Policies: what views with watermarks must keep to, in two ways.
#
# By steps: one random transaction after another is committed and given to a model, and
# after each the views must be as the model has it, also when the worker was ended,
# the server restarted, or a view made anew.
#
#   my $policies = Braid::Policies->new($cluster, 'db', keys => [ 0, 1 ], time => sub { ... }, ...);
#   my @wrong = $policies->play(40, follow => sub { ... }, problems => sub { ... }, ...);
#
# Under load: several clients, kills, and a look now and then at what is closed.
#
#   $cluster->sql('db', $Braid::Policies::load_schema);      # and views
#   @wrong = $policies->watch(4, 'CALL work(120, 20, %f)', closed => 'w + 20', ...);
package Braid::Policies;

use strict;
use warnings;
use List::Util qw(min);
use Test::More;

# new(cluster, node, options of the transactions:
#   keys       to choose from; '-' is null
#   time       => sub, a random event time, given the time that it is: undef is null
#   most       rows that a transaction changes
#   advance    => sub, how much time passes after a transaction
#   recent     of so many rows the last ones are chosen in half of the changes)
sub new
{
	my ($class, $cluster, $node, %options) = @_;
	return bless { cluster => $cluster, name => $node, options => \%options, rows => {}, clock => 0, next_id => 1 }, $class;
}

# The rows of table "events": { id, k, ts, v }.
sub rows { my ($self) = @_; return values %{ $self->{rows} }; }

sub literal { return $_[0] // 'NULL'; }
sub key_literal { return $_[0] eq '-' ? 'NULL' : $_[0]; }

# One transaction: its SQL, and what it changes: [ weight, row, whether it is deleted ].
sub transaction
{
	my ($self) = @_;
	my ($rows, $options) = @$self{ 'rows', 'options' };
	my $sql = '';
	my @changes;

	# Each row once: of one that comes and goes in a cycle nobody need hear.
	my @ids = sort { $a <=> $b } keys %$rows;
	for (1 .. 1 + int(rand($options->{most})))
	{
		my $choice = rand();
		if ($choice < 0.6 || !@ids)
		{
			my @keys = @{ $options->{keys} };
			my $row = { id => $self->{next_id}++, k => $keys[ rand @keys ], ts => $options->{time}->($self->{clock}), v => int(rand(20)) };
			$sql .= sprintf "INSERT INTO events (id, k, ts, v) VALUES (%d, %s, %s, %d);\n", $row->{id}, key_literal($row->{k}), literal($row->{ts}), $row->{v};
			$rows->{ $row->{id} } = $row;
			push @changes, [ 1, $row, 0 ];
			next;
		}
		my $is_recent = $options->{recent} && $choice < 0.8;
		my $id = splice @ids, $is_recent ? -1 - int(rand(min($options->{recent}, scalar @ids))) : int(rand(@ids)), 1;
		my $old = $rows->{$id};
		if ($choice < 0.75)
		{
			$sql .= "DELETE FROM events WHERE id = $id;\n";
			push @changes, [ -1, $old, 1 ];
			delete $rows->{$id};
			next;
		}
		my $new = { %$old, v => $old->{v} + 1 };
		$new->{ts} = $options->{time}->($self->{clock}) if rand() < 0.5;
		$sql .= sprintf "UPDATE events SET v = %d, ts = %s WHERE id = %d;\n", $new->{v}, literal($new->{ts}), $id;
		$rows->{$id} = $new;
		push @changes, [ -1, $old, 0 ], [ 1, $new, 0 ];
	}
	$self->{clock} += $options->{advance}->();
	return ($sql, @changes);
}

sub disturb
{
	my ($self, $step, %model) = @_;
	my $choice = rand();
	my @names = @{ $model{views} };
	if ($choice < 0.08) { $self->{cluster}->disturb($self->{name}, 'terminate'); }
	elsif ($choice < 0.12) { $self->{cluster}->node($self->{name})->restart($choice < 0.10 ? 'immediate' : 'fast'); }
	elsif ($choice < 0.30)
	{
		my $name = $names[ rand @names ];
		note "step $step: $name is rebuilt";
		$self->{cluster}->sql($self->{name}, "REFRESH MATERIALIZED VIEW $name");
	}
	elsif ($choice < 0.42)
	{
		note "step $step: what was put aside is merged";
		$self->{cluster}->sql($self->{name}, join ";\n", map { "SELECT braid.merge_diverted('$_')" } @{ $model{diverting} });
		$model{merge}->($_) for @{ $model{diverting} };
	}
	return;
}

# Plays so many steps. The model:
#   views      their names
#   diverting  those of them that put late rows aside
#   follow     => sub, is given the changes of a transaction
#   merge      => sub, is given the name of a view whose rows that were put aside are merged
#   problems   => sub, returns what is wrong, in words
# Returns what is wrong, and nothing if all is well.
sub play
{
	my ($self, $steps, %model) = @_;
	for my $step (1 .. $steps)
	{
		my ($sql, @changes) = $self->transaction;
		$self->{cluster}->sql($self->{name}, "BEGIN;\n$sql\nCOMMIT;");
		$model{follow}->(@changes);
		my @wrong = $model{problems}->();
		if (@wrong) { diag "step $step:\n$sql"; return @wrong; }
		$self->disturb($step, %model);
		@wrong = $model{problems}->();
		if (@wrong) { diag "after step $step was disturbed"; return @wrong; }
	}
	return;
}

# What braid.views says, against what was counted: view => { late, dropped, diverted }.
sub wrong_figures
{
	my ($self, $counted, $watermark) = @_;
	my @wrong;
	for my $line (split /\n/, $self->{cluster}->sql($self->{name}, 'SELECT name, watermark, late, dropped, diverted FROM braid.views WHERE watermark IS NOT NULL'))
	{
		my ($name, $mark, $late, $dropped, $diverted) = split /\|/, $line;
		my $c = $counted->{$name} or next;
		push @wrong, "$name counts $late, $dropped, $diverted instead of $c->{late}, $c->{dropped}, $c->{diverted}"
			if "$late $dropped $diverted" ne "$c->{late} $c->{dropped} $c->{diverted}";
		push @wrong, "$name has the watermark $mark instead of $watermark" if $mark =~ /^-?\d+$/ && defined $watermark && $mark ne $watermark;
	}
	return @wrong;
}

# ---------------------------------------------------------------- under load

# Rows of "clicks" only come; those of "calls" are corrected and withdrawn as well.
our $load_schema = <<'SQL';
CREATE TABLE clicks (id bigserial, ts int, k int, v numeric);
CREATE TABLE calls (id bigserial PRIMARY KEY, ts int, k int, v int);
CREATE SEQUENCE clock;
CREATE PROCEDURE work(n int, keys int, seed float8) LANGUAGE plpgsql AS $$
DECLARE
	now int;
BEGIN
	PERFORM setseed(seed);
	FOR i IN 1 .. n LOOP
		now := nextval('clock');
		INSERT INTO clicks (ts, k, v) SELECT now - (random() * random() * random() * 150)::int, (random() * keys)::int, round((random() * 100)::numeric, g) FROM generate_series(1, 3) g;
		INSERT INTO calls (ts, k, v) VALUES (now - (random() * random() * random() * 150)::int, (random() * 4)::int, i);
		IF random() < 0.2 THEN
			UPDATE calls SET v = v + 1, ts = ts + (random() * 3)::int WHERE id = (SELECT id FROM calls ORDER BY id DESC OFFSET (random() * 60)::int LIMIT 1 FOR UPDATE SKIP LOCKED);
		ELSIF random() < 0.2 THEN
			DELETE FROM calls WHERE id = (SELECT id FROM calls ORDER BY id DESC OFFSET (random() * 60)::int LIMIT 1 FOR UPDATE SKIP LOCKED);
		END IF;
		COMMIT;
	END LOOP;
END $$;
SQL

# Watermark and rows of one snapshot: the watermark never goes back, what is closed stays
# as it is, and a view that emits on close ("closed" is in its name) shows nothing else.
sub look
{
	my ($self, $ends) = @_;
	my @wrong;
	for my $name (sort keys %$ends)
	{
		my $emits = $name =~ /closed/;
		my ($rc, $out) = $self->{cluster}->try_sql($self->{name}, <<"SQL");
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT 'mark', watermark FROM braid.views WHERE name = '$name'::regclass;
SELECT $ends->{$name}, v::text FROM $name v;
COMMIT;
SQL
		next if $rc != 0;
		my @lines = split /\n/, $out;
		my (undef, $mark) = split /\|/, shift @lines // '';
		next if !defined $mark || $mark eq '';
		push @wrong, "the watermark of $name goes back to $mark" if $mark < ($self->{highest}{$name} // $mark);
		$self->{highest}{$name} = $mark;
		my %is_now;
		for my $line (@lines)
		{
			my ($end, $row) = split /\|/, $line, 2;
			$is_now{$row} = 1 if $end <= $mark;
			push @wrong, "$name shows $row before its end" if $emits && $end > $mark;
		}
		push @wrong, map { "$name had closed $_, and has changed it" } grep { !$is_now{$_} } keys %{ $self->{closed}{$name} };
		$self->{closed}{$name} = \%is_now;
	}
	return @wrong;
}

# How many rows of a view were closed at the last look.
sub closed { my ($self, $name) = @_; return scalar keys %{ $self->{closed}{$name} }; }

# Rounds in which three clients do work, the worker and the server are killed, and a view is
# made anew. ends: view => expression for the end of its row. Returns what looks have found wrong.
sub watch
{
	my ($self, $rounds, $work, %ends) = @_;
	my ($cluster, $node) = @$self{ 'cluster', 'name' };
	my @wrong;
	for my $round (1 .. $rounds)
	{
		my @clients = map { $cluster->start_sql($node, sprintf $work, rand()) } 1 .. 3;
		push @wrong, $self->look(\%ends) for 1 .. 2;
		if ($round % 3 == 0) { $cluster->try_sql($node, 'REFRESH MATERIALIZED VIEW dropped'); }
		else { $cluster->disturb($node, $round % 3 == 1 ? 'kill' : 'crash'); }
		$cluster->finish_sql($_) for @clients;
		$cluster->wait_alive($node);
		push @wrong, $self->look(\%ends);
		return @wrong if @wrong;
	}
	$cluster->sql($node, "SELECT braid.wait('$_', '60 s')") for sort keys %ends;
	return $self->look(\%ends);
}

1;
