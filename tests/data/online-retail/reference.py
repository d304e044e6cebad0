#!/usr/bin/env python3
"""Work out what clvstream must answer for Online Retail, independently of clvstream.

Plain Python, whole numbers only (money in thousandths of a pound), one pass per question and no
cleverness: this file is the yardstick, so it has to be readable at a glance.

    reference.py lines.csv.zst as-of '2011-06-15 12:00:00.000'   the customers as of an instant
    reference.py lines.csv.zst daily                             the shop per day
    reference.py lines.csv.zst expected FOLDER                   every expected file of this folder
    reference.py lines.csv.zst check FOLDER                      compare with the files of a folder

The rules, all of them per *line* (an invoice may have lines at two minutes):

- The file's local times are taken as they stand, as if they were UTC.
- A line belongs to an order unless its invoice number begins with C: then it is a return.
  Everything else stands as it is: zero prices, negative quantities, three-decimal prices.
- As of A: only lines with time <= A. A window of N days: A - N * 24 h < time <= A.
- `lines`, `products`, `last_event` and `last_country` look at all lines of a customer, returns
  included; `first_order`, `last_order` and `active_days` at the lines of orders only.
- Lines without a customer count for the shop's days and for no customer.
"""

import csv
import gzip
import io
import subprocess
import sys
from collections import defaultdict
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

WINDOWS = (7, 30, 90)

AS_OF_COLUMNS = (
    "CustomerID lines orders cancel_invoices units_sold units_returned gross_m returns_m net_m "
    "products first_order last_order last_event last_country"
).split() + [
    f"{name}_{days}d{unit}"
    for days in WINDOWS
    for name, unit in (("orders", ""), ("gross", "_m"), ("returns", "_m"), ("active_days", ""))
]
DAILY_COLUMNS = "day lines orders cancels customers gross_m returns_m".split()


class Line:
    """One line of an invoice."""

    def __init__(self, row):
        self.invoice = row["InvoiceNo"]
        self.is_return = self.invoice.startswith("C")
        self.product = row["StockCode"]
        self.units = int(row["Quantity"])
        self.time = datetime.strptime(row["InvoiceDate"], "%Y-%m-%d %H:%M:%S")
        price = Decimal(row["UnitPrice"]) * 1000
        assert price == int(price), f"more than three decimals: {row}"
        self.amount = int(price) * self.units
        self.customer = row["CustomerID"]
        self.country = row["Country"]


def read_lines(path):
    """All lines of a packed CSV file, in the file's order."""
    text = subprocess.run(["zstd", "-dc", str(path)], check=True, capture_output=True).stdout
    rows = csv.DictReader(io.StringIO(text.decode("utf-8"), newline=""))
    return [Line(row) for row in rows]


def amount(number):
    """Amounts and units are written with one decimal, as the files given with the task are."""
    return f"{number}.0"


def as_of_row(customer, lines, at):
    """One customer as of an instant; `lines` are his lines up to it, in the file's order."""
    orders = [line for line in lines if not line.is_return]
    returns = [line for line in lines if line.is_return]
    gross = sum(line.amount for line in orders)
    returned = -sum(line.amount for line in returns)
    latest = max(line.time for line in lines)
    countries = {line.country for line in lines if line.time == latest}
    assert len(countries) == 1, f"two countries at the same time: {customer}"
    row = [
        customer,
        len(lines),
        len({line.invoice for line in orders}),
        len({line.invoice for line in returns}),
        amount(sum(line.units for line in orders)),
        amount(-sum(line.units for line in returns)),
        amount(gross),
        amount(returned),
        amount(gross - returned),
        len({line.product for line in lines}),
        min((line.time for line in orders), default=""),
        max((line.time for line in orders), default=""),
        latest,
        countries.pop(),
    ]
    for days in WINDOWS:
        start = at - timedelta(hours=24 * days)
        recent = [line for line in orders if line.time > start]
        row += [
            len({line.invoice for line in recent}),
            amount(sum(line.amount for line in recent)),
            amount(-sum(line.amount for line in returns if line.time > start)),
            len({line.time.date() for line in recent}),
        ]
    return row


