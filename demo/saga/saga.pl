# saga.pl DIR: orders of a shop that are paid at a bank and taken from a depot, on three servers with braid.
# No transaction spans two of them: topics and relays carry each step to the next server, exactly once. The bank
# declines some payments, some items are sold out after they were paid for, the depot is down for a while, and
# the bank is killed. At the end all sums are checked.
# DIR has PostgreSQL's programs in bin; everything is kept below DIR.
use strict;
use warnings;
use FindBin;
use Report;
use Server;
use Servers;
use Session;
use List::Util qw(shuffle);
use Time::HiRes qw(time);

use constant {
	CUSTOMERS => 200,
	ITEMS => 50,
	LIMIT => 300,         # seconds in which relays must be ready, and every order must have come to an end
};

my ($folder, $orders, $down) = @ARGV;    # number of orders; seconds for which the depot is down

# An order has two pieces and costs 1,100 cents in the mean: some will find too little.
my $balance = 1 + int 0.95 * 1_100 * $orders / CUSTOMERS;    # cents, of each customer
my $stock = 3 + int 0.75 * 2 * $orders / ITEMS;              # pieces, of each item
my %server = map { $_ => Server->new($_, "$folder/bin", $folder) } qw(shop bank depot);
my @servers = @server{qw(shop bank depot)};
Servers::stop_at_end(@servers);

$| = 1;
my $report = Report->new;
my %admin;

sub run_file
{
	my ($name) = @_;
	open my $f, '<', "$FindBin::Bin/$name.sql" or die "$name.sql: $!\n";
	local $/;
	$admin{$name}->query(scalar <$f>);
	return;
}

# A relay at $to that brings what is sent to the topic at $from.
sub relay
{
	my ($from, $topic, $to, $target) = @_;
	my ($host, $port) = ($server{$from}->socket_folder, $server{$from}->port);
	$admin{$to}->query($_) for (
		"CREATE SERVER IF NOT EXISTS $from FOREIGN DATA WRAPPER braid_fdw OPTIONS (host '$host', port '$port', dbname 'postgres')",
		"CREATE USER MAPPING IF NOT EXISTS FOR CURRENT_USER SERVER $from OPTIONS (user 'postgres')",
		"SELECT braid.create_relay('$topic', '$from', '$target')");
	return;
}

sub wait_streaming
{
	my ($name) = @_;
	my $deadline = time + LIMIT;
	until ($admin{$name}->value(q{SELECT bool_and(state = 'streaming') FROM braid.relays}) eq 't')
	{
		die "the relays of the $name do not get ready\n" if time > $deadline;
		Session::serve(0.1);
	}
	return;
}

$report->say('Starting three servers: the shop, the bank and the depot ...');
Server::make_all(@servers);
$_->start for @servers;
$_->wait_up for @servers;
$admin{$_} = $server{$_}->session('demo') for keys %server;
run_file($_) for qw(shop bank depot);
relay('shop', 'public.to_bank', 'bank', 'from_shop');
relay('shop', 'public.to_depot', 'depot', 'from_shop');
relay('bank', 'public.to_shop', 'shop', 'from_bank');
relay('depot', 'public.to_shop', 'shop', 'from_depot');
wait_streaming($_) for keys %server;
$admin{bank}->query("INSERT INTO accounts SELECT g, $balance FROM generate_series(1, " . CUSTOMERS . ') g');
$admin{depot}->query("INSERT INTO stock SELECT g, $stock FROM generate_series(1, " . ITEMS . ') g');

# ---------------------------------------------------------------- the traffic

# Those who serve: a session each, which asks again and again, and connects again when its server is back.
my @workers = map { { server => $_->[0], sql => "SELECT $_->[1]()" } }
  ([ 'shop', 'hear_bank' ], [ 'shop', 'hear_depot' ], [ 'bank', 'serve' ], [ 'depot', 'serve' ]);
$_->{session} = $server{ $_->{server} }->session("demo: $_->{sql}") for @workers;
my %errors;

sub keep_serving
{
	for my $worker (@workers)
	{
		my $session = $worker->{session};
		next if $worker->{rest} && time < $worker->{rest};
		if ($session->is_closed)
		{
			$worker->{rest} = time + 0.5;
			$session->open(sub { });
		}
		elsif ($session->is_ready)
		{
			$session->send($worker->{sql}, sub {
				my ($result) = @_;
				$errors{"$worker->{server}: $result->{error}{M}"}++ if $result->{error} && !$result->{lost};
			});
		}
	}
	return;
}

my @customers = map { $server{shop}->session("demo: customer $_") } 1 .. 4;
my ($placed, $confirmed) = (0, 0);

sub keep_ordering
{
	my ($until) = @_;
	for my $session (@customers)
	{
		$session->open(sub { }) if $session->is_closed;
		next if !$session->is_ready || $placed >= $until;
		$placed++;
		my $quantity = 1 + $placed % 3;
		$session->send("SELECT place_order($placed, 1 + $placed * 7 % " . CUSTOMERS . ", 1 + $placed * 11 % " . ITEMS . ", $quantity, $quantity * (100 + $placed % 900))",
			sub { $confirmed++ unless $_[0]{error}; });
	}
	return;
}

