# replay.pl DIR N: replays the first N flights of 2013 from New York over four servers with
# braid, kills some of them, and checks that nothing was lost or done twice.
# DIR has PostgreSQL's programs in bin; everything is kept below DIR.
use strict;
use warnings;
use FindBin;
use Checks;
use Report;
use Server;
use Servers;
use Session;
use Timetable;
use Traffic;
use List::Util qw(sum0);
use Time::HiRes qw(time);

use constant {
	CLIENTS => 4,
	AIRPORT_DOWN => 4,      # seconds
	HUB_DOWN => 2,
	RECOVERY_LIMIT => 60,   # seconds in which all must be settled after a crash
};

my ($folder, $flights) = @ARGV;
my @airports = qw(ewr jfk lga);
my %server = map { $_ => Server->new($_, "$folder/bin", $folder) } 'hub', @airports;
my @server_names = ('hub', @airports);
my @servers = @server{@server_names};
Servers::stop_at_end(@servers);

$| = 1;
my $report = Report->new;
my $timetable = Timetable->new("$FindBin::Bin/flights.csv.xz", $flights);

# ---------------------------------------------------------------- set up

my %admin;         # a session of each server for questions in between
my %view_query;    # of the continuous views in hub.sql

sub run_file
{
	my ($name, $file) = @_;
	open my $f, '<', "$FindBin::Bin/$file" or die "$file: $!\n";
	local $/ = ";\n";
	while (my $statement = <$f>)
	{
		$admin{$name}->query($statement);
		$view_query{$1} = $2 if $statement =~ /CREATE MATERIALIZED VIEW (\w+) WITH .*? AS\s+(SELECT .*);/s;
	}
	return;
}

sub connect_airport
{
	my ($name) = @_;
	my ($host, $port) = ($server{$name}->socket_folder, $server{$name}->port);
	$admin{hub}->query($_) for (
		"CREATE SERVER $name FOREIGN DATA WRAPPER braid_fdw OPTIONS (host '$host', port '$port', dbname 'postgres')",
		"CREATE USER MAPPING FOR PUBLIC SERVER $name OPTIONS (user 'postgres')",
		"CREATE SCHEMA $name",
		"IMPORT FOREIGN SCHEMA public LIMIT TO (aircraft) FROM SERVER $name INTO $name");
	return;
}

# Each aircraft to the airport of its first departure: one transaction.
sub place_aircraft
{
	my $places = $timetable->first_places;
	my $start = Timetable::timestamp(0);
	$admin{hub}->query('BEGIN');
	for my $name (@airports)
	{
		my @here = map { "('$_', '$start')" } sort grep { lc $places->{$_} eq $name } keys %$places;
		$admin{hub}->query("INSERT INTO $name.aircraft VALUES " . join ', ', @here) if @here;
	}
	$admin{hub}->query('COMMIT');
	return;
}

sub wait_ready
{
	my $deadline = time + RECOVERY_LIMIT;
	until ($admin{hub}->value('SELECT bool_and(ready) FROM braid.participants') eq 't')
	{
		die "the airports do not get ready\n" if time > $deadline;
		Session::serve(0.1);
	}
	return;
}

$report->say("Starting four servers: the hub, and the airports EWR, JFK and LGA ...");
Server::make_all(@servers);
$_->start for @servers;
$_->wait_up for @servers;
$admin{$_} = $server{$_}->session('demo: administrator') for @server_names;
run_file($_, 'airport.sql') for @airports;
run_file('hub', 'hub.sql');
connect_airport($_) for @airports;
wait_ready();
place_aircraft();

# ---------------------------------------------------------------- play

my $traffic = Traffic->new($timetable, map { $server{hub}->session("demo: client $_") } 1 .. CLIENTS);
my $monitor = $server{hub}->session('demo: monitor');
my $checks = Checks->new(node => \%admin, views => \%view_query, timetable => $timetable, report => $report);
my @watching = ($monitor);
my %seen = (in_doubt => '?', in_use => '', next => 0);
my $began = time;