def as_of(lines, at):
    """Every customer with a line at or before the instant, by customer number."""
    by_customer = defaultdict(list)
    for line in lines:
        if line.customer and line.time <= at:
            by_customer[line.customer].append(line)
    return [AS_OF_COLUMNS] + [
        as_of_row(customer, by_customer[customer], at) for customer in sorted(by_customer)
    ]


def daily(lines):
    """Every day with a line, lines without a customer included."""
    by_day = defaultdict(list)
    for line in lines:
        by_day[line.time.date()].append(line)
    table = [DAILY_COLUMNS]
    for day in sorted(by_day):
        of_day = by_day[day]
        orders = [line for line in of_day if not line.is_return]
        returns = [line for line in of_day if line.is_return]
        table.append([
            day,
            len(of_day),
            len({line.invoice for line in orders}),
            len({line.invoice for line in returns}),
            len({line.customer for line in of_day if line.customer}),
            amount(sum(line.amount for line in orders)),
            amount(-sum(line.amount for line in returns)),
        ])
    return table


def edge_instant(lines):
    """An instant at which orders lie exactly on the lower edges of the windows.

    Of all the instants that lie exactly 7 * 24 h after an order's line, the one whose 30-day and
    90-day edges meet most customers too, the earliest of them if there are several.
    """
    on_edge = defaultdict(set)
    for line in lines:
        if line.customer:
            on_edge[line.time].add(line.customer)
    ordered = {line.time for line in lines if line.customer and not line.is_return}

    def met(at):
        edges = [on_edge.get(at - timedelta(days=days), ()) for days in WINDOWS]
        return (sum(1 for edge in edges if edge), sum(len(edge) for edge in edges))

    instants = sorted(time + timedelta(days=7) for time in ordered)
    return max(instants, key=lambda at: (met(at), -at.timestamp()))


def instants(lines):
    """The instants for which expected files are kept."""
    edge = edge_instant(lines)
    return [
        datetime(2011, 3, 1),
        datetime(2011, 6, 15, 12),
        edge - timedelta(milliseconds=1),
        edge,
        edge + timedelta(milliseconds=1),
        datetime(2011, 9, 1),
    ]


def to_csv(table):
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(table)
    return out.getvalue()


def millis(at):
    return at.isoformat(sep=" ", timespec="milliseconds")


def write_expected(lines, folder):
    """`instants.csv` (file, instant), one packed file per instant, and the days."""
    index = [["file", "as_of"]]
    for at in instants(lines):
        name = f"rolling_asof_{at.strftime('%Y-%m-%dT%H%M%S')}.{at.microsecond // 1000:03}.csv.gz"
        packed = gzip.compress(to_csv(as_of(lines, at)).encode(), 9, mtime=0)
        (folder / name).write_bytes(packed)
        index.append([name, millis(at)])
    (folder / "instants.csv").write_text(to_csv(index))
    (folder / "daily.csv").write_text(to_csv(daily(lines)))


def check(lines, folder):
    """Compare with given files, byte for byte; the instants are those of the given names."""
    at_noon = {"2011-06-15": 12}
    wrong = 0
    for path in sorted(folder.glob("online_retail_*")):
        if "_rolling_asof_" in path.name:
            day = path.name.split("_asof_")[1].removesuffix(".csv.gz")
            at = datetime.fromisoformat(day).replace(hour=at_noon.get(day, 0))
            given, ours = gzip.decompress(path.read_bytes()).decode(), to_csv(as_of(lines, at))
        else:
            given, ours = path.read_text(), to_csv(daily(lines))
        equal = given == ours
        wrong += not equal
        print(f"{'equal  ' if equal else 'DIFFERS'} {path.name}: {ours.count(chr(10)) - 1} rows")
    return wrong


def main():
    lines, question, rest = read_lines(sys.argv[1]), sys.argv[2], sys.argv[3:]
    if question == "as-of":
        print(to_csv(as_of(lines, datetime.fromisoformat(rest[0]))), end="")
    elif question == "daily":
        print(to_csv(daily(lines)), end="")
    elif question == "expected":
        write_expected(lines, Path(rest[0]))
    elif question == "check":
        sys.exit(1 if check(lines, Path(rest[0])) else 0)
    else:
        sys.exit(f"unknown question {question}: as-of, daily, expected or check")


if __name__ == "__main__":
    main()
