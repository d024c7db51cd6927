# 100,000 random transactions over four nodes, while every few seconds something
# is killed, stopped or disconnected. Each client keeps a ledger of what it was
# told; at the end the ledger is compared with what is on the nodes:
#
#   - the sum of all balances on all nodes is what it was;
#   - each transaction is on all nodes that it wrote to, or on none;
#   - who was told COMMIT finds it there, who was told of an error does not;
#   - nothing is prepared or in doubt anywhere.
#
# SOAK_TRANSACTIONS, SOAK_CLIENTS and SOAK_SEED set how many, and which.
use strict;
use warnings;
use Braid::Client;
use Braid::Cluster;
use POSIX ();
use Test::More;
use Time::HiRes qw(time sleep);

my $transactions = $ENV{SOAK_TRANSACTIONS} // 100_000;
my $clients = $ENV{SOAK_CLIENTS} // 8;
my $seed = $ENV{SOAK_SEED} // time ^ $$;
my $accounts = 1000;
my $patience = 180; # seconds without an answer
my @names = ('hub', 'a', 'b', 'c');

my $cluster = Braid::Cluster->new(@names, { conf => <<'CONF' });
braid.xa_recovery_interval = '1s'
lock_timeout = '2s'
CONF
for my $name (@names)
{
	$cluster->sql($name, "CREATE TABLE acct (id int PRIMARY KEY, bal bigint NOT NULL) WITH (fillfactor = 50);
		INSERT INTO acct SELECT g, 0 FROM generate_series(1, $accounts) g; CREATE TABLE log (id bigint NOT NULL)");
	next if $name eq 'hub';
	$cluster->sql('hub', "CREATE FOREIGN TABLE acct_$name (id int, bal bigint) SERVER $name OPTIONS (table_name 'acct');
		CREATE FOREIGN TABLE log_$name (id bigint) SERVER $name OPTIONS (table_name 'log')");
}
my $dir = PostgreSQL::Test::Utils::tempdir();
my $hub = $cluster->node('hub');
diag "seed $seed, $transactions transactions, $clients clients";

# ---- clients, each a process with a ledger: id, what was told (1, 0 or ?), nodes

sub table { my ($table, $name) = @_; return $name eq 'hub' ? $table : "${table}_$name"; }

# The statements of a random transaction: money goes round among its nodes.
sub make_transaction
{
	my ($id, @nodes) = @_;
	my $sum = 0;
	my @sql = ('BEGIN');
	for my $i (0 .. $#nodes)
	{
		my $amount = int(rand 100) - 50;
		my $row = 1 + int rand $accounts;
		$sum += $amount;
		push @sql, sprintf 'UPDATE %s SET bal = bal + %d WHERE id = %d', table('acct', $nodes[$i]), $amount, $row;
		push @sql, sprintf 'INSERT INTO %s VALUES (%d)', table('log', $nodes[$i]), $id;
	}
	push @sql, sprintf 'UPDATE %s SET bal = bal - %d WHERE id = %d', table('acct', $nodes[0]), $sum, 1 + int rand $accounts;
	return join '; ', @sql;
}

# What was told: 1, 0, or ? if nothing was.
sub told
{
	my ($answer) = @_;
	return '1' if grep { $_ eq 'COMMIT' } @{ $answer->{tags} };
	return '0' if grep { $_ eq 'ROLLBACK' } @{ $answer->{tags} };
	return '?' if !$answer->{error} || $answer->{error}{C} eq '08007';
	return '0';
}

sub client
{
	my ($number, $share) = @_;
	srand $seed + $number;
	open my $ledger, '>', "$dir/ledger.$number" or die $!;
	my $session;
	for my $n (1 .. $share)
	{
		until ($session && $session->is_open)
		{
			$session = eval { Braid::Client->new($hub, { name => "client $number", timeout => 30 }) };
			sleep 0.1 if !$session;
		}
		my @nodes = grep { rand() < 0.5 } @names;
		@nodes = ($names[ rand @names ]) if !@nodes;
		@nodes = sort { rand() <=> 0.5 } @nodes;
		my $id = $number * 10_000_000 + $n;
		my $answer = $session->run(make_transaction($id, @nodes), $patience);
		my $outcome = '0';
		if (!$answer->{error} && !$answer->{lost})
		{
			$answer = $session->run('COMMIT', $patience);
			$outcome = told($answer);
		}
		elsif (!$answer->{lost})
		{
			$session->run('ROLLBACK', $patience);
		}
		print $ledger "$id $outcome @nodes\n";
	}
	close $ledger;
	return;
}

my %running;
my $began = time;
for my $number (1 .. $clients)
{
	my $pid = fork // die $!;
	if ($pid == 0)
	{
		my $ok = eval { client($number, int($transactions / $clients)); 1 };
		print STDERR "client $number: $@" if !$ok;
		POSIX::_exit($ok ? 0 : 1); # not the END blocks, which stop the servers
	}
	$running{$pid} = $number;
}

# ---- what happens to them

sub pids
{
	my ($name, $where) = @_;
	my ($rc, $out) = $cluster->node($name)->psql('postgres', "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND $where", timeout => 20);
	return grep { /^\d+$/ } split /\n/, $out // '';
}

sub any { return $_[ rand @_ ]; }

my %events = (
	'a client is terminated' => sub { $cluster->try_sql('hub', "SELECT pg_terminate_backend($_)") for any(pids('hub', q{application_name ~ '^client'})) // () },
	'clients are canceled' => sub { $cluster->try_sql('hub', "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name ~ '^client'") },
	'the resolver is terminated' => sub { $cluster->try_sql('hub', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'braid resolver'}) },
	'a backend is killed' => sub { kill 'KILL', any(pids(any(@names), q{backend_type = 'client backend'})) // return },
	'the resolver is killed' => sub { kill 'KILL', any(pids('hub', q{backend_type = 'braid resolver'})) // return },
	'sessions of a participant are terminated' => sub { $cluster->try_sql(any('a', 'b', 'c'), q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()}) },
	'a participant hangs' => sub {
		my @pids = pids(any('a', 'b', 'c'), q{backend_type = 'client backend'});
		kill 'STOP', @pids;
		sleep rand 3;
		kill 'CONT', @pids;
	},
	'a server is killed' => sub { my $name = any(@names); $cluster->kill_node($name); sleep rand 2; $cluster->start_again($name); },
	'two servers are killed' => sub {
		my ($x, $y) = ('hub', any('a', 'b', 'c'));
		$cluster->kill_node($_) for $x, $y;
		$cluster->start_again($_) for $y, $x;
	},
	'a server is restarted' => sub { my $node = $cluster->node(any(@names)); $node->stop(any('fast', 'immediate'), fail_ok => 1); $cluster->start_again($node->name); });

my %happened;
my $failed_clients = 0;
srand $seed;
for (;;)
{
	while ((my $pid = waitpid -1, POSIX::WNOHANG()) > 0)
	{
		next if !exists $running{$pid};
		delete $running{$pid};
		$failed_clients++ if $? != 0;
	}
	last if !%running;
	sleep 1 + rand 3;
	my $event = any(sort keys %events);
	$happened{$event}++;
	eval { $events{$event}->(); 1 } or diag "$event: $@";
	$cluster->wait_alive($_) for @names;
}
my $seconds = time - $began;
is($failed_clients, 0, 'every client had its answers');

# ---- the oracle

ok($cluster->wait_for($_, 'SELECT count(*) = 0 FROM pg_prepared_xacts'), "nothing stays prepared on $_") for @names;
ok($cluster->wait_for('hub', 'SELECT count(*) = 0 FROM braid.transactions'), 'nothing stays in doubt');
my $sum = 0;
$sum += $cluster->sql($_, 'SELECT sum(bal) FROM acct') for @names;
is($sum, 0, 'the sum of all balances is what it was');

my %on;
for my $name (@names)
{
	$on{$name}{$_}++ for split /\n/, $cluster->sql($name, 'SELECT id FROM log');
}
my %count = (1 => 0, 0 => 0, '?' => 0);
my ($unknown_committed, @torn, @lies) = (0);
for my $number (1 .. $clients)
{
	for my $line (split /\n/, PostgreSQL::Test::Utils::slurp_file("$dir/ledger.$number"))
	{
		my ($id, $outcome, @nodes) = split / /, $line;
		my $there = grep { ($on{$_}{$id} // 0) == 1 } @nodes;
		$count{$outcome}++;
		push @torn, $line if $there != 0 && $there != @nodes;
		push @lies, $line if $outcome ne '?' && ($there != 0) != $outcome;
		$unknown_committed++ if $outcome eq '?' && $there;
	}
}
is("@torn[0 .. ($#torn < 9 ? $#torn : 9)]", '', 'each transaction is on all of its nodes or on none');
is("@lies[0 .. ($#lies < 9 ? $#lies : 9)]", '', 'what was told is what has happened');
diag sprintf '%d transactions in %.0f s: %d told committed, %d told not, %d not told (%d of them committed)',
  $count{1} + $count{0} + $count{'?'}, $seconds, @count{ 1, 0, '?' }, $unknown_committed;
diag "$happened{$_} times: $_" for sort keys %happened;
done_testing();
