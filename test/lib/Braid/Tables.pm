# Braid::Tables: random tables and random changes of them.
#
#   my $tables = Braid::Tables->new;          # chosen by srand()
#   $tables->create                           # statements
#   $tables->transaction                      # statements, BEGIN and COMMIT among them
#   $tables->relations                        # what Braid::Queries reads
#
# Values are few, so that joins match and groups collide; floats and numerics are
# small multiples of a power of 2, so that sums are exact in any order.
package Braid::Tables;

use strict;
use warnings;
use Exporter 'import';
our @EXPORT_OK = qw(pick chance weighted constant sql_type);

sub pick { return $_[ rand @_ ]; }
sub chance { return rand() < $_[0]; }

# weighted(value => weight, ...)
sub weighted
{
	my @choices = @_;
	my $sum = 0;
	$sum += $choices[ 2 * $_ + 1 ] for 0 .. $#choices / 2;
	my $dice = rand $sum;
	for (my $i = 0; $i < @choices; $i += 2)
	{
		$dice -= $choices[ $i + 1 ];
		return $choices[$i] if $dice < 0;
	}
	return $choices[-2];
}

# Types of the generator: floatx is a float8 that must not be added up, since its
# last digits are not exact; jsonbx one of which nothing is known.
sub sql_type
{
	my ($type) = @_;
	return $type eq 'floatx' ? 'float8' : $type eq 'jsonbx' ? 'jsonb' : $type;
}

my %values = (
	int => [ 0 .. 5 ],
	bigint => [ 0, 1, 2, 3, 4, 3000000000 ],
	numeric => [ '0', '1', '1.0', '1.50', '1.5', '2.25', '-1', '3.000', '10' ],
	float8 => [ '0', '0.5', '1', '1.5', '-2', '4' ],
	text => [ "''", "'a'", "'b'", "'c'", "'ab'", "'B'", q{'it''s $1'} ],
	bool => [ 'true', 'false' ],
	date => [ map { "'2024-01-0$_'" } 1 .. 5 ],
	timestamptz => [ map { sprintf q{'2024-01-0%d %02d:30+00'}, 1 + $_ / 4, 6 * ($_ % 4) } 0 .. 9 ],
	interval => [ "'1 hour'", "'2 days'", "'30 min'" ],
	jsonb => [ q('{}'), q('{"a": 1, "t": "a", "l": [1, 2]}'), q('{"a": 2, "t": "b", "l": []}'), q('{"a": 2, "t": "a", "l": [2]}'), q('{"t": null, "l": [3, 1, 1]}') ],
	'int[]' => [ "'{}'", "'{1}'", "'{1,2}'", "'{2,NULL,1}'", "'{3,3}'" ],
	'text[]' => [ "'{}'", "'{a}'", "'{a,b}'", "'{NULL,c}'" ]);
$values{floatx} = $values{float8};
$values{jsonbx} = $values{jsonb};

# A literal of exactly this type, wherever it stands.
sub constant
{
	my ($type, %opt) = @_;
	return 'NULL::' . sql_type($type) if $opt{null} && chance(0.1);
	my $value = pick(@{ $values{$type} });
	return ($value =~ /^-/ ? "($value)" : $value) . '::' . sql_type($type);
}

# Types that a column can have instead, and is cast from where it is used.
my %stored = (int => ['smallint'], text => [ 'varchar(9)', 'char(8)', 'text COLLATE "C"' ], numeric => [ 'numeric(8,3)', 'real' ], timestamptz => ['timestamp'], float8 => ['real']);

sub new
{
	my ($class) = @_;
	my $self = bless { nan => chance(0.1), serial => 0 }, $class;
	my $n = weighted(3 => 4, 4 => 3, 5 => 2);
	$self->{tables} = [ map { $self->make_table("t$_") } 1 .. $n ];
	return $self;
}

