# The walk through a stuck transaction in docs/operations.md: its commands are run,
# and print what is shown there. Numbers, times and names of transactions differ.
use strict;
use warnings;
use Braid::Cluster;
use IPC::Run;
use Test::More;

my $text = PostgreSQL::Test::Utils::slurp_file('docs/operations.md');
my ($section) = $text =~ /^### Three o'clock.*?\n(.*?)^### /ms or BAIL_OUT('the section is not there');
my ($shown_gid) = $section =~ /(braid:[0-9a-f]{16}:\d+:\d+)/ or BAIL_OUT('it names no transaction');

my $cluster = Braid::Cluster->new('hub', 'a', 'b');
for my $name ('a', 'b')
{
	$cluster->sql($name, 'CREATE TABLE account (id int PRIMARY KEY, balance int); INSERT INTO account VALUES (1, 1000)');
	$cluster->sql('hub', "CREATE FOREIGN TABLE account_$name (id int, balance int) SERVER $name OPTIONS (table_name 'account')");
}
$cluster->sql('hub', 'CREATE TABLE payment (id int, amount int)');
$cluster->sql($_, 'CREATE ROLE carol LOGIN; GRANT braid_operator TO carol') for $cluster->names;
$cluster->sql('hub', 'GRANT ALL ON payment, account_a, account_b TO carol');
$cluster->sql('hub', "ALTER USER MAPPING FOR PUBLIC SERVER $_ OPTIONS (ADD password_required 'false')") for 'a', 'b';

# Everything that differs from one run to the next.
sub normalize
{
	my ($output) = @_;
	$output =~ s/braid:[0-9a-f]{16}:\d+:\d+/GID/g;
	$output =~ s/\b[0-9a-f]{16}\b/ID/g;
	$output =~ s/^-\[ RECORD (\d+) \][-+]*$/[$1]/gm;
	$output =~ s/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+\+\d\d)?/TIME/g;
	$output =~ s/\d\d:\d\d:\d\d\.\d+/AGE/g;
	$output =~ s/^(locks_held|xmin_age) .*/$1 N/gm;
	$output =~ s/^(blocked_pids +\| \{)\d+\}/$1PID}/gm;
	$output =~ s/[ \t]+/ /g;
	$output =~ s/ *$//gm;
	$output =~ s/\n+$//;
	return $output;
}

# What carol sees when she runs the command in psql.
sub run_command
{
	my ($name, $sql) = @_;
	my $node = $cluster->node($name);
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'psql', '-X', '-x', '-U', 'carol', '-d', $node->connstr('postgres'), '-c', $sql ], '>', \$out, '2>&1');
	return $out;
}

# The night's events.
my ($gid, $blocked);
my %events = (
	'block b' => sub {
		$cluster->failpoint('hub', 'xa-committed', 'wait');
		my $payer = $cluster->start_sql('hub', 'BEGIN; INSERT INTO payment VALUES (4711, 100);
			UPDATE account_a SET balance = balance - 100 WHERE id = 1; UPDATE account_b SET balance = balance + 100 WHERE id = 1; COMMIT');
		$cluster->wait_for('hub', "SELECT braid_internal.failpoint_waiting('xa-committed') = 1");
		$gid = $cluster->sql('hub', 'SELECT gid FROM braid.transactions');
		$cluster->kill_node('hub', at_once => 1);
		$cluster->finish_sql($payer);
		$blocked = $cluster->start_sql('b', 'UPDATE account SET balance = balance WHERE id = 1');
		$cluster->wait_for('b', 'SELECT cardinality(blocked_pids) = 1 AND NOT coordinator_connected FROM braid.branches');
	},
	'start hub' => sub {
		$cluster->finish_sql($blocked);
		$cluster->start_again('hub');
		$cluster->wait_for('hub', "SELECT state = 'heuristically mixed' FROM braid.transactions");
		$cluster->wait_for('a', 'SELECT count(*) = 0 FROM pg_prepared_xacts');
	});

my ($name, $command, $shown) = ('', '', '');
my $commands = 0;

# Compares what was shown after the last command with what it prints.
sub check
{
	return if $command eq '';
	$command =~ s/\Q$shown_gid\E/$gid/g;
	my $printed = run_command($name, $command);
	is(normalize($printed), normalize($shown), "on $name: $command") or diag("it prints:\n$printed");
	($command, $shown) = ('', '');
	$commands++;
	return;
}

my $in_block = 0;
my $in_log = 0;
for my $line (split /\n/, $section)
{
	if ($line =~ /^<!-- run: (.*) -->$/ && $1 eq 'log hub')
	{
		$in_log = 1;
	}
	elsif ($line =~ /^<!-- run: (.*) -->$/)
	{
		$events{$1}->();
	}
	elsif ($line eq '```')
	{
		check();
		$in_log = 0 if $in_block;
		$in_block = !$in_block;
	}
	elsif ($in_block && $in_log)
	{
		$line =~ s/\Q$shown_gid\E/$gid/g;
		ok(index(PostgreSQL::Test::Utils::slurp_file($cluster->node('hub')->logfile), $line) >= 0, "the log has: $line");
	}
	elsif ($in_block && $line =~ /^(\w+)=> (.*)/)
	{
		check();
		($name, $command) = ($1, $2);
	}
	elsif ($in_block)
	{
		$shown .= "$line\n";
	}
}
cmp_ok($commands, '>=', 10, 'all commands were run');
ok($cluster->wait_for('b', 'SELECT count(*) = 0 FROM braid.branches'), 'nothing is left');
is($cluster->sql($_->[0], 'SELECT balance FROM account'), $_->[1], "the money is right on $_->[0]") for [ 'a', 900 ], [ 'b', 1100 ];
done_testing();