my $ended = 0;
my $next_look = 0;

sub look
{
	return if time < $next_look;
	$next_look = time + 0.5;
	($ended) = $admin{shop}->value("SELECT count(*) FROM orders WHERE state IN ('shipped', 'cancelled')");
	return;
}

# Until so many orders were placed.
sub order_until
{
	my ($until) = @_;
	while ($confirmed < $until)
	{
		keep_serving();
		keep_ordering($until);
		Session::serve(0.1, @customers, map { $_->{session} } @workers);
	}
	return;
}

sub serve_for
{
	my ($seconds) = @_;
	my $end = time + $seconds;
	while (time < $end)
	{
		keep_serving();
		Session::serve(0.1, map { $_->{session} } @workers);
	}
	return;
}

# Until so many orders have come to their end, or nothing more is to be hoped for.
sub serve_until
{
	my ($count) = @_;
	my $begin = time;
	while ($ended < $count && time < $begin + LIMIT)
	{
		serve_for(0.1);
		look();
	}
	return;
}

sub kill_server
{
	my ($name) = @_;
	my @processes = map { $_->[0] } $admin{$name}->query('SELECT pid FROM pg_stat_activity');
	$server{$name}->kill_all(@processes);
	return;
}

sub restart
{
	my ($name) = @_;
	$server{$name}->start;
	$server{$name}->wait_up;
	$admin{$name} = $server{$name}->session('demo');
	return;
}

my $third = int $orders / 3;
order_until($third);
serve_until($third / 4);
$report->event("$third orders were placed. The depot is killed; the shop goes on to take orders, and the bank to charge them.");
kill_server('depot');
my $dark = time;
order_until(2 * $third);
serve_for(1) while time < $dark + $down;
my $waiting = $admin{shop}->value(q{SELECT count(*) FROM orders WHERE state = 'paid'});
$report->event(sprintf '%d orders were placed; %d are paid and wait for the depot, which comes back after %.0f s.', 2 * $third, $waiting, time - $dark);
restart('depot');
order_until($orders - $third / 2);
$report->event('The bank is killed while it charges, and started again.');
kill_server('bank');
restart('bank');
order_until($orders);
$report->event('All orders were placed.');
serve_until($orders);
$report->event(sprintf '%d of %d orders have come to their end.', $ended, $orders);

# ---------------------------------------------------------------- the result

my %sum = map { $_->[0] => $_->[1] } (
	[ ended => $admin{shop}->value("SELECT count(*) FROM orders WHERE state IN ('shipped', 'cancelled')") ],
	[ paid => $admin{shop}->value("SELECT coalesce(sum(amount), 0) FROM orders WHERE state = 'shipped'") ],
	[ shipped => $admin{shop}->value("SELECT coalesce(sum(quantity), 0) FROM orders WHERE state = 'shipped'") ],
	[ balance => $admin{bank}->value('SELECT sum(balance) FROM accounts') ],
	[ kept => $admin{bank}->value('SELECT coalesce(sum(amount), 0) FROM payments WHERE NOT refunded') ],
	[ stock => $admin{depot}->value('SELECT sum(quantity) FROM stock') ],
	[ reserved => $admin{depot}->value('SELECT coalesce(sum(quantity), 0) FROM reservations') ]);

sub equal
{
	my ($what, $is, $expected) = @_;
	$report->check("$what: $expected", $is == $expected ? () : "is $is");
	return;
}

equal('orders that were shipped or cancelled', $sum{ended}, $orders);
equal('cents that the bank has kept, as many as the shipped orders cost', $sum{kept}, $sum{paid});
equal('cents at the bank, in accounts and payments', $sum{balance} + $sum{kept}, CUSTOMERS * $balance);
equal('pieces that left the depot, as many as were shipped', $sum{reserved}, $sum{shipped});
equal('pieces in stock and reserved', $sum{stock} + $sum{reserved}, ITEMS * $stock);
equal('orders cancelled for a declined payment that were charged all the same', 0,
	scalar grep { $_->[0] } map { my $id = $_->[0]; $admin{bank}->query("SELECT 1 FROM payments WHERE purchase = $id") }
	  $admin{shop}->query("SELECT id FROM orders WHERE reason = 'payment declined'"));
$report->check('no step met an order in a state that it was not for', map { "$errors{$_} x $_" } sort grep { /is not|nothing to refund|duplicate/ } keys %errors);

$report->heading('How the orders ended');
$report->table([ 'state', 'reason', 'orders', 'median, s', 'longest, s' ],
	$admin{shop}->query("SELECT state, coalesce(reason, ''), count(*), round(percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM ended - placed))::numeric, 2),
		round(max(extract(epoch FROM ended - placed)), 1) FROM orders GROUP BY 1, 2 ORDER BY 1, 2"));
$report->checks('Checks');
Servers::finish($report->failed ? 1 : 0);
