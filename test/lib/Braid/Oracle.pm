# Braid::Oracle: random continuous views over random tables, compared with their
# queries after every step of random changes.
#
#   my $oracle = Braid::Oracle->new($cluster, 'db');
#   my @failures = $oracle->round($seed);       # texts, each a script that shows it
#   my $failure = $oracle->known($case);        # of those in a file: cases(file)
#   $oracle->summary                            # lines
#
# A query counts as clean if it was kept, and compared both ways, at every step of
# its round: $oracle->{count}{clean}.
#
# A round has tables, ordinary views, and continuous views, some of which read
# others, in a schema of its own; all of it follows from the seed. A view that
# CREATE refuses as not supported is counted by reason. Any other error, a view
# that does not get where it should, and any difference is a failure, which is
# then made smaller: fewer changes, fewer rows, a simpler query.
package Braid::Oracle;

use strict;
use warnings;
use Braid::Client;
use Braid::Queries;
use Braid::Tables qw(pick chance weighted);
use PostgreSQL::Test::Utils;
use Time::HiRes qw(time sleep);

my $patience = 120; # seconds for an answer

# views, steps: how many there are in a round. shrink: seconds to spend on each failure.
# together: how often a step's transactions run in two sessions at once. disturb: how
# often the worker is ended during a step. life: how often a view gets another query in a
# step, is paused for it, or refreshed.
sub new
{
	my ($class, $cluster, $name, %opt) = @_;
	my $self = bless {
		cluster => $cluster, name => $name, views => 10, steps => 6, shrink => 40, together => 0.15, disturb => 0, life => 0.03, worlds => 0, log_offset => 0, log_read => 0, strayed => {}, altered => {}, faults => {},
		count => { rounds => 0, queries => 0, refused => 0, clean => 0, given_up => 0, fails => 0, cut_short => 0, too_large => 0, compared => 0, rows => 0, altered => 0, slow => 0, transactions => 0, failures => 0 }, reasons => {}, %opt }, $class;
	$self->connect;
	return $self;
}

# ---- talking to the server

sub connect
{
	my ($self) = @_;
	$self->{cluster}->wait_alive($self->{name});
	$self->{client} = $self->session;
	return;
}

sub session
{
	my ($self) = @_;
	my $client = Braid::Client->new($self->{cluster}->node($self->{name}), { name => 'oracle', timeout => 30 });
	$client->run(q{SET statement_timeout = '60s'; SET client_min_messages = warning; SET timezone = 'UTC'});
	$client->run("SET search_path = $self->{schema}") if $self->{schema};
	return $client;
}

# The answer; one that the server did not give says so.
sub run
{
	my ($self, $sql) = @_;
	return $self->{client}->run($sql, $patience);
}

sub fault
{
	my ($answer) = @_;
	return 'the connection was lost' if $answer->{lost};
	return $answer->{error} ? "$answer->{error}{C}: $answer->{error}{M}" . ($answer->{error}{D} ? " ($answer->{error}{D})" : '') : undef;
}

sub must
{
	my ($self, $sql) = @_;
	my $fault = fault($self->run($sql));
	die "$fault\n$sql\n" if defined $fault;
	return;
}

# What the server's log says of a crash.
sub last_words
{
	my ($self) = @_;
	my $log = $self->{cluster}->node($self->{name})->logfile;
	my @lines = split /\n/, slurp_file($log, $self->{log_offset});
	$self->{log_offset} = -s $log;
	return join "\n", (grep { /TRAP|PANIC|terminated by signal|Failed process|ERROR:.*XX000/ } @lines)[ 0 .. 3 ];
}

sub enter
{
	my ($self) = @_;
	$self->{schema} = 'w' . ++$self->{worlds};
	$self->must("CREATE SCHEMA $self->{schema}");
	$self->must("SET search_path = $self->{schema}");
	@$self{ 'strayed', 'altered', 'faults' } = ({}, {}, {});
	$self->{log_read} = -s $self->{cluster}->node($self->{name})->logfile;
	return;
}

