# Braid::Template: data directories that are copies of one that initdb has made, which takes
# a fraction of the time.
#
#   Braid::Template::init($node);    # instead of $node->init
#
# Each copy gets a system identifier of its own: braid tells servers by it.
package Braid::Template;

use strict;
use warnings;
use PostgreSQL::Test::Utils ();
use Time::HiRes qw(gettimeofday);

my $run = \&PostgreSQL::Test::Utils::system_or_bail;

sub init
{
	my ($node) = @_;
	no warnings 'redefine';
	local *PostgreSQL::Test::Utils::system_or_bail = sub { return $_[0] eq 'initdb' ? copy_to($node->data_dir, @_) : $run->(@_); };
	$node->init;
	return;
}

# Does for the directory what this initdb command would.
sub copy_to
{
	my ($directory, @initdb) = @_;
	my $template = "$PostgreSQL::Test::Utils::tmp_check/template";
	if (!-d $template)
	{
		my $new = "$template.$$";
		$run->(map { $_ eq $directory ? $new : $_ } @initdb);
		rename $new, $template or die "$template: $!";
	}
	$run->('cp', '-a', $template, $directory);
	set_identifier($directory);
	return;
}

my @crc_table = map { my $c = $_; $c = $c & 1 ? 0x82F63B78 ^ ($c >> 1) : $c >> 1 for 1 .. 8; $c } 0 .. 255;

# CRC-32C, as PostgreSQL computes it.
sub crc
{
	my ($bytes) = @_;
	my $crc = 0xFFFFFFFF;
	$crc = $crc_table[ ($crc ^ $_) & 0xFF ] ^ ($crc >> 8) for unpack 'C*', $bytes;
	return $crc ^ 0xFFFFFFFF;
}

# The identifier comes first in pg_control, whose contents end with their checksum, and
# is in the long header of the first page of WAL.
sub set_identifier
{
	my ($directory) = @_;
	my ($seconds, $microseconds) = gettimeofday;
	my $identifier = pack 'Q', $seconds << 32 | $microseconds << 12 | $$ & 0xFFF;
	my $control = read_file("$directory/global/pg_control");
	my ($end) = grep { crc(substr $control, 0, $_) == unpack 'L', substr $control, $_, 4 } map { 4 * $_ } 50 .. 120;
	die 'the checksum of pg_control is not where it is looked for' if !$end;
	substr($control, 0, 8) = $identifier;
	write_at("$directory/global/pg_control", 0, substr($control, 0, $end) . pack 'L', crc(substr $control, 0, $end));
	write_at($_, 24, $identifier) for glob "$directory/pg_wal/0*";
	return;
}

sub read_file
{
	my ($file) = @_;
	open my $fh, '<:raw', $file or die "$file: $!";
	local $/;
	return scalar <$fh>;
}

sub write_at
{
	my ($file, $offset, $bytes) = @_;
	open my $fh, '+<:raw', $file or die "$file: $!";
	seek $fh, $offset, 0 or die "$file: $!";
	print $fh $bytes;
	close $fh or die "$file: $!";
	return;
}

1;
