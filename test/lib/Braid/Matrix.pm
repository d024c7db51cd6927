# Braid::Matrix: every point of the commit protocol × whatever can happen there
# × the kinds of transactions.
#
#   my $matrix = Braid::Matrix->new;
#   for my $cell ($matrix->cells) { my @complaints = $matrix->run($cell); ... }
#
# A cell is one transaction that is stopped at a point (a failpoint, or simply
# before its COMMIT), to which an event happens, and which is then let go. When
# all has come to rest the oracle is asked:
#
#   - the sum of all balances on all nodes has not changed;
#   - the transaction is on all its nodes or on none;
#   - what the client was told is what has happened: after COMMIT it is there,
#     after an error it is not; who lost the connection was not told. Of one
#     phase alone an error may say that the outcome is not known (08007);
#   - past the decision it is there, whatever happened;
#   - no transaction is prepared or in doubt anywhere;
#   - the rows that it wrote can be written.
#
# The coordinator "hub" reaches participant "a" through a proxy (Proxy.pm), "b"
# directly. Points on a participant and events to one are on "a".
package Braid::Matrix;

use strict;
use warnings;
use Braid::Client;
use Braid::Cluster;
use Braid::Proxy;
use Time::HiRes qw(time sleep);

# Limits for what should happen at once; only a failing cell gets there.
my $patience = $ENV{PG_TEST_TIMEOUT_DEFAULT} // 60;

# How long an event that holds something up lasts, unless the client has its
# answer before.
my $hold = 0.15;

# ---- shapes

# Statements on the tables of hub, a and b; %d is the number of the cell.
my %on_hub = (sql => 'INSERT INTO log VALUES (%d); UPDATE acct SET bal = bal + 5 WHERE id = 1;');
my %shapes = (
	'one participant' => {
		phases => 1,
		nodes => ['a'],
		sql => 'INSERT INTO log_a VALUES (%d); UPDATE acct_a SET bal = bal - 5 WHERE id = 1; UPDATE acct_a SET bal = bal + 5 WHERE id = 2;'
	},
	'one participant and the hub' => {
		phases => 2,
		nodes => [ 'hub', 'a' ],
		sql => "$on_hub{sql} INSERT INTO log_a VALUES (%d); UPDATE acct_a SET bal = bal - 5 WHERE id = 1;"
	},
	'two participants' => {
		phases => 2,
		nodes => [ 'a', 'b' ],
		sql => 'INSERT INTO log_a VALUES (%d); INSERT INTO log_b VALUES (%d); UPDATE acct_a SET bal = bal - 5 WHERE id = 1; UPDATE acct_b SET bal = bal + 5 WHERE id = 1;'
	},
	'two participants and the hub' => {
		phases => 2,
		nodes => [ 'hub', 'a', 'b' ],
		sql => "$on_hub{sql} INSERT INTO log_b VALUES (%d); INSERT INTO log_a VALUES (%d); UPDATE acct_b SET bal = bal - 7 WHERE id = 1; UPDATE acct_a SET bal = bal + 2 WHERE id = 1;"
	});
my @shapes = sort keys %shapes;

