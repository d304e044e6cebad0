#!/usr/bin/env python3
"""Cut the slice that the project ships out of the first nine months of Online Retail.

    slice.py online_retail_until_2011-08-31.csv.zst slice.csv.zst

Whole customers with all their lines, and whole invoices of guests, unchanged and in the file's
order. Which ones is decided by rules alone, so that the slice can be cut again:

- every fifth customer, and every fifth invoice of guests, by number;
- every customer that shows one of the odd cases below, and every guest invoice that does.
"""

import csv
import io
import subprocess
import sys
from collections import defaultdict
from decimal import Decimal


def odd_customer(rows):
    """The odd cases that one customer's lines show."""
    cases = set()
    returns = [row["InvoiceNo"].startswith("C") for row in rows]
    value = sum(int(row["Quantity"]) * Decimal(row["UnitPrice"]) for row in rows)
    if all(returns):
        cases.add("has nothing but returns")
    elif returns[0]:
        cases.add("begins with a return")
    if value < 0:
        cases.add("ends net negative")
    if any(Decimal(row["UnitPrice"]) % Decimal("0.01") for row in rows):
        cases.add("has a price with three decimals")
    if any(abs(int(row["Quantity"])) > 10_000 for row in rows):
        cases.add("has the giant order and its cancellation")
    if len({row["Country"] for row in rows}) > 1:
        cases.add("has lines from several countries")
    if any(row["InvoiceDate"] == "2011-06-15 12:00:00" for row in rows):
        cases.add("has a line exactly at the instant 2011-06-15 12:00")
    if any(row["InvoiceDate"] == "2011-03-17 12:00:00" for row in rows):
        cases.add("has a line exactly 90 days before that instant")
    by_invoice = defaultdict(list)
    for row in rows:
        by_invoice[row["InvoiceNo"]].append(row)
    if any(len({row["InvoiceDate"] for row in invoice}) > 1 for invoice in by_invoice.values()):
        cases.add("has an invoice with lines at two minutes")
    if any(
        sum(int(row["Quantity"]) * Decimal(row["UnitPrice"]) for row in invoice) == 0
        for invoice in by_invoice.values()
    ):
        cases.add("has an order that costs nothing")
    return cases


def odd_guest_invoice(rows):
    """The odd cases that one guest's invoice shows."""
    cases = set()
    if rows[0]["InvoiceNo"].startswith("A"):
        cases.add("is an adjustment (A…)")
    if len({row["InvoiceDate"] for row in rows}) > 1:
        cases.add("has lines at two minutes")
    return cases


def chosen(rows, odd_cases, of):
    """Which of the groups are in the slice, counting the odd cases on the way."""
    groups = defaultdict(list)
    for row in rows:
        groups[row[of]].append(row)
    counts, keep = defaultdict(int), set()
    for number, group in groups.items():
        cases = odd_cases(group)
        for case in cases:
            counts[case] += 1
        if cases or int(number.lstrip("AC")) % 5 == 0:
            keep.add(number)
    print(f"{of}: {len(keep)} of {len(groups)}")
    for case, count in sorted(counts.items()):
        print(f"  {count:4} {case}")
    return keep


def main():
    source, target = sys.argv[1:]
    packed = subprocess.run(["zstd", "-dc", source], check=True, capture_output=True).stdout
    text = packed.decode("utf-8").splitlines()
    rows = list(csv.DictReader(io.StringIO("\n".join(text))))
    assert len(rows) == len(text) - 1, "a line break inside a field"
    customers = chosen([row for row in rows if row["CustomerID"]], odd_customer, "CustomerID")
    guests = chosen([row for row in rows if not row["CustomerID"]], odd_guest_invoice, "InvoiceNo")
    kept = [
        line
        for line, row in zip(text[1:], rows)
        if (row["CustomerID"] in customers if row["CustomerID"] else row["InvoiceNo"] in guests)
    ]
    print(f"lines: {len(kept)} of {len(rows)}, exact duplicates: {len(kept) - len(set(kept))}")
    data = ("\n".join([text[0], *kept]) + "\n").encode("utf-8")
    subprocess.run(["zstd", "-q", "--ultra", "-22", "-f", "-o", target], input=data, check=True)


if __name__ == "__main__":
    main()