sub make_table
{
	my ($self, $name) = @_;
	my $table = { name => $name, columns => [] };
	my $letter = 'a';
	push @{ $table->{columns} }, { name => 'id', type => 'int', notnull => 1 } if chance(0.55);
	push @{ $table->{columns} }, { name => 'k', type => 'int' };
	for (1 .. 2 + rand 4)
	{
		my $type = weighted(int => 4, text => 4, numeric => 3, bigint => 2, float8 => 2, bool => 1, date => 1.5,
			timestamptz => 1.5, jsonb => 1, 'int[]' => 1, 'text[]' => 0.4);
		my $stored = $stored{$type} && chance(0.12) ? pick(@{ $stored{$type} }) : undef;
		push @{ $table->{columns} }, { name => $letter++, type => $type, stored => $stored, notnull => chance(0.1) };
	}
	push @{ $table->{columns} }, { name => 'g', type => 'int', generated => 'k * 2 + 1' } if chance(0.05);
	my $has_id = $table->{columns}[0]{name} eq 'id';
	if (chance(0.25))
	{
		my @by = grep { $_->{type} =~ /^(int|text|date)$/ && !$_->{generated} && !$_->{stored} } @{ $table->{columns} };
		$table->{partitioned} = { by => pick(@by), how => pick('LIST', 'RANGE', 'HASH') };
		$table->{partitioned}{how} = 'HASH' if $table->{partitioned}{by}{name} eq 'id';
	}
	if ($has_id && chance(0.8))
	{
		my $by = $table->{partitioned} && $table->{partitioned}{by};
		$table->{key} = [ 'id', $by && $by->{name} ne 'id' ? $by->{name} : () ];
		$by->{notnull} = 1 if $by;
	}
	return $table;
}

sub tables { my ($self) = @_; return @{ $self->{tables} }; }

# name, columns (name, type), unique (a column that has no value twice).
sub relations
{
	my ($self) = @_;
	return map {
		my $table = $_;
		+{
			name => $table->{name},
			columns => $table->{columns},
			unique => $table->{key} && @{ $table->{key} } == 1 ? 'id' : undef
		}
	} $self->tables;
}

# ---- CREATE

sub definition
{
	my ($column) = @_;
	my $type = $column->{stored} // $column->{type};
	return "$column->{name} $type" . ($column->{generated} ? " GENERATED ALWAYS AS ($column->{generated}) STORED" : $column->{notnull} ? ' NOT NULL' : '');
}