# ---- points, in the order of a transaction's life
#
# at		where it is stopped: client (its backend), branch (a's backend for it),
#			resolver, or finisher (a's backend for the resolver)
# phases	of the shapes that come by here
# outcome	what must become of it, if that is certain: 1 committed, 0 not
# throws	whether an error may be raised here
# answered	the client has its answer before
# needs_wait	its lead takes the client's answer for the end of the branches
# lead		how it is brought there, if a COMMIT alone will not do
my @points = (
	{ name => 'open', at => 'client', phases => '12', lead => sub { } },
	{ name => 'xa-one-phase', at => 'client', phases => '1', throws => 1 },
	{ name => 'xa-one-phase-entered', at => 'client', phases => '1', throws => 1 },
	{ name => 'xa-participant-commit', at => 'branch', phases => '1', throws => 1 },
	{ name => 'xa-participant-committed', at => 'branch', phases => '1' },
	{ name => 'xa-enlisted', at => 'client', phases => '2', throws => 1 },
	{ name => 'xa-before-prepare', at => 'client', phases => '2', throws => 1 },
	{ name => 'xa-participant-prepare', at => 'branch', phases => '2', throws => 1 },
	{ name => 'xa-participant-prepared', at => 'branch', phases => '2' },
	{ name => 'xa-prepared', at => 'client', phases => '2', throws => 1 },
	{ name => 'xa-gate-entered', at => 'client', phases => '2', throws => 1 },
	{ name => 'xa-decided', at => 'client', phases => '2' },
	{ name => 'xa-committed', at => 'client', phases => '2', outcome => 1 },
	{ name => 'xa-handed-over', at => 'client', phases => '2' },
	{ name => 'xa-resolver-start', at => 'resolver', phases => '2', throws => 1, outcome => 1, lead => \&lead_to_resolver_start },
	{ name => 'xa-finish', at => 'resolver', phases => '2', throws => 1, outcome => 1 },
	{ name => 'xa-participant-finish', at => 'finisher', phases => '2', throws => 1, outcome => 1 },
	{ name => 'xa-participant-finished', at => 'finisher', phases => '2', throws => 1, outcome => 1 },
	{ name => 'xa-branch-finished', at => 'resolver', phases => '2', throws => 1, outcome => 1 },
	{ name => 'xa-sweep', title => 'xa-sweep of a commit', at => 'resolver', phases => '2', throws => 1, outcome => 1, answered => 1, needs_wait => 1, lead => \&lead_to_sweep_of_commit },
	{ name => 'xa-sweep', title => 'xa-sweep of an abort', at => 'resolver', phases => '2', throws => 1, outcome => 0, answered => 1, lead => \&lead_to_sweep_of_abort });
$_->{title} //= $_->{name} for @points;

# ---- events
#
# begin		what happens while the transaction is stopped
# end		what undoes it after the transaction was let go and $hold has passed
# to		whom it happens, for the rules
my @events = (
	{ name => 'nothing happens', to => 'nobody', begin => sub { } },
	{ name => 'an error is raised there', to => 'point' },
	{ name => 'the client cancels', to => 'client', begin => sub { $_[0]->signal_client('cancel') } },
	{ name => 'the client is terminated', to => 'client', begin => sub { $_[0]->signal_client('terminate') } },
	{ name => "the client's backend is killed", to => 'client', begin => sub { $_[0]->kill_process('hub', $_[0]{client}->pid) } },
	{ name => 'the resolver is terminated', to => 'resolver', begin => sub { $_[0]->terminate('hub', $_[0]->resolver_pids) } },
	{ name => 'the resolver is killed', to => 'resolver', begin => sub { $_[0]->kill_process('hub', $_[0]->resolver_pids) } },
	{ name => 'the resolver hangs', to => 'resolver', begin => sub { $_[0]->freeze($_[0]->resolver_pids) }, end => sub { $_[0]->thaw } },
	{ name => 'the coordinator is killed', to => 'hub', begin => sub { $_[0]->kill_nodes('hub') } },
	{ name => "the branch's session is terminated", to => 'branch', begin => sub { $_[0]->terminate('a', $_[0]->branch_pids) } },
	{ name => "the branch's backend is killed", to => 'branch', begin => sub { $_[0]->kill_process('a', $_[0]->branch_pids) } },
	{ name => "the branch's backend hangs", to => 'branch', begin => sub { $_[0]->freeze($_[0]->branch_pids) }, end => sub { $_[0]->thaw } },
	{ name => "the resolver's sessions are terminated", to => 'finisher', begin => sub { $_[0]->terminate('a', $_[0]->finisher_pids) } },
	{ name => "the resolver's sessions hang", to => 'finisher', begin => sub { $_[0]->freeze($_[0]->finisher_pids) }, end => sub { $_[0]->thaw } },
	{ name => 'the participant hangs', to => 'a', begin => sub { $_[0]->freeze($_[0]->node_pids('a')) }, end => sub { $_[0]->thaw } },
	{ name => "the participant's postmaster hangs", to => 'a', begin => sub { $_[0]->freeze($_[0]{cluster}->node('a')->{_pid}) }, end => sub { $_[0]->thaw } },
	{ name => 'the participant is killed', to => 'a', begin => sub { $_[0]->kill_nodes('a') } },
	{ name => 'both are killed', to => 'hub', begin => sub { $_[0]->kill_nodes('hub', 'a') } },
	{ name => 'the network stalls', to => 'network', begin => sub { $_[0]{proxy}->set('stall') }, end => sub { $_[0]{proxy}->set('pass') } },
	{ name => 'the network is cut', to => 'network', begin => sub { $_[0]{proxy}->set('drop') }, end => sub { $_[0]->wait_for_unready; $_[0]{proxy}->set('pass') } },
	{ name => 'connections are reset', to => 'network', begin => sub { $_[0]{proxy}->set('reset') }, end => sub { $_[0]{proxy}->set('pass') } });

