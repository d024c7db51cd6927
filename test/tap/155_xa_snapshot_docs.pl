# What docs/reference.md shows of isolation over nodes happens, and the backup of all servers in
# docs/operations.md is one: its commands are run, while transfers go on.
use strict;
use warnings;
use Braid::Client;
use Braid::Cluster;
use Test::More;

my $cluster = Braid::Cluster->new('hub', 'a', 'b');
for my $name ('hub', 'a', 'b')
{
	$cluster->sql($name, 'CREATE TABLE accounts (id int PRIMARY KEY, balance bigint)');
	$cluster->sql('hub', "CREATE FOREIGN TABLE accounts_$name (id int, balance bigint) SERVER $name OPTIONS (table_name 'accounts')") if $name ne 'hub';
}
$cluster->wait_ready('hub', 2);

sub section
{
	my ($file, $title) = @_;
	my $text = PostgreSQL::Test::Utils::slurp_file("docs/$file");
	my ($section) = $text =~ /^#+ \Q$title\E\n(.*?)(?=^#)/ms or BAIL_OUT("docs/$file has no section \"$title\"");
	return $section;
}

# ---- anomalies: "A: statement → answer", with a title in bold type before the first example of each

sub play
{
	my ($title, $example) = @_;
	$cluster->sql($_, 'TRUNCATE accounts; INSERT INTO accounts VALUES (1, 100)') for 'a', 'b';
	my %sessions;
	for my $line (split /\n/, $example)
	{
		my ($name, $sql, $expected) = $line =~ /^([A-Z]): (.*?)(?:\s+→ (\S+))?$/ or BAIL_OUT("what is this? $line");
		my $session = $sessions{$name} //= Braid::Client->new($cluster->node('hub'));
		my $answer = $session->run($sql);
		my $got = $answer->{error} ? $answer->{error}{C} : $answer->{rows}[0] ? $answer->{rows}[0][0] : undef;
		is($got, $expected, "$title: $name: $sql") or diag $answer->{error} ? $answer->{error}{M} : 'no error';
	}
	return;
}
my $examples = 0;
my $title = '';
for my $part (split /^(?=\*\*)/m, section('reference.md', 'What isolation levels promise over nodes'))
{
	$title = $1 if $part =~ /^\*\*(.*?)\*\*/;
	while ($part =~ /^```\n(.*?)^```/msg) { play($title, $1); $examples++; }
}
is($examples, 7, 'all examples were found');

# ---- the backup

my $section = section('operations.md', 'A backup of all servers while they are written');
my ($statements) = $section =~ /^```sql\n(.*?)^```/ms;
my ($commands) = $section =~ /^```sh\n(.*?)^```/ms;
for my $name ('hub', 'a', 'b') { $cluster->sql($name, 'TRUNCATE accounts; INSERT INTO accounts SELECT g, 100 FROM generate_series(1, 50) g'); }
my $load = $cluster->start_load('hub', <<'SQL', 4);
\set id random(1, 50)
\set amount random(1, 20)
BEGIN;
UPDATE accounts SET balance = balance - 2 * :amount WHERE id = :id;
UPDATE accounts_a SET balance = balance + :amount WHERE id = :id;
UPDATE accounts_b SET balance = balance + :amount WHERE id = :id;
COMMIT;
SQL
$cluster->wait_for('hub', 'SELECT sum(balance) < 4500 FROM accounts');

my $folder = PostgreSQL::Test::Utils::tempdir();
my $session = Braid::Client->new($cluster->node('hub'));
my $answer;
for my $sql (grep { /\S/ } split /;\n/, $statements)
{
	$answer = $session->run($sql);
	is($answer->{error}{M}, undef, $sql);
}
my %snapshot = map { @$_ } @{ $answer->{rows} };
is(join(' ', sort keys %snapshot), 'a b hub', 'each server has exported its part');
my $moved = $cluster->sql('hub', 'SELECT sum(balance) FROM accounts');
$cluster->wait_for('hub', "SELECT sum(balance) < $moved - 1000 FROM accounts");
my %sum;
for my $command (split /\n/, $commands)
{
	my ($name) = $command =~ /-h (\w+)\.example\.com/;
	my $node = $cluster->node($name);
	$command =~ s/--snapshot=\S+/--snapshot=$snapshot{$name}/ or BAIL_OUT($command);
	$command =~ s/-h \S+/'-h ' . $node->host . ' -p ' . $node->port/e;
	$command =~ s{-f (\S+) bank$}{-f $folder/$1 postgres};
	is(system($command), 0, "a dump of $name");
	$cluster->sql($name, 'CREATE DATABASE restored');
	is(system('pg_restore', '-h', $node->host, '-p', $node->port, '-d', 'restored', '-t', 'accounts', "$folder/$name.dump"), 0, "is restored");
	$sum{$name} = $node->safe_psql('restored', 'SELECT sum(balance) FROM accounts');
}
$session->run('COMMIT');
cmp_ok($cluster->stop_load($load), '>', 0, 'transfers were made meanwhile');
is($sum{hub} + $sum{a} + $sum{b}, 3 * 50 * 100, 'the dumps agree');
cmp_ok($sum{hub}, '<', 50 * 100, 'on something that was transferred');
cmp_ok($sum{hub}, '>', $cluster->sql('hub', 'SELECT sum(balance) FROM accounts'), 'and not on what came after');
done_testing();