# Looks at the hub twice a second, without waiting for the answer.
sub look
{
	return if time < $seen{next};
	$seen{next} = time + 0.5;
	if ($monitor->is_closed)
	{
		@seen{ 'in_doubt', 'in_use' } = ('?', '');
		$monitor->open(sub { });
	}
	elsif ($monitor->is_ready)
	{
		$monitor->send("SELECT (SELECT sum(in_doubt) FROM braid.participants),
				(SELECT string_agg(origin || ' ' || aircraft, ', ' ORDER BY origin) FROM in_use)",
			sub {
				my ($row) = @{ $_[0]{rows} };
				@seen{ 'in_doubt', 'in_use' } = ($row->[0], $row->[1] // '') if $row;
			});
	}
	return;
}

# Goes on until the condition holds; $what is shown meanwhile.
sub play
{
	my ($what, $until) = @_;
	my ($start, $done) = (time, $traffic->count_global);
	until ($until->())
	{
		$traffic->give_work;
		Session::serve(0.02, $traffic->sessions, @watching);
		look();
		$report->progress(
			date => Timetable::timestamp($traffic->simulated_time),
			done => $traffic->done,
			of => $timetable->events,
			waiting => $traffic->waiting,
			in_doubt => $seen{in_doubt},
			in_use => $seen{in_use},
			what => $what);
	}
	return (time - $start, $traffic->count_global - $done);
}

sub play_seconds
{
	my ($what, $seconds) = @_;
	my $end = time + $seconds;
	return play($what, sub { time >= $end });
}

# Undisturbed running counts for the rate.
my %calm = (seconds => 0, transactions => 0);
sub play_share
{
	my ($what, $share) = @_;
	my ($seconds, $transactions) = play($what, sub { $traffic->done >= $share * $timetable->events });
	$calm{seconds} += $seconds;
	$calm{transactions} += $transactions;
	return;
}

# Kills a server when so many branches are prepared at one of the airports; if
# that does not happen for a second, with one less, and so on. Returns how many
# were prepared.
sub kill_at_worst_moment
{
	my ($victim, $most, @at) = @_;
	# Background processes first: those that finish transactions are among them.
	my @processes = map { $_->[0] } $admin{$victim}->query(
		"SELECT pid FROM pg_stat_activity ORDER BY backend_type = 'client backend'");
	my @sessions = map { $server{$_}->session('demo: waits for the worst moment') } @at;
	my ($start, $killed, %prepared) = (time);
	my $aim;

	$aim = sub {
		my ($session, $result) = @_;
		my $now = $prepared{$session} = $result->{rows}[0][0];
		return if $killed;
		if ($now >= $most - int(time - $start))
		{
			$server{$victim}->kill_all(@processes);
			$killed = 1;
		}
		else { $session->send('SELECT count(*) FROM pg_prepared_xacts', sub { $aim->($session, shift); }); }
	};
	$_->query('SELECT 1') for @sessions;
	$aim->($_, { rows => [ [0] ] }) for @sessions;
	push @watching, @sessions;
	play("waiting for the worst moment to kill \U$victim\E", sub { $killed });
	splice @watching, -@sessions;
	undef $aim;
	$_->close for @sessions, $admin{$victim};
	return sum0 values %prepared;
}

sub restart
{
	my ($name) = @_;
	$server{$name}->start;
	my $start = time;
	my $next = 0;
	play("\U$name\E starts again", sub {
		return if time < $next;
		$next = time + 0.1;
		die "$name does not come back\n" if time > $start + RECOVERY_LIMIT;
		return $server{$name}->answers;
	});
	return;
}

# What the hub's recovery has done.
sub recovery_log
{
	my @lines = $server{hub}->log_lines(qr/recovery has (committed|rolled back) prepared transaction/);
	return @lines;
}

# Lets everything come to rest, and checks it.
sub pause_and_check
{
	my ($when) = @_;
	my $deadline = time + RECOVERY_LIMIT;
	my $in_time = sub { die "not everything is settled in time\n" if time > $deadline; return; };

	play('what waited goes on', sub { $in_time->(); !$traffic->waiting; });
	$traffic->hold(1);
	play('checking', sub { $in_time->(); !$traffic->busy && !$checks->prepared; });
	$checks->at_rest($when);
	$traffic->hold(0);
	return;
}

$report->say(sprintf "Replaying %d flights (%d transactions) from 2013-01-01, %d clients, %d aircraft ...",
	$timetable->flights, $timetable->events, CLIENTS, scalar keys %{ $timetable->first_places });

play_share('all is well', 0.35);
my $prepared = kill_at_worst_moment('ewr', 3, 'ewr');
$report->event("EWR is killed: SIGKILL to all its processes, with $prepared prepared transactions.");
play_seconds('EWR is down; the others go on', AIRPORT_DOWN);
my @in_doubt = $admin{hub}->query("SELECT gid FROM braid.transactions WHERE state = 'in doubt'");
$report->event(sprintf 'EWR is started again after %d s; %d transactions wait for it, %d are in doubt.',
	AIRPORT_DOWN, $traffic->waiting, scalar @in_doubt);
restart('ewr');
pause_and_check('after the crash of EWR');

play_share('all is well', 0.7);
my $recovered = recovery_log();
$prepared = kill_at_worst_moment('hub', 3, @airports);
$report->event("The hub is killed: SIGKILL to all its processes, with $prepared transactions prepared at the airports.");
play_seconds('the hub is down', HUB_DOWN);
my @orphans = $checks->prepared(@airports);
$report->event(sprintf 'The hub is started again after %d s; %d transactions are prepared at the airports.',
	HUB_DOWN, scalar @orphans);
restart('hub');
pause_and_check('after the crash of the hub');

play_share('all is well', 1);
$report->end_progress;

# ---------------------------------------------------------------- check and report

my $duration = time - $began;
$checks->at_the_end;

my @recovery = recovery_log();
$report->results(
	duration => $duration, calm => \%calm, traffic => $traffic, timetable => $timetable, clients => CLIENTS,
	in_doubt => \@in_doubt, airport_log => [ splice @recovery, 0, $recovered ],
	orphans => \@orphans, hub_log => \@recovery,
	routes => [ $admin{hub}->query('SELECT origin, dest, flights, round(mean_delay, 1), max_delay FROM routes ORDER BY flights DESC, 1, 2 LIMIT 5') ],
	hours => [ $admin{hub}->query("SELECT carrier, to_char(hour, 'YYYY-MM-DD HH24:MI'), departures, round(mean_delay, 1), max_delay
		FROM departures WHERE departures >= 5 ORDER BY mean_delay DESC, 1, 2 LIMIT 5") ],
	places => [ $admin{hub}->query("SELECT upper(name), aircraft, coalesce(in_use.aircraft_in_use, 0)
		FROM (VALUES ('ewr', (SELECT count(*) FROM ewr.aircraft)), ('jfk', (SELECT count(*) FROM jfk.aircraft)),
			('lga', (SELECT count(*) FROM lga.aircraft))) ground(name, aircraft)
		LEFT JOIN (SELECT lower(origin), aircraft FROM in_use) in_use(name, aircraft_in_use) USING (name) ORDER BY 1") ]);
Servers::finish($report->failed ? 1 : 0);