# Why a combination makes no sense, undef if it does.
sub reason_to_skip
{
	my ($point, $event, $shape) = @_;
	return 'transactions of this kind do not get there' if index($point->{phases}, $shape->{phases}) < 0;
	return 'no error may be raised there' if $event->{to} eq 'point' && !$point->{throws};
	return 'the client has its answer' if $event->{to} eq 'client' && $point->{answered};
	return 'what waits there hangs already' if $event->{name} =~ /hangs?$/ && $event->{to} eq $point->{at};
	return undef;
}

# ---- the matrix

# All cells that make sense, numbered, with those that do not as reason => number
# in the second result.
sub all_cells
{
	my (@cells, %skipped);
	for my $p (0 .. $#points)
	{
		for my $e (0 .. $#events)
		{
			for my $s (0 .. $#shapes)
			{
				my ($point, $event, $shape) = ($points[$p], $events[$e], $shapes{ $shapes[$s] });
				my $reason = reason_to_skip($point, $event, $shape);
				if ($reason)
				{
					$skipped{$reason}++;
					next;
				}
				push @cells, {
					number => @cells + 1,
					name => "$point->{title}, $shapes[$s]: $event->{name}",
					# Of the three two-phase shapes each round takes another one.
					turn => $shape->{phases} == 1 ? -1 : ($p + $e + $s) % 3,
					point => $point,
					event => $event,
					shape => $shape
				};
			}
		}
	}
	return (\@cells, \%skipped);
}

# The cells of a round: each pair of point and event with one of the two-phase
# shapes, another one each round; three rounds have all.
sub cells_of_round
{
	my ($cells, $round) = @_;
	return grep { $_->{turn} < 0 || $_->{turn} == $round % 3 } @$cells;
}

sub new
{
	my ($class) = @_;
	my $cluster = Braid::Cluster->new('hub', 'a', 'b', { conf => <<'CONF' });
braid.xa_recovery_interval = '500ms'
braid.xa_finish_timeout = '1s'
autovacuum = off
CONF
	my $self = bless { cluster => $cluster, control => {}, frozen => [], serial => 0 }, $class;
	for my $name ($cluster->names)
	{
		$cluster->sql($name, 'CREATE TABLE acct (id int PRIMARY KEY, bal bigint NOT NULL);
			INSERT INTO acct VALUES (1, 0), (2, 0); CREATE TABLE log (id int)');
		next if $name eq 'hub';
		$cluster->sql('hub', "CREATE FOREIGN TABLE acct_$name (id int, bal bigint) SERVER $name OPTIONS (table_name 'acct');
			CREATE FOREIGN TABLE log_$name (id int) SERVER $name OPTIONS (table_name 'log')");
	}
	$self->{proxy} = Braid::Proxy->new($cluster->node('a'));
	my $port = $self->{proxy}->port;
	$cluster->sql('hub', "ALTER SERVER a OPTIONS (SET host '127.0.0.1', SET port '$port')");
	return $self;
}

# ---- sessions

# A session to look at a node and to steer it; a new one if the node was down.
sub control
{
	my ($self, $name) = @_;
	my $deadline = time + $patience;
	until ($self->{control}{$name} && $self->{control}{$name}->is_open)
	{
		my $node = $self->{cluster}->node($name);
		$self->{control}{$name} = eval { Braid::Client->new($node, { name => 'control' }) };
		if ($self->{control}{$name})
		{
			$self->{control}{$name}->run("SET lock_timeout = '10s'");
			last;
		}
		die "node $name does not come back: $@" if time > $deadline;
		sleep 0.02;
	}
	return $self->{control}{$name};
}

# Runs a query on a node, again if the node goes down meanwhile.
sub ask
{
	my ($self, $name, $sql) = @_;
	for (1 .. 100)
	{
		my $answer = $self->control($name)->run($sql, $patience);
		next if $answer->{lost};
		die "$name: $sql: $answer->{error}{M}\n" if $answer->{error};
		return $answer;
	}
	die "node $name goes down again and again\n";
}

sub value { my ($self, $name, $sql) = @_; return $self->ask($name, $sql)->{rows}[0][0]; }

sub column { my ($self, $name, $sql) = @_; return map { $_->[0] } @{ $self->ask($name, $sql)->{rows} }; }

# Waits for a condition, given as a query that returns t or as a function.
sub wait_until
{
	my ($self, $what, $condition) = @_;
	my $deadline = time + $patience;
	until ($condition->())
	{
		die "waited in vain until $what\n" if time > $deadline;
		sleep 0.005;
	}
	return;
}

sub failpoint
{
	my ($self, $name, $point, $action, $pid) = @_;
	$self->ask($name, sprintf "SELECT braid_internal.failpoint_set('%s', '%s', %d)", $point, $action, $pid // 0);
	$self->{armed}{$name}{$point} = $action ne 'off';
	return;
}

sub wait_at
{
	my ($self, $name, $point) = @_;
	$self->wait_until("somebody is at $point", sub {
		$self->value($name, "SELECT braid_internal.failpoint_waiting('$point') > 0") eq 't' });
	return;
}

# ---- whom things happen to

sub pids_of { my ($self, $name, $where) = @_; return $self->column($name, "SELECT pid FROM pg_stat_activity WHERE $where"); }
sub resolver_pids { my ($self) = @_; return $self->pids_of('hub', "backend_type = 'braid resolver'"); }
sub branch_pids { my ($self) = @_; return $self->pids_of('a', "application_name = '$self->{name}'"); }
sub finisher_pids { my ($self) = @_; return $self->pids_of('a', q{application_name LIKE 'braid resolver %'}); }

# All of a node, but for the session that looks at it.
sub node_pids
{
	my ($self, $name) = @_;
	return ($self->pids_of($name, 'pid <> pg_backend_pid()'), $self->{cluster}->node($name)->{_pid});
}

sub signal_client
{
	my ($self, $how) = @_;
	$self->ask('hub', sprintf 'SELECT pg_%s_backend(%d)', $how, $self->{client}->pid);
	return;
}

sub terminate
{
	my ($self, $name, @pids) = @_;
	$self->ask($name, "SELECT pg_terminate_backend($_)") for @pids;
	return;
}

# The server restarts by itself. One process will do.
sub kill_process
{
	my ($self, $name, $pid) = @_;
	$self->{cluster}->kill_process($name, $pid) if $pid;
	return;
}

sub kill_nodes
{
	my ($self, @names) = @_;
	$self->{cluster}->kill_node($_) for @names;
	$self->{cluster}->start_again($_) for @names;
	return;
}

sub freeze { my ($self, @pids) = @_; kill 'STOP', @pids; push @{ $self->{frozen} }, @pids; return; }
sub thaw { my ($self) = @_; kill 'CONT', splice @{ $self->{frozen} }; return; }

# Until the coordinator has noticed that it cannot reach the participant.
sub wait_for_unready
{
	my ($self) = @_;
	$self->wait_until('the coordinator misses the participant', sub {
		$self->value('hub', q{SELECT NOT ready FROM braid.participants WHERE server = 'a'}) eq 't' });
	return;
}

# ---- how a transaction gets to its point

# The node and the process in which a point is.
sub place
{
	my ($self, $point) = @_;
	return ('hub', $self->{client}->pid) if $point->{at} eq 'client';
	return ('hub', 0) if $point->{at} eq 'resolver';
	return ('a', 0) if $point->{at} eq 'finisher';
	return ('a', ($self->branch_pids)[0]);
}

sub lead_by_commit
{
	my ($self) = @_;
	$self->{client}->send('COMMIT');
	return;
}

# Committed, and no resolver there to take it.
sub lead_to_resolver_start
{
	my ($self) = @_;
	$self->failpoint('hub', 'xa-committed', 'wait', $self->{client}->pid);
	$self->{client}->send('COMMIT');
	$self->wait_at('hub', 'xa-committed');
	$self->terminate('hub', $self->resolver_pids);
	$self->wait_until('another resolver has come', sub {
		!$self->{waits} || $self->value('hub', q{SELECT braid_internal.failpoint_waiting('xa-resolver-start') > 0}) eq 't' });
	$self->failpoint('hub', 'xa-committed', 'off');
	return;
}

# The participant refuses to finish its branch, once.
sub lead_to_sweep_of_commit
{
	my ($self) = @_;
	$self->failpoint('a', 'xa-participant-finish', 'error');
	$self->{client}->send('COMMIT');
	$self->take_answer;
	$self->failpoint('a', 'xa-participant-finish', 'off');
	return;
}

sub lead_to_sweep_of_abort
{
	my ($self) = @_;
	$self->failpoint('hub', 'xa-prepared', 'error', $self->{client}->pid);
	$self->{client}->send('COMMIT');
	$self->take_answer;
	return;
}

# ---- one cell

# Begins the session and does the work of the transaction. Every other session
# has committed before, and tags its statements; every other pair of sessions
# does not wait for its branches (braid.xa_commit_wait).
sub open_transaction
{
	my ($self, $cell) = @_;
	$self->{client} = Braid::Client->new($self->{cluster}->node('hub'), { name => $self->{name} });
	$self->{answer} = undef;
	my $do = sub {
		my ($sql) = @_;
		my $answer = $self->{client}->run($sql, $patience);
		die 'before the test: ' . Braid::Client::describe($answer) . "\n" if $answer->{error} || $answer->{lost};
	};
	$do->("SET postgres_fdw.application_name = '$self->{name}'; SET braid.xa_ready_timeout = '${patience}s'");
	for (1 .. ($self->{serial} % 2) * 2)
	{
		$do->('BEGIN');
		$do->($cell->{shape}{sql} =~ s/%d/-$self->{serial}/gr);
		$do->('COMMIT');
	}
	$self->{commit_wait} = $cell->{point}{needs_wait} || $self->{serial} % 4 < 2;
	$do->('SET braid.xa_commit_wait = off') if !$self->{commit_wait};
	$do->('BEGIN');
	$do->($cell->{shape}{sql} =~ s/%d/$self->{serial}/gr);
	return;
}

sub take_answer
{
	my ($self, $seconds) = @_;
	$self->{answer} //= $self->{client}->wait($seconds // $patience);
	return $self->{answer};
}

# Stops the transaction at the point, lets the event happen, lets it go.
sub stop_and_go
{
	my ($self, $point, $event) = @_;
	my ($node, $pid) = $self->place($point);
	my $lead = $point->{lead} // \&lead_by_commit;
	$self->{waits} = defined $event->{begin};
	my @resolver = $self->resolver_pids;
	$self->failpoint($node, $point->{name}, $event->{begin} ? 'wait' : 'error', $pid) if $point->{name} ne 'open';
	$lead->($self);
	if (!$event->{begin})
	{
		$self->wait_for_error($point, @resolver);
	}
	else
	{
		$self->wait_at($node, $point->{name}) if $point->{name} ne 'open';
		$event->{begin}->($self);
	}
	$self->disarm;
	$self->{client}->send('COMMIT') if $point->{name} eq 'open';
	if ($event->{end})
	{
		# An answer ends it early, unless that says nothing of the branches.
		$self->{answer} || !$self->{commit_wait} ? sleep $hold : $self->take_answer($hold);
		$event->{end}->($self);
	}
	return;
}

# An error ends a resolver; from everybody else the client hears of it.
sub wait_for_error
{
	my ($self, $point, @resolver) = @_;
	if ($point->{at} ne 'resolver')
	{
		$self->take_answer;
		return;
	}
	my %old = map { $_ => 1 } @resolver;
	$self->wait_until('the resolver has gone', sub { !grep { $old{$_} } $self->resolver_pids });
	return;
}

# All failpoints off. A node that hangs or was restarted has none that matter.
sub disarm
{
	my ($self) = @_;
	for my $name (sort keys %{ $self->{armed} })
	{
		for my $point (grep { $self->{armed}{$name}{$_} } sort keys %{ $self->{armed}{$name} })
		{
			$self->failpoint($name, $point, 'off');
		}
	}
	$self->{armed} = {};
	return;
}

# Nobody works on the transaction any more: only then what is prepared counts.
sub is_at_rest
{
	my ($self) = @_;
	for my $name ($self->{cluster}->names)
	{
		return 0 if $self->value($name, "SELECT count(*) FROM pg_stat_activity WHERE application_name = '$self->{name}' AND state <> 'idle'") > 0;
	}
	for my $name ($self->{cluster}->names)
	{
		return 0 if $self->value($name, 'SELECT count(*) FROM pg_prepared_xacts') > 0;
	}
	return $self->value('hub', 'SELECT (SELECT count(*) = 0 FROM braid.transactions) AND (SELECT bool_and(ready) FROM braid.participants)') eq 't';
}

# What the client was told: 1 committed, 0 not committed, undef nothing.
sub told
{
	my ($self, $shape) = @_;
	my $answer = $self->{answer};
	return 1 if grep { $_ eq 'COMMIT' } @{ $answer->{tags} };
	return 0 if grep { $_ eq 'ROLLBACK' } @{ $answer->{tags} };
	return undef if !$answer->{error} || ($shape->{phases} == 1 && $answer->{error}{C} eq '08007');
	return 0;
}

# The questions to the oracle; returns complaints.
sub judge
{
	my ($self, $cell) = @_;
	my @complaints;
	my ($told, $must) = ($self->told($cell->{shape}), $cell->{point}{outcome});
	my @there = map { $self->value($_, "SELECT count(*) FROM log WHERE id = $self->{serial}") } @{ $cell->{shape}{nodes} };
	my $there = $there[0];
	push @complaints, "it is on some nodes only: @there" if grep { $_ != $there } @there;
	push @complaints, "the client was told otherwise, and $there is true" if defined $told && $told != $there;
	$must //= 1 if $cell->{event}{to} eq 'nobody';
	push @complaints, "outcome must be $must, and is $there" if defined $must && $must != $there;
	my $sum = 0;
	$sum += $self->value($_, 'SELECT sum(bal) FROM acct') for $self->{cluster}->names;
	push @complaints, "the sum of all balances is $sum" if $sum != 0;
	for my $name (@{ $cell->{shape}{nodes} })
	{
		my $answer = $self->control($name)->run('UPDATE acct SET bal = bal', $patience);
		push @complaints, "$name: rows cannot be written: " . Braid::Client::describe($answer) if !@{ $answer->{tags} };
	}
	return @complaints;
}

# What an operator would look at.
sub evidence
{
	my ($self) = @_;
	my @lines = ('told: ' . Braid::Client::describe($self->{answer}) . ($self->{commit_wait} ? '' : ' (xa_commit_wait = off)'));
	for my $query (
		[ 'hub', 'SELECT * FROM braid.transactions' ], [ 'hub', 'SELECT * FROM braid.participants' ],
		map { [ $_, 'SELECT * FROM pg_prepared_xacts' ] } $self->{cluster}->names)
	{
		my $answer = eval { $self->ask(@$query) } or next;
		push @lines, "$query->[0]: " . join ' | ', map { $_ // '' } @$_ for @{ $answer->{rows} };
	}
	return @lines;
}

# Runs a cell; returns complaints, none if all is well.
sub run
{
	my ($self, $cell) = @_;
	$self->{serial}++;
	$self->{name} = "cell $self->{serial}";
	my @complaints;
	eval {
		$self->open_transaction($cell);
		$self->stop_and_go($cell->{point}, $cell->{event});
		die "the client has no answer\n" if !$self->take_answer;
		$self->wait_until('all has come to rest', sub { $self->is_at_rest });
		@complaints = $self->judge($cell);
		1;
	} or push @complaints, "it ended early: $@";
	$self->thaw;
	$self->{proxy}->set('pass');
	eval { $self->disarm; 1 } or push @complaints, "cannot go on: $@";
	push @complaints, $self->evidence if @complaints;
	$self->{client}->close if $self->{client};
	return @complaints;
}

1;