sub create_partitions
{
	my ($table) = @_;
	my ($name, $how, $by) = ($table->{name}, $table->{partitioned}{how}, $table->{partitioned}{by});
	my @values = @{ $values{ $by->{type} } };
	my @bounds =
	    $how eq 'HASH' ? ('WITH (MODULUS 2, REMAINDER 0)', 'WITH (MODULUS 2, REMAINDER 1)')
	  : $how eq 'LIST' ? ("IN ($values[1], $values[2])", "IN ($values[3])", 'DEFAULT')
	  :                  ("FROM (MINVALUE) TO ($values[2])", 'DEFAULT');
	my @sql;
	for my $n (0 .. $#bounds)
	{
		my $values = $bounds[$n] eq 'DEFAULT' ? 'DEFAULT' : "FOR VALUES $bounds[$n]";
		if (chance(0.6))
		{
			push @sql, "CREATE TABLE ${name}_$n PARTITION OF $name $values";
			next;
		}
		my @columns = map { definition($_) } reverse @{ $table->{columns} };
		push @sql, sprintf('CREATE TABLE %s_%d (gone int, %s)', $name, $n, join(', ', @columns)),
		  "ALTER TABLE ${name}_$n DROP COLUMN gone", "ALTER TABLE $name ATTACH PARTITION ${name}_$n $values";
	}
	return @sql;
}

sub create
{
	my ($self) = @_;
	my @sql;
	for my $table ($self->tables)
	{
		my ($name, $partitioned) = ($table->{name}, $table->{partitioned});
		my @columns = map { definition($_) } @{ $table->{columns} };
		my $gone = chance(0.2);
		splice @columns, rand @columns, 0, 'gone text' if $gone;
		push @columns, 'PRIMARY KEY (' . join(', ', @{ $table->{key} }) . ')' if $table->{key};
		push @sql, sprintf 'CREATE TABLE %s (%s)%s', $name, join(', ', @columns),
		  $partitioned ? " PARTITION BY $partitioned->{how} ($partitioned->{by}{name})" : '';
		push @sql, "ALTER TABLE $name DROP COLUMN gone" if $gone;
		push @sql, create_partitions($table) if $partitioned;
		push @sql, "CREATE INDEX ON $name (k)" if chance(0.5);
		push @sql, $self->insert($table, 2 + int rand 20) if chance(0.9);
		push @sql, $self->insert($table, 4) if chance(0.5);
	}
	return @sql;
}

# ---- changes

sub value
{
	my ($self, $column) = @_;
	return 1 + int rand 40 if $column->{name} eq 'id';
	return 'NULL' if !$column->{notnull} && chance(0.15);
	return "'NaN'" if $self->{nan} && $column->{type} eq 'numeric' && chance(0.1);
	return pick(@{ $values{ $column->{type} } });
}

sub writable { my ($table) = @_; return grep { !$_->{generated} } @{ $table->{columns} }; }

sub conflict
{
	my ($table) = @_;
	return '' if !$table->{key};
	return ' ON CONFLICT DO NOTHING' if chance(0.5);
	my %key = map { $_ => 1 } @{ $table->{key} };
	my @others = grep { !$key{ $_->{name} } } writable($table);
	return ' ON CONFLICT DO NOTHING' if !@others;
	my @set = map { "$_->{name} = EXCLUDED.$_->{name}" } grep { chance(0.6) } @others;
	push @set, "$others[0]{name} = EXCLUDED.$others[0]{name}" if !@set;
	return sprintf ' ON CONFLICT (%s) DO UPDATE SET %s', join(', ', @{ $table->{key} }), join(', ', @set);
}

sub insert
{
	my ($self, $table, $n) = @_;
	my @columns = writable($table);
	$n ||= 1;

	# An upsert does not touch a row twice.
	my %seen;
	my @rows;
	for (1 .. $n)
	{
		my @row = map { $self->value($_) } @columns;
		next if $table->{key} && $seen{ $row[0] }++;
		push @rows, '(' . join(', ', @row) . ')';
	}
	return sprintf 'INSERT INTO %s (%s) VALUES %s%s', $table->{name}, join(', ', map { $_->{name} } @columns), join(', ', @rows), conflict($table);
}

# A condition that some of the rows fulfil.
sub condition
{
	my ($self, $table) = @_;
	my $column = pick(@{ $table->{columns} });
	my $name = $column->{name};
	return weighted("$name % 7 = " . int(rand 7) => 3, "$name BETWEEN " . int(rand 20) . ' AND ' . int(rand 50) => 1) if $name eq 'id';
	return "$name IS NULL" if !$column->{notnull} && chance(0.1);
	return "$name IS DISTINCT FROM " . $self->value($column) if chance(0.1);
	return "$name = " . pick(@{ $values{ $column->{type} } }) . ($column->{stored} ? "::$column->{type}" : '');
}

sub assignment
{
	my ($self, $column) = @_;
	my $name = $column->{name};
	return "$name = " . $self->value($column) if $column->{stored};
	return "$name = $name + 40" if $name eq 'id';
	return "$name = $name + 1" if $column->{type} =~ /^(int|bigint|numeric|float8|date)$/ && chance(0.25);
	return "$name = $name || 'x'" if $column->{type} eq 'text' && chance(0.1);
	return "$name = $name" if chance(0.05);
	return "$name = " . $self->value($column);
}

sub update
{
	my ($self, $table) = @_;
	my @columns = grep { $_->{name} ne 'id' || chance(0.1) } writable($table);
	@columns = sort { $a->{name} cmp $b->{name} } map { pick(@columns) } 1 .. 1 + rand 2;
	my %set = map { $_->{name} => $self->assignment($_) } @columns;
	return sprintf 'UPDATE %s SET %s%s', $table->{name}, join(', ', map { $set{$_} } sort keys %set),
	  chance(0.08) ? '' : ' WHERE ' . $self->condition($table);
}

# Some rows; now and then many, of which few match.
sub bulk
{
	my ($self, $table) = @_;
	my @columns = writable($table);
	my $many = chance(0.07);
	my @values = map { $self->generated_value($_, $many) } @columns;
	return sprintf 'INSERT INTO %s (%s) SELECT %s FROM generate_series(1, %d) i%s', $table->{name},
	  join(', ', map { $_->{name} } @columns), join(', ', @values), $many ? 120 + rand 160 : 5 + rand 25, $table->{key} ? ' ON CONFLICT DO NOTHING' : '';
}

sub generated_value
{
	my ($self, $column, $many) = @_;
	return '40 + i' if $column->{name} eq 'id';
	return sprintf 'i %% %d', 60 + rand 60 if $many && $column->{type} =~ /int$/ && chance(0.7);
	my @some = map { $self->value($column) } 1 .. 3;
	return sprintf '(ARRAY[%s]::text[])[1 + (i * 7 + %d) %% 3]::%s', join(', ', map { as_text($_) } @some), rand 3, ($column->{stored} // $column->{type}) =~ s/ .*//r;
}

sub as_text { my ($value) = @_; return $value =~ /^'|^NULL/ ? $value : "'$value'"; }

# Rows go over from one table to another one in one statement.
sub move
{
	my ($self, $from, $to) = @_;
	my @columns = writable($to);
	my %type = map { $_->{name} => $_->{type} } @{ $from->{columns} };
	my @values = map { ($type{ $_->{name} } // '') eq $_->{type} ? ($_->{notnull} ? "coalesce($_->{name}, " . pick(@{ $values{ $_->{type} } }) . ')' : $_->{name}) : $self->value($_) } @columns;
	return sprintf 'WITH gone AS (DELETE FROM %s WHERE %s RETURNING *) INSERT INTO %s (%s) SELECT %s FROM gone%s', $from->{name},
	  $self->condition($from), $to->{name}, join(', ', map { $_->{name} } @columns), join(', ', @values), $to->{key} ? ' ON CONFLICT DO NOTHING' : '';
}

sub merge
{
	my ($self, $table) = @_;
	my @columns = writable($table);
	my @row = map { sprintf '%s::%s', $self->value($_), ($_->{stored} // $_->{type}) =~ s/ .*//r } @columns;
	my ($set) = map { $self->assignment($_) } pick(grep { $_->{name} ne 'id' } @columns);
	$set =~ s/^(\w+) = \1\b/$1 = t.$1/;
	my $names = join ', ', map { $_->{name} } @columns;
	return sprintf 'MERGE INTO %s t USING (SELECT %s) s (%s) ON t.k = s.k WHEN MATCHED AND t.%s THEN DELETE WHEN MATCHED THEN UPDATE SET %s WHEN NOT MATCHED THEN INSERT (%s) VALUES (%s)',
	  $table->{name}, join(', ', @row), $names, $self->condition($table), $set, $names, join(', ', map { "s.$_->{name}" } @columns);
}

# Changes of a table that leave its views as they are. Some cannot be done in a
# transaction, and fail there.
sub alter
{
	my ($self, $table) = @_;
	my $name = $table->{name};
	return pick("ALTER TABLE $name ADD COLUMN IF NOT EXISTS extra int DEFAULT 7", "ALTER TABLE $name DROP COLUMN IF EXISTS extra",
		"ALTER TABLE $name ADD COLUMN IF NOT EXISTS extra float8 DEFAULT random()", "CREATE INDEX ON $name (k)", "VACUUM FULL $name", "ANALYZE $name");
}

sub statement
{
	my ($self) = @_;
	my $table = pick($self->tables);
	my $what = weighted(insert => 10, update => 9, delete => 5, bulk => 1, move => 1.5, merge => 1, copies => 1, empty => 0.3, truncate => 0.25, alter => 0.15);
	return $self->insert($table, 1 + int rand 4) if $what eq 'insert';
	return $self->update($table) if $what eq 'update';
	return "DELETE FROM $table->{name} WHERE " . $self->condition($table) if $what eq 'delete';
	return $self->bulk($table) if $what eq 'bulk';
	return $self->move($table, pick($self->tables)) if $what eq 'move';
	return $self->merge($table) if $what eq 'merge' && !$table->{partitioned};
	return "DELETE FROM $table->{name}" if $what eq 'empty';
	return "TRUNCATE $table->{name}" if $what eq 'truncate';
	return $self->alter($table) if $what eq 'alter';
	return $self->insert($table, 1) if $table->{key} || $what ne 'copies';
	my $names = join ', ', map { $_->{name} } writable($table);
	return "INSERT INTO $table->{name} ($names) SELECT $names FROM $table->{name} WHERE " . $self->condition($table);
}

# The statements of a transaction. Some of them may fail; the next one is then
# what it is in an aborted transaction.
sub transaction
{
	my ($self) = @_;
	return $self->statement if chance(0.5);
	my @sql = ('BEGIN', map { $self->statement } 1 .. 1 + rand 4);
	push @sql, 'SAVEPOINT s', (map { $self->statement } 1 .. 1 + rand 2), pick('ROLLBACK TO s', 'RELEASE s'), $self->statement if chance(0.2);
	return @sql, weighted(COMMIT => 9, ROLLBACK => 1);
}

# What keeps a table from growing.
sub shrink
{
	my ($self, $name) = @_;
	my ($table) = grep { $_->{name} eq $name } $self->tables;
	return sprintf 'DELETE FROM %s WHERE k IS NULL OR k > 5 OR %s', $name, join ' OR ', map { $self->condition($table) } 1 .. 5;
}

1;