# Leaves nothing behind; returns what went wrong.
sub leave
{
	my ($self, @views) = @_;
	for my $view (chance(0.5) ? reverse grep { $_->{kept} } @views : ())
	{
		my $fault = fault($self->run("DROP MATERIALIZED VIEW $view->{name}"));
		return "DROP of $view->{name}: $fault" if defined $fault;
	}
	my $fault = fault($self->run("DROP SCHEMA $self->{schema} CASCADE"));
	$self->{schema} = undef;
	return defined $fault ? "DROP SCHEMA: $fault" : undef;
}

# ---- comparing

# The query that a view has now.
sub query_of { my ($self, $view) = @_; return $self->{altered}{ $view->{name} } // $view->{sql}; }

# Rows that the view has and its query has not, and the other way round.
sub comparison
{
	my ($self, $view) = @_;
	my ($of_view, $of_query) = ("TABLE $view->{name}", $self->query_of($view));
	if (!$view->{inexact})
	{
		$of_view = "SELECT x::text FROM $view->{name} x";
		$of_query = "SELECT x::text FROM ($of_query) x";
	}
	return "SELECT 'surplus', x::text FROM (($of_view) EXCEPT ALL ($of_query)) x
		UNION ALL SELECT 'missing', x::text FROM (($of_query) EXCEPT ALL ($of_view)) x ORDER BY 1, 2";
}

# Why a view was populated anew, if it was since this was asked last: it is right
# again then, so that comparing does not find what was wrong with its delta.
sub strayed
{
	my ($self, $view) = @_;
	my $log = $self->{cluster}->node($self->{name})->logfile;
	if (-s $log > $self->{log_read})
	{
		my $text = slurp_file($log, $self->{log_read});
		$self->{log_read} += length $text;
		$self->{strayed}{$1} = $2 while $text =~ /continuous view "(\w+)" is populated anew, as it could not follow a change: (.*)/g;
	}
	return delete $self->{strayed}{ $view->{name} };
}

# Waits until a view that got another query shows it.
sub exchanged
{
	my ($self, $view) = @_;
	my $deadline = time + 20;
	while ($self->{altered}{ $view->{name} })
	{
		my $answer = $self->run("SELECT new_query FROM braid.views WHERE name = '$view->{name}'::regclass");
		my $state = $answer->{rows}[0][0] // last;
		return 0 if $state eq 'broken' || time > $deadline;
		sleep 0.01;
	}
	return 1;
}

# What is wrong with a view: kind and text, or nothing.
sub complaint
{
	my ($self, $view) = @_;
	my $unable = delete $self->{faults}{ $view->{name} };
	return { kind => 'alter', text => $unable } if defined $unable;
	my $shown = $self->exchanged($view);
	my $answer = $self->run("SELECT braid.wait('$view->{name}', '20 s')");
	my $fault = fault($answer);
	if (defined $fault)
	{
		return { kind => 'lost', text => $fault . "\n" . $self->last_words } if $answer->{lost};
		my $direct = $self->run('SELECT count(*) FROM (' . $self->query_of($view) . ') q');
		if ($direct->{error} && !$direct->{lost})
		{
			$view->{fails} = $view->{given_up} = 1;
			return undef;
		}
		my $error = $self->run("SELECT error FROM braid.views WHERE name = '$view->{name}'::regclass");
		return { kind => 'broken', text => join "\n", $fault, map { $_ // '' } map { @$_ } @{ $error->{rows} } };
	}
	return { kind => 'late', text => 'it is not caught up after 20 s' } if $answer->{rows}[0][0] ne 't';
	return { kind => 'late', text => 'it does not show its new query after 20 s' } if !$shown;
	$answer = $self->run($self->comparison($view));
	$fault = fault($answer);
	return { kind => $answer->{lost} ? 'lost' : 'unreadable', text => $fault } if defined $fault;
	$self->{count}{compared}++;
	$view->{compared}++;
	if (!@{ $answer->{rows} })
	{
		my $reason = $self->strayed($view);
		return defined $reason ? { kind => 'anew', text => $reason } : undef;
	}
	my @rows = @{ $answer->{rows} };
	splice @rows, 12 if @rows > 12;

	# Wrong for good, or not there yet?
	sleep 0.5;
	$answer = $self->run($self->comparison($view));
	my $kind = fault($answer) || @{ $answer->{rows} } ? 'differs' : 'differed for a while';
	return { kind => $kind, text => join "\n", map { join ' ', @$_ } @rows };
}

sub verified
{
	my ($self, $view) = @_;
	my $answer = $self->run("SELECT * FROM braid.verify('$view->{name}', timeout => '20 s')");
	my $fault = fault($answer);
	return { kind => $answer->{lost} ? 'lost' : 'verify', text => $fault } if defined $fault;
	return undef if !@{ $answer->{rows} };
	return { kind => 'verify', text => join "\n", map { join ' ', map { $_ // '' } @$_ } @{ $answer->{rows} } };
}

# ---- a round

sub statement_for
{
	my ($view) = @_;
	return $view->{kept} ? "CREATE MATERIALIZED VIEW $view->{name} WITH (braid.continuous) AS $view->{sql}" : "CREATE VIEW $view->{name} AS $view->{sql}";
}

# A query with the queries of continuous views in their place: these may not be populated yet.
sub expanded
{
	my ($self, $round, $sql) = @_;
	my %query = map { $_->{name} => $self->query_of($_) } grep { $_->{kept} } @{ $round->{views} };
	1 while $sql =~ s/\b(kept_\d+) (?=\w+\b)/($query{$1}) /;
	return $sql;
}

# Whether the query can be compared in reasonable time, also when tables have grown.
sub is_small
{
	my ($self, $round, $sql, $ms, $rows) = @_;
	$sql = $self->expanded($round, $sql);
	$self->run("SET statement_timeout = '$ms ms'");
	my $answer = $self->run("SELECT count(*) FROM ($sql) q");
	$self->run(q{SET statement_timeout = '60s'});
	if ($answer->{error} && $answer->{error}{C} ne '57014')
	{
		die fault($answer) . "\n$sql\n";
	}
	return !$answer->{error} && !$answer->{lost} && $answer->{rows}[0][0] <= $rows;
}

sub refusal
{
	my ($answer) = @_;
	my $reason = $answer->{error}{M};
	$reason =~ s/"[^"]*"/"..."/g;
	$reason =~ s/\d+/N/g;
	return $reason;
}

# Makes a view; returns it, or nothing if it is refused or a failure.
sub make_view
{
	my ($self, $round, $view)  = @_;
	return undef if !$self->is_small($round, $view->{sql}, 200, 300);
	my $answer = $self->run(statement_for($view));
	if (!$view->{kept})
	{
		die fault($answer) . "\n$view->{sql}\n" if $answer->{error};
		return $view;
	}
	$self->{count}{queries}++;
	if ($answer->{error} && $answer->{error}{C} eq '0A000')
	{
		$self->{count}{refused}++;
		push @{ $self->{reasons}{ refusal($answer) } }, $view->{sql};
		return undef;
	}
	my $fault = fault($answer);
	return $view if !defined $fault;
	my $kind = $answer->{lost} ? 'lost' : 'create';
	$self->fail($round, $view, { kind => $kind, text => $fault . "\n" . $self->last_words });
	return undef;
}

# The first two are ordinary views.
sub make_views
{
	my ($self, $round, @numbers) = @_;
	my %given_up = map { $_->{name} => $_->{given_up} } @{ $round->{views} };
	my @relations = ($round->{tables}->relations, grep { !$given_up{ $_->{name} } } @{ $round->{readable} });
	for my $n (@numbers)
	{
		srand $round->{seed} * 1000 + $n;
		my $kept = $n > 2;
		my $queries = Braid::Queries->new(\@relations);
		my $query = $queries->make(!$kept);
		my $view = {
			%$query, name => $kept ? 'kept_' . ($n - 2) : "view_$n", kept => $kept, queries => $queries, after => scalar @{ $round->{steps} } };
		my $made = $self->make_view($round, $view) or next;
		push @{ $round->{views} }, $made;
		my $relation = { name => $made->{name}, columns => $made->{columns}, inexact => $made->{inexact} };
		push @relations, $relation if !$kept || (!$made->{limited} && chance(0.4));
		last if $round->{over};
	}
	@{ $round->{readable} } = grep { $_->{name} =~ /_/ } @relations;
	return;
}

sub kept { my ($round) = @_; return grep { $_->{kept} && !$_->{given_up} } @{ $round->{views} }; }

sub check
{
	my ($self, $round) = @_;
	for my $view (kept($round))
	{
		$view->{checks}++;
		my $complaint = $self->complaint($view) or next;

		# What goes wrong with a view does so with those that read it.
		if (grep { $_->{given_up} } inputs($round, $self->query_of($view)))
		{
			$view->{given_up} = 1;
			next;
		}
		if ($complaint->{kind} eq 'late' && $self->is_slow($view))
		{
			$self->{count}{slow}++;
			$complaint = $self->complaint($view) or next;
		}
		if ($complaint->{kind} eq 'late' && $self->is_too_large($round))
		{
			$round->{over} = 1;
			last;
		}
		$self->fail($round, $view, $complaint);
		last if $round->{over};
	}
	return;
}

# Whether a view is where it should be if it gets more time: between two checks a
# join can have been as large as the product of its tables, and small again.
sub is_slow
{
	my ($self, $view) = @_;
	for (1 .. 5)
	{
		my $answer = $self->run("SELECT braid.wait('$view->{name}', '30 s')");
		return 0 if defined fault($answer);
		return 1 if $answer->{rows}[0][0] eq 't';
	}
	return 0;
}

# Whether a join has grown so much that there is no point in waiting for it.
sub is_too_large
{
	my ($self, $round) = @_;
	return 0 if !grep { !$self->is_small($round, $self->query_of($_), 300, 20_000) } kept($round);
	$self->{count}{too_large}++;
	$self->run(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'braid capture'});
	return 1;
}

# The transactions of a step.
sub changes
{
	my ($self, $round) = @_;
	my @transactions = map { [ $round->{tables}->transaction ] } 1 .. weighted(1 => 4, 2 => 3, 3 => 2, 5 => 1);
	for my $table ($round->{tables}->tables)
	{
		my $answer = $self->run("SELECT count(*) FROM $table->{name}");
		push @transactions, [ $round->{tables}->shrink($table->{name}) ] if !$answer->{error} && $answer->{rows}[0][0] > 45;
	}
	return @transactions;
}

sub apply
{
	my ($self, @transactions) = @_;
	for my $sql (map { @$_ } @transactions)
	{
		my $answer = $self->run($sql);
		return 0 if $answer->{lost};
		$self->note_alter($1, $2, $answer) if $sql =~ /^SELECT braid.alter_view\('(\w+)', \$query\$(.*)\$query\$\)$/s;
	}
	return 1;
}

# What came of giving a view another query. It may be refused.
sub note_alter
{
	my ($self, $name, $query, $answer) = @_;
	my $fault = fault($answer);
	$self->{count}{altered}++ if !defined $fault;
	$self->{altered}{$name} = $query if !defined $fault;
	$self->{faults}{$name} = $fault if defined $fault && $fault !~ /^(0A000|42P16|42P17|55000|55P03|40P01)/;
	return;
}

# The same by two sessions at once.
sub apply_together
{
	my ($self, @transactions) = @_;
	my @clients = ($self->{client}, $self->session);
	my @todo = ([], []);
	push @{ $todo[ $_ % 2 ] }, @{ $transactions[$_] } for 0 .. $#transactions;
	for (;;)
	{
		for my $n (0, 1)
		{
			my $client = $clients[$n];
			next if $client->{busy} || !@{ $todo[$n] } || !$client->is_open;
			$client->send(shift @{ $todo[$n] });
		}
		my @busy = grep { $_->{busy} && $_->is_open } @clients;
		last if !@busy;
		$_->wait(0.002) for @busy;
	}
	$clients[1]->close;
	return $clients[0]->is_open;
}

# All that follows from a seed. Returns the failures' texts.
sub round
{
	my ($self, $seed) = @_;
	srand $seed;
	my $round = { seed => $seed, tables => Braid::Tables->new, views => [], readable => [], steps => [], failures => [] };
	$self->{log_offset} = -s $self->{cluster}->node($self->{name})->logfile;
	$round->{setup} = [ Braid::Expressions::definitions(), $round->{tables}->create ];
	if (!eval { $self->play($round); 1 })
	{
		$self->{count}{failures}++;
		push @{ $round->{failures} }, "-- seed $seed ended early: $@" . $self->last_words;
		$self->forsake;
	}
	$self->{count}{rounds}++;
	return @{ $round->{failures} };
}

sub play
{
	my ($self, $round) = @_;
	my $limit = chance(0.15) ? '0' : '16MB';
	$self->enter;
	$self->must("ALTER SYSTEM SET braid.view_populate_limit = '$limit'");
	$self->must('SELECT pg_reload_conf()');
	$self->must($_) for @{ $round->{setup} };
	my $first = chance(0.3) ? 2 + int $self->{views} / 2 : 2 + $self->{views};
	$self->make_views($round, 1 .. $first);
	$self->check($round) if !$round->{over};
	for my $step (1 .. $self->{steps})
	{
		last if $round->{over};
		$self->step($round, $step);
		$self->make_views($round, $first + 1 .. 2 + $self->{views}) if $step == 2;
		$self->check($round) if !$round->{over};
	}
	for my $view ($round->{over} ? () : kept($round))
	{
		my $complaint = chance(0.3) ? $self->verified($view) : undef;
		$self->fail($round, $view, $complaint) if $complaint;
	}
	$self->tally($round);
	my $left = $self->{schema} ? $self->leave(@{ $round->{views} }) : undef;
	$self->fail($round, undef, { kind => 'leave', text => $left }) if defined $left && !$round->{over};
	return;
}

# Counts the queries that were compared at every step, and says what became of the others.
sub tally
{
	my ($self, $round) = @_;
	for my $view (grep { $_->{kept} } @{ $round->{views} })
	{
		my $whole = !$round->{over} && ($view->{compared} // 0) == ($view->{checks} // 0);
		$self->{count}{ $view->{fails} ? 'fails' : $view->{given_up} ? 'given_up' : $whole ? 'clean' : 'cut_short' }++;
	}
	return;
}

# What happens to the views themselves: statements for before a step's changes, and after them.
sub life
{
	my ($self, $round) = @_;
	my (@before, @after);
	for my $view (grep { chance($self->{life}) } kept($round))
	{
		my $name = "'$view->{name}'";
		my $what = weighted(alter => 4, pause => 1, refresh => 1, again => 0.5);
		push @before, "SELECT braid.pause($name)" if $what eq 'pause';
		push @after, "SELECT braid.resume($name)" if $what eq 'pause';
		push @after, "REFRESH MATERIALIZED VIEW $view->{name}" if $what eq 'refresh';
		push @before, "SELECT braid.alter_view($name)" if $what eq 'again';
		push @before, $self->another($round, $view) if $what eq 'alter';
	}
	return ([@before], [@after]);
}

# Another query with the columns that a view has, and perhaps more.
sub another
{
	my ($self, $round, $view) = @_;
	my @types = map { $_->{type} } @{ $view->{columns} };
	push @types, pick(qw(int text numeric)) if chance(0.3);
	my $query = Braid::Queries->new($view->{queries}{relations})->make(0, \@types);
	return () if $query->{limited} || !$self->is_small($round, $query->{sql}, 200, 300);
	$view->{inexact} ||= $query->{inexact};
	return "SELECT braid.alter_view('$view->{name}', \$query\$$query->{sql}\$query\$)";
}

sub step
{
	my ($self, $round, $step) = @_;
	srand $round->{seed} * 1000 + 700 + $step;
	my ($before, $after) = $self->life($round);
	srand $round->{seed} * 1000 + 500 + $step;
	my @transactions = $self->changes($round);
	push @{ $round->{steps} }, [ $before, @transactions, $after ];
	$self->{count}{transactions} += @transactions;
	$self->run(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'braid capture'}) if chance($self->{disturb});
	$self->apply($before);
	if (chance($self->{together})) { $self->apply_together(@transactions); }
	else { $self->apply(@transactions); }
	$self->apply($after);
	return;
}

# ---- failures

# Views that a query reads, and those that they read.
sub inputs
{
	my ($round, $sql) = @_;
	my %need = map { $_ => 1 } $sql =~ /\b(view_\d+|kept_\d+)\b/g;
	for my $view (reverse @{ $round->{views} })
	{
		next if !$need{ $view->{name} };
		$need{$_} = 1 for $view->{sql} =~ /\b(view_\d+|kept_\d+)\b/g;
	}
	return grep { $need{ $_->{name} } } @{ $round->{views} };
}

# All queries of a case in one text.
sub texts
{
	my ($view, $units) = @_;
	return join "\n", $view->{sql}, grep { /alter_view/ } map { @$_ } @$units;
}

# A case is what a failure needs: setup, views, view, units (of changes, after each
# of which the view is compared).
sub script
{
	my ($case) = @_;
	my @lines = map { "$_;" } @{ $case->{setup} };
	push @lines, map { statement_for($_) . ';' } @{ $case->{views} }, $case->{view} // ();
	my $n = 0;
	push @lines, map { '-- step ' . ++$n, map { "$_;" } @$_ } @{ $case->{units} };
	return join "\n", @lines;
}

# By what a failure is known again.
sub signature
{
	my ($complaint) = @_;
	return $complaint->{kind} if $complaint->{kind} !~ /create|broken/;
	my ($text) = split /\n/, $complaint->{text};
	$text =~ s/\w*\d+|"[^"]*"/./g;
	return "$complaint->{kind} $text";
}

# Does a case fail in the same way? Returns the complaint.
sub attempt
{
	my ($self, $case, $wanted) = @_;
	my $complaint;
	eval {
		$self->connect if !$self->{client}->is_open;
		$self->enter;
		$self->run($_) for @{ $case->{setup} };
		for my $view (@{ $case->{views} }, $case->{view})
		{
			my $answer = $self->run(statement_for($view));
			next if !defined fault($answer);
			my $is = $answer->{lost} ? 'lost' : 'create';
			$complaint = { kind => $is, text => fault($answer) } if $view == $case->{view} && $answer->{error}{C} ne '0A000' || $is eq 'lost';
			die "refused\n";
		}
		my $last = $#{ $case->{units} };
		for my $n (-1 .. $last)
		{
			my $alive = $n < 0 || $self->apply($case->{units}[$n], ['ROLLBACK']); # what may have lost its COMMIT
			$complaint = $alive ? $self->complaint($case->{view}) : { kind => 'lost', text => $self->last_words };
			$complaint //= $self->verified($case->{view}) if $n == $last && $wanted eq 'verify';
			last if $complaint;
		}
		1;
	};
	if ($self->{client}->is_open)
	{
		$self->run('ROLLBACK');
		$self->leave if $self->{schema};
	}
	$self->forsake if !$self->{client}->is_open;
	return $complaint && signature($complaint) eq $wanted ? $complaint : undef;
}

# The shortest part of a list that still fails, found by leaving out halves, and
# halves of them.
sub shorten
{
	my ($list, $fails) = @_;
	my @list = @$list;
	for (my $size = int((@list + 1) / 2); $size >= 1; $size = $size > 1 ? int(($size + 1) / 2) : 0)
	{
		for (my $at = 0; $at < @list;)
		{
			my @fewer = @list;
			splice @fewer, $at, $size;
			if ($fails->(\@fewer)) { @list = @fewer; }
			else { $at += $size; }
		}
	}
	return \@list;
}

# The numbers of choices that a text shows.
sub shown
{
	my ($view, $picked) = @_;
	my %shown;
	my @todo = ($view->{text});
	while (defined(my $text = shift @todo))
	{
		for my $id ($text =~ /\x01(\d+)\x02/g)
		{
			push @todo, $view->{choices}[$id][ $picked->{$id} // 0 ] if !$shown{$id}++;
		}
	}
	return sort { $a <=> $b } keys %shown;
}

# The view with simpler texts in place of what has choices.
sub simplify
{
	my ($view, $fails) = @_;
	my %picked;
	my $better = 1;
	while ($better)
	{
		$better = 0;
		for my $id (grep { !$picked{$_} } shown($view, \%picked))
		{
			for my $n (1 .. $#{ $view->{choices}[$id] })
			{
				my %try = (%picked, $id => $n);
				my $simpler = { %$view, sql => $view->{queries}->render($view->{text}, \%try) };
				next if $simpler->{sql} eq $view->{sql} || !$fails->($simpler);
				$view = $simpler;
				%picked = %try;
				$better = 1;
				last;
			}
		}
	}
	return $view;
}

# An INSERT with fewer rows.
sub drop_rows
{
	my ($sql, $fails) = @_;
	my ($head, $rows, $tail) = $sql =~ /^(INSERT.*? VALUES )(\(.*\))( ON CONFLICT.*)?$/ or return $sql;
	my $with = sub { return @{ $_[0] } ? $head . join(', ', @{ $_[0] }) . ($tail // '') : 'SELECT 1'; };
	return $with->(shorten([ split /(?<=\)), (?=\()/, $rows ], sub { return $fails->($with->($_[0])); }));
}

sub with_nth
{
	my ($list, $n, $item) = @_;
	my @list = @$list;
	$list[$n] = $item;
	return \@list;
}

# Makes a case smaller, which is changed. Returns how it fails then, nothing if
# it does not fail at all when it is run again.
sub shrink
{
	my ($self, $case, $wanted) = @_;
	my $deadline = time + $self->{shrink};
	my $last;
	my $fails = sub {
		return 0 if time > $deadline;
		my $complaint = $self->attempt({ %$case, @_ }, $wanted) or return 0;
		$last = $complaint;
		return 1;
	};
	return undef if !$fails->();
	my $units = sub { $case->{units} = shorten($case->{units}, sub { $fails->(units => $_[0]) }); };
	my $text = sub { $case->{view} = simplify($case->{view}, sub { $fails->(view => $_[0]) }); };
	my $rows = sub {
		for my $n (0 .. $#{ $case->{setup} })
		{
			$case->{setup}[$n] = drop_rows($case->{setup}[$n], sub { $fails->(setup => with_nth($case->{setup}, $n, $_[0])) });
		}
	};
	$units->();
	$text->();
	$units->();
	$case->{views} = [ inputs($case, texts($case->{view}, $case->{units})) ];
	$case->{setup} = shorten($case->{setup}, sub { $fails->(setup => $_[0]) });
	$rows->();
	for my $n (0 .. $#{ $case->{units} })
	{
		$case->{units}[$n] = shorten($case->{units}[$n], sub { $fails->(units => with_nth($case->{units}, $n, $_[0])) });
		for my $m (0 .. $#{ $case->{units}[$n] })
		{
			$case->{units}[$n][$m] = drop_rows($case->{units}[$n][$m], sub { $fails->(units => with_nth($case->{units}, $n, with_nth($case->{units}[$n], $m, $_[0]))) });
		}
	}
	$text->();
	$rows->();
	return $last;
}

# Drops a schema after a crash, which its views may cause again: without a worker,
# for which there is no process then.
sub forsake
{
	my ($self) = @_;
	my ($node, $schema) = ($self->{cluster}->node($self->{name}), $self->{schema});
	for my $processes (2, 16)
	{
		$node->append_conf('postgresql.conf', "max_worker_processes = $processes");
		$node->stop('immediate', fail_ok => 1);
		$self->{cluster}->start_again($self->{name});
		next if $processes > 2 || !$schema;
		$self->connect;
		$self->run("DROP SCHEMA IF EXISTS $schema CASCADE");
	}
	$self->{schema} = undef;
	$self->connect;
	return;
}

# What is needed to see a failure of a view again.
sub case_of
{
	my ($round, $view) = @_;
	my @steps = @{ $round->{steps} };
	my @before = splice @steps, 0, $view->{after};
	my @units = grep { @$_ } map { @$_ } @steps;
	return {
		setup => [ @{ $round->{setup} }, map { map { @$_ } @$_ } @before ], view => $view,
		views => [ inputs($round, texts($view, \@units)) ], units => \@units };
}

sub fail
{
	my ($self, $round, $view, $complaint) = @_;
	my $signature = signature($complaint);
	$self->{count}{failures}++;
	$view->{given_up} = 1 if $view;
	my @suspects = $view // ();
	if ($complaint->{kind} eq 'lost')
	{
		$self->forsake;
		$round->{over} = 1;
		push @suspects, kept($round);
	}
	my @here = @$self{ 'schema', 'altered', 'faults', 'strayed' };
	my ($case, $again);
	for my $suspect ($self->{shrink} > 0 ? @suspects : ())
	{
		$case = case_of($round, $suspect);
		$again = $self->shrink($case, $signature);
		last if $again;
	}
	if (!$again && $view)
	{
		$case = case_of($round, $view);
	}
	elsif (!$again)
	{
		$case = { setup => $round->{setup}, views => $round->{views}, units => [ map { @$_ } @{ $round->{steps} } ] };
	}
	$self->connect if !$self->{client}->is_open;
	@$self{ 'schema', 'altered', 'faults', 'strayed' } = @here;
	$self->must("SET search_path = $self->{schema}") if $self->{schema};
	my $head = sprintf '-- seed %d, %s, %s after step %d%s', $round->{seed}, $view ? $view->{name} : 'all views', $complaint->{kind}, scalar @{ $round->{steps} },
	  $again ? '' : '; it did not happen again';
	$head .= "\n-- exact" if $case->{view} && !$case->{view}{inexact};
	push @{ $round->{failures} }, join "\n", $head, script($case), map { "-- $_" } split /\n/, ($again // $complaint)->{text};
	return;
}

# ---- cases that are known

# Those of a file: each begins with a line "-- case: name" and is then as the script
# of a failure, with a statement on every line. "-- exact" says that values are
# compared as they look.
sub cases
{
	my ($file) = @_;
	my @cases;
	for my $line (split /\n/, slurp_file($file))
	{
		if ($line =~ /^-- case: (.*)/)
		{
			push @cases, { name => $1, setup => [], views => [], units => [], inexact => 1 };
			next;
		}
		my $case = $cases[-1] or next;
		$case->{inexact} = 0 if $line eq '-- exact';
		push @{ $case->{units} }, [] if $line =~ /^-- step/;
		next if $line =~ /^--|^\s*$/;
		(my $sql = $line) =~ s/;$//;
		if ($sql =~ /^CREATE MATERIALIZED VIEW (\w+) WITH \(braid.continuous\) AS (.*)$/)
		{
			push @{ $case->{views} }, { name => $1, sql => $2, kept => 1, inexact => $case->{inexact} };
		}
		elsif ($sql =~ /^CREATE VIEW (\w+) AS (.*)$/)
		{
			push @{ $case->{views} }, { name => $1, sql => $2 };
		}
		else
		{
			push @{ @{ $case->{units} } ? $case->{units}[-1] : $case->{setup} }, $sql;
		}
	}
	return @cases;
}

# Runs a known case; returns what is wrong, or nothing.
sub known
{
	my ($self, $case) = @_;
	$self->enter;
	$self->must($_) for @{ $case->{setup} }, map { statement_for($_) } @{ $case->{views} };
	my $step = 0;
	for my $unit ([], @{ $case->{units} })
	{
		$self->apply($unit);
		for my $view (grep { $_->{kept} } @{ $case->{views} })
		{
			my $complaint = $self->complaint($view) or next;
			return "step $step, $view->{name} $complaint->{kind}: $complaint->{text}";
		}
		$step++;
	}
	return $self->leave(@{ $case->{views} });
}

# ---- what there is to say

# The part of the queries that were refused.
sub refused
{
	my ($self) = @_;
	my $count = $self->{count};
	return $count->{queries} ? $count->{refused} / $count->{queries} : 0;
}

sub summary
{
	my ($self) = @_;
	my $count = $self->{count};
	my @lines = sprintf '%d queries in %d rounds, %d of them refused (%.1f %%), %d comparisons after %d transactions, %d failures',
	  $count->{queries}, $count->{rounds}, $count->{refused}, 100 * $self->refused,
	  $count->{compared}, $count->{transactions}, $count->{failures};
	my $reasons = $self->{reasons};
	push @lines, sprintf '%d queries kept and compared, %d refused, %d differences', @$count{ 'clean', 'refused', 'failures' };
	push @lines, "$count->{altered} times a view got another query" if $count->{altered};
	push @lines, "$count->{fails} queries kept that fail by themselves after some change, $count->{cut_short} in rounds that ended early" if $count->{fails} || $count->{cut_short};
	push @lines, "$count->{slow} times more than 20 s were needed" if $count->{slow};
	push @lines, "$count->{too_large} rounds ended early, as a join had grown too much" if $count->{too_large};
	push @lines, map { sprintf '%5d refused: %s', scalar @{ $reasons->{$_} }, $_ } sort { @{ $reasons->{$b} } <=> @{ $reasons->{$a} } || $a cmp $b } keys %$reasons;
	return @lines;
}

1;
