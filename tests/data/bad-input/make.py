#!/usr/bin/env python3
"""Writes records.jsonl: malformed records between good ones, as bytes.

Needs Python 3.9 and nothing of clvstream: Avro is encoded here by hand, from the schemas, so that
what clvstream reads was written by something else.

    python3 make.py > records.jsonl
"""

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
DAY = 86_400_000
MARCH = 1_709_251_200_000  # 2024-03-01T00:00:00Z
IDS = {"page_viewed": 1900000001, "order_completed": 1900000011, "order_refunded": 1900000013,
       "nps_answered": 1900000019}
# Stands for personal data in bad records: no header of a dead letter may hold it.
WHO = "erika.mustermann@example.com"

out = []


# --- Avro ------------------------------------------------------------------------------------

def zigzag(n):
    n = (n << 1) ^ (n >> 63) if n < 0 else n << 1
    raw = bytearray()
    while n > 0x7F:
        raw.append(n & 0x7F | 0x80)
        n >>= 7
    raw.append(n)
    return bytes(raw)


def encode(schema, value):
    if isinstance(schema, list):
        branch = 0 if value is None else 1
        return zigzag(branch) + encode(schema[branch], value)
    kind = schema["type"] if isinstance(schema, dict) else schema
    if kind == "null":
        return b""
    if kind == "string":
        raw = value if isinstance(value, bytes) else value.encode()
        return zigzag(len(raw)) + raw
    if kind in ("int", "long"):
        return zigzag(value)
    if kind == "boolean":
        return bytes([value])
    if kind == "array":
        items = b"".join(encode(schema["items"], item) for item in value)
        return (zigzag(len(value)) + items if value else b"") + b"\0"
    if kind == "record":
        fields = schema["fields"]
        return b"".join(encode(f["type"], value.get(f["name"], f.get("default"))) for f in fields)
    raise ValueError(kind)


def avro(name, **fields):
    schema = json.loads((ROOT / f"schemas/input/{name}/v1.avsc").read_text())
    return b"\0" + IDS[name].to_bytes(4, "big") + encode(schema, fields)


# --- Records ---------------------------------------------------------------------------------

def put(name, value, expect, topic="orders", key="", with_=None):
    """`value`: bytes, text, an object, None (tombstone), or a generator."""
    if isinstance(value, bytes):
        try:
            text = value.decode()
            value = {"text": text} if text.isprintable() and text else {"hex": value.hex()}
        except UnicodeDecodeError:
            value = {"hex": value.hex()}
    elif isinstance(value, str):
        value = {"text": value}
    elif isinstance(value, dict) and "repeat" not in value:
        value = {"text": json.dumps(value, ensure_ascii=False)}
    record = {"name": name, "topic": topic, "key": key, "value": value, "expect": expect}
    if with_:
        record["accepted_with"] = with_
    out.append(record)


clock = 0


def now():
    global clock
    clock += 1
    return MARCH + clock * 5 * 3_600_000


def order(**changes):
    number = len(out)
    event = {"type": "order_completed", "event_id": f"e{number}", "event_time": now(),
             "customer_id": WHO, "order_id": f"o{number}", "total": "20.00", "currency": "USD"}
    event.update(changes)
    return {name: value for name, value in event.items() if value is not ...}


def good():
    """One good record after every bad one, by turns of many kinds and in both formats."""
    n, at = len(out), now()
    who = f"customer-{n % 7}"
    ids = {"event_id": f"e{n}", "event_time": at}
    kinds = [
        lambda: ("orders", avro("order_completed", **ids, customer_id=who, order_id=f"o{n}",
                                total=f"{n}.50", currency="USD")),
        lambda: ("clickstream", {"type": "page_viewed", **ids, "customer_id": who, "url": "/a"}),
        lambda: ("orders", {"type": "order_completed", **ids, "customer_id": who,
                            "order_id": f"o{n}", "products": [
                                {"product_id": "p1", "quantity": 2, "price": 9.99},
                                {"product_id": "p2", "quantity": "0.5", "amount": "3.10"}]}),
        lambda: ("clickstream", avro("page_viewed", **ids, anonymous_id=f"visitor-{n % 3}",
                                     url="/b")),
        lambda: ("orders", avro("order_refunded", **ids, customer_id=who, refund_id=f"r{n}",
                                order_id=f"o{n - 4}", amount="1.25", currency="USD")),
        lambda: ("clickstream", {"type": "product_added", **ids, "customer_id": who,
                                 "product_id": "p1", "quantity": 1}),
        lambda: ("orders", {"type": "order_completed", **ids, "order_id": f"guest-{n}",
                            "total": 12}),
        lambda: ("care", avro("nps_answered", **ids, customer_id=who, score=n % 11)),
        lambda: ("loyalty", {"type": "product_reviewed", **ids, "customer_id": who, "rating": 5}),
    ]
    topic, value = kinds[n // 2 % len(kinds)]()
    key = f"visitor-{n % 3}" if b"visitor" in (value if isinstance(value, bytes) else b"") else who
    put(f"good {n}", value, "applied", topic, key)


def bad(name, value, expect, **more):
    put(name, value, expect, key=more.pop("key", WHO), **more)
    good()


def repeat(times, text, before="", after=""):
    return {"repeat": {"before": before, "text": text, "times": times, "after": after}}


good()
# What is no record at all.
bad("tombstone", None, "tombstone")
bad("tombstone without a key", None, "tombstone", key=None)
bad("empty value", {"repeat": {"before": "", "text": "", "times": 0, "after": ""}}, "empty_value")
bad("a value of 10 MB", repeat(10_000_000, "x", '{"type": "page_viewed", "customer_id": "%s", '
    '"event_id": "big", "event_time": %d, "url": "' % (WHO, MARCH), '"}'), "too_large",
    with_=["limits.max_value_bytes=16MiB"])
bad("10 MB of nothing", repeat(10_000_000, " "), "too_large")
bad("plain text", "order,12,20.00", "wrong_magic")
bad("XML", "<order id='12'/>", "wrong_magic")
bad("gzip", bytes.fromhex("1f8b0800000000000003"), "wrong_magic")
bad("another magic byte", b"\x01" + avro("page_viewed", event_id="e", event_time=MARCH,
                                           customer_id=WHO)[1:], "wrong_magic")
bad("a byte order mark", b"\xef\xbb\xbf" + json.dumps(order()).encode(), "wrong_magic")
bad("UTF-16", json.dumps(order()).encode("utf-16"), "wrong_magic")

# Avro.
WHOLE = avro("order_completed", event_id="e", event_time=MARCH, customer_id=WHO, order_id="o",
             total="20.00", currency="USD", products=[{"product_id": "p", "quantity": "1",
                                                       "amount": "20.00"}])
bad("Avro, cut within the schema id", WHOLE[:3], "truncated")
bad("Avro, cut after the schema id", WHOLE[:5], "truncated")
bad("Avro, cut within a text", WHOLE[:20], "truncated")
bad("Avro, cut in the middle", WHOLE[:len(WHOLE) // 2], "truncated")
bad("Avro, cut by its last byte", WHOLE[:-1], "truncated")
bad("Avro, unknown schema id", b"\0\0\0\0\x07" + WHOLE[5:], "unknown_schema")
bad("Avro, trailing bytes", WHOLE + b"\0\0\0", "trailing_bytes")
bad("Avro, two records in one", WHOLE + WHOLE, "trailing_bytes")
EMPTY = avro("order_completed", event_id="e", event_time=MARCH, customer_id=WHO, order_id="o")[:-1]
bad("Avro, array of 2^62 lines", EMPTY + zigzag(2**62), "truncated")
bad("Avro, array of -2^63 lines", EMPTY + zigzag(-2**63) + zigzag(1), "truncated")
bad("Avro, block with a negative size", EMPTY + zigzag(-1) + zigzag(-5), "truncated")
bad("Avro, block longer than the value", EMPTY + zigzag(-1) + zigzag(2**40), "truncated")
bad("Avro, negative length of a text", WHOLE[:5] + zigzag(-3), "malformed_avro")
bad("Avro, text of 2^62 bytes", WHOLE[:5] + zigzag(2**62), "truncated")
bad("Avro, union without such a branch", WHOLE[:5] + zigzag(1) + b"e" + zigzag(MARCH) + zigzag(9),
    "malformed_avro")
bad("Avro, number of more than 64 bits", WHOLE[:5] + b"\xff" * 12, "malformed_avro")
bad("Avro, text that is not UTF-8", avro("page_viewed", event_id="e", event_time=MARCH,
                                         customer_id=b"\xff\xfe" + WHO.encode()), "not_utf8")
bad("Avro, refund read as page view", b"\0" + IDS["page_viewed"].to_bytes(4, "big") + avro(
    "order_refunded", event_id="e", event_time=MARCH, customer_id=WHO, refund_id="r",
    amount="1")[5:], "truncated")

# JSON.
bad("JSON, cut in the middle", json.dumps(order())[:60], "not_json")
bad("JSON, single quotes", "{'type': 'order_completed', 'customer_id': '%s'}" % WHO, "not_json")
bad("JSON, two values in one", json.dumps(order()) * 2, "not_json")
bad("JSON, NaN as a number", '{"type": "order_completed", "total": NaN}', "not_json")
bad("JSON, half a surrogate pair", '{"customer_id": "%s\\ud800"}' % WHO, "not_json")
bad("JSON, line end in a text", b'{"customer_id": "' + WHO.encode() + b'\n"}', "not_json")
bad("JSON, blanks only", " \n\t ", "not_json")
bad("JSON, text that is not UTF-8", json.dumps(order()).encode().replace(b"erika", b"erik\xe4"),
    "not_utf8")
bad("JSON, a number", "17", "wrong_type")
bad("JSON, a text", json.dumps(WHO), "wrong_type")
bad("JSON, null", "null", "wrong_type")
bad("JSON, a list of events", json.dumps([order()]), "wrong_type")
bad("JSON, nested 100,000 deep", repeat(100_000, "["), "too_deep")
bad("JSON, nested 33 deep in a field nobody reads",
    json.dumps(order())[:-1] + ', "note": ' + "[" * 32 + "]" * 32 + "}", "too_deep")

# What an event needs.
bad("no type", order(type=...), "missing_field")
bad("no event_id", order(event_id=...), "missing_field")
bad("event_id null", order(event_id=None), "missing_field")
bad("no event_time", order(event_time=...), "missing_field")
bad("no order_id", order(order_id=...), "missing_field")
bad("order without any value", order(total=...), "missing_field")
bad("refund without refund_id", order(type="order_refunded", amount=5), "missing_field")
bad("refund without an amount", order(type="order_refunded", refund_id="r"), "missing_field")
bad("partial order whose line has no id", order(partial=True, products=[
    {"product_id": "p", "amount": 1}]), "missing_field")
bad("line without a product", order(products=[{"amount": 1}]), "missing_field")
bad("line without amount and price", order(products=[{"product_id": "p"}]), "missing_field")
bad("search without a query", order(type="products_searched"), "missing_field")
bad("page view of nobody", order(type="page_viewed", customer_id=...), "missing_key")
bad("unknown type", order(type="order_teleported"), "unknown_event_type")
bad("type in capitals", order(type="ORDER_COMPLETED"), "unknown_event_type")
bad("type is a number", order(type=7), "unknown_event_type")
bad("customer_id is an object", order(customer_id={"id": WHO}), "wrong_type")
bad("customer_id is true", order(customer_id=True), "wrong_type")
bad("products is an object", order(products={"product_id": "p"}), "wrong_type")
bad("products holds a text", order(products=["p"]), "wrong_type")
bad("campaign is a text", order(campaign="spring"), "wrong_type")
bad("partial is a number", order(partial=1), "wrong_type")

# Ids and texts.
bad("customer_id empty", order(customer_id=""), "empty_id")
bad("order_id empty", order(order_id=""), "empty_id")
bad("line_id empty", order(products=[{"line_id": "", "product_id": "p", "amount": 1}]), "empty_id")
bad("customer_id of 257 bytes", order(customer_id="x" * 257), "id_too_long")
bad("customer_id of 100 kB", order(customer_id=WHO * 4_000), "id_too_long")
bad("channel of 257 bytes", order(channel="x" * 257), "text_too_long")
bad("customer_id begins with anon:", order(customer_id="anon:" + WHO), "reserved_key_prefix")
bad("customer_id begins with guest:", order(customer_id="guest:1"), "reserved_key_prefix")
bad("two lines with one line_id", order(products=[
    {"line_id": "a", "product_id": "p", "amount": 1},
    {"line_id": "a", "product_id": "q", "amount": 2}]), "duplicate_line_id")
bad("10,001 lines", repeat(10_000, '{"product_id":"p","amount":1},', '{"type":"order_completed",'
    '"event_id":"many","event_time":%d,"customer_id":"%s","order_id":"many","products":['
    % (MARCH, WHO), '{"product_id":"p","amount":1}]}'), "too_many_lines")

# Dates.
bad("date in 1970", order(event_time="1970-01-01T00:00:00Z"), "event_time_before_limit",
    with_=["limits.earliest_event_time=1970-01-01"])
bad("seconds in place of milliseconds", order(event_time=MARCH // 1000), "event_time_before_limit")
bad("a negative instant", order(event_time=-1), "event_time_before_limit")
bad("the least instant there is", order(event_time=-2**63), "event_time_before_limit")
bad("date in 2999", order(event_time="2999-12-31T23:59:59Z"), "event_time_in_future")
bad("Avro, date in 2999", avro("order_completed", event_id="e", event_time=32_503_680_000_000,
                               customer_id=WHO, order_id="o", total="1"), "event_time_in_future")
bad("two hours ahead of the log", order(event_time="2024-06-01T02:00:00Z"), "event_time_in_future",
    with_=["limits.future_bound=3h"])
bad("microseconds in place of milliseconds", order(event_time=MARCH * 1000), "event_time_in_future")
bad("the greatest instant there is", order(event_time=2**63 - 1), "event_time_in_future")
bad("year 10000", order(event_time="+010000-01-01T00:00:00Z"), "time_malformed")
bad("30 February", order(event_time="2024-02-30T00:00:00Z"), "time_malformed")
bad("a time without an offset", order(event_time="2024-03-01T08:26:00"), "time_malformed")
bad("a date of the shop's own", order(event_time="01/03/2024"), "time_malformed")
bad("event_time empty", order(event_time=""), "time_malformed")
bad("event_time with a fraction", order(event_time=1709251200000.5), "wrong_type")
bad("event_time beyond 64 bits", order(event_time=2**64 - 1), "wrong_type")

# Amounts.
bad("an order of 10^15", order(total=10**15, currency=...), "amount_out_of_range",
    with_=["currency.code=JPY", "limits.max_order_amount=\"1000000000000000\""])
bad("an order of 10^15 as text", order(total="1000000000000000.00"), "amount_out_of_range")
bad("an order of 10^15 as a float", '{"type":"order_completed","event_id":"f","event_time":%d,'
    '"customer_id":"%s","order_id":"f","total":1e15}' % (MARCH, WHO), "amount_out_of_range")
bad("Avro, an order of 10^15", avro("order_completed", event_id="e", event_time=MARCH,
                                    customer_id=WHO, order_id="o", total="1" + "0" * 15),
    "amount_out_of_range")
bad("an order of 2,000,000,000", order(total="2000000000"), "amount_out_of_range",
    with_=["limits.max_order_amount=\"5000000000\""])
bad("an amount of 40 digits", order(total="9" * 40), "amount_out_of_range")
bad("lines that add up to 10^13", repeat(9_999, '{"product_id":"p","amount":1000000000},',
    '{"type":"order_completed","event_id":"sum","event_time":%d,"customer_id":"%s",'
    '"order_id":"sum","products":[' % (MARCH, WHO), '{"product_id":"p","amount":1000000000}]}'),
    "amount_out_of_range")
bad("price times quantity beyond the limit", order(products=[
    {"product_id": "p", "price": 1_000_000, "quantity": 1_000_000}]), "amount_out_of_range")
bad("refund of 10^15", order(type="order_refunded", refund_id="r", amount=10**15),
    "amount_out_of_range")
bad("three decimals", order(total="19.999"), "amount_precision", with_=["currency.decimals=3"])
bad("three decimals as a float", order(total=19.999), "amount_precision",
    with_=["currency.decimals=3"])
bad("Avro, three decimals", avro("order_completed", event_id="e", event_time=MARCH,
                                 customer_id=WHO, order_id="o", total="0.001"), "amount_precision",
    with_=["currency.decimals=3"])
bad("sum of floats", order(total=0.1 + 0.2), "amount_precision")
bad("a third of a cent", order(products=[{"product_id": "p", "price": "0.01",
                                          "quantity": "0.333"}]), "amount_precision")
bad("negative total", order(total="-20.00"), "amount_negative")
bad("negative discount", order(discount=-1), "amount_negative")
bad("negative refund", order(type="order_refunded", refund_id="r", amount=-5), "amount_negative")
bad("refund whose lines are negative", order(type="order_refunded", refund_id="r", products=[
    {"product_id": "p", "amount": -5}]), "amount_negative")
bad("negative price of a viewed product", order(type="product_viewed", product_id="p", price=-1),
    "amount_negative")
bad("NaN as text", order(total="NaN"), "amount_malformed")
bad("infinity as text", order(total="-Infinity"), "amount_malformed")
bad("separator of thousands", order(total="1,000.00"), "amount_malformed")
bad("decimal comma", order(total="19,99"), "amount_malformed")
bad("exponent in a text", order(total="1e3"), "amount_malformed")
bad("sign of a currency", order(total="$20"), "amount_malformed")
bad("hexadecimal amount", order(total="0x14"), "amount_malformed")
bad("empty amount", order(total=""), "amount_malformed")
bad("blanks around the amount", order(total=" 20.00 "), "amount_malformed")
bad("amount is true", order(total=True), "wrong_type")
bad("amount is an object", order(total={"units": 20}), "wrong_type")

# Currencies.
bad("unknown currency", order(currency="ZZZ"), "unknown_currency")
bad("currency in words", order(currency="dollars"), "unknown_currency")
bad("currency empty", order(currency=""), "unknown_currency")
bad("currency by number", order(currency=840), "unknown_currency")
bad("currency of another shop", order(currency="EUR"), "other_currency",
    with_=["currency.code=EUR"])

# Quantities and answers.
bad("quantity in words", order(products=[{"product_id": "p", "amount": 1, "quantity": "two"}]),
    "quantity_malformed")
bad("quantity beyond 10^9", order(products=[
    {"product_id": "p", "amount": 1, "quantity": 1_000_000_001}]), "quantity_out_of_range")
bad("quantity beyond 64 bits", order(products=[
    {"product_id": "p", "amount": 1, "quantity": "9" * 25}]), "quantity_out_of_range")
bad("quantity of a ten-thousandth", order(products=[
    {"product_id": "p", "amount": 1, "quantity": "0.0001"}]), "quantity_out_of_range")
bad("negative quantity into the cart", order(type="product_added", product_id="p", quantity=-1),
    "quantity_out_of_range")
bad("rating 0", order(type="product_reviewed", rating=0), "number_out_of_range")
bad("rating 6", order(type="product_reviewed", rating=6), "number_out_of_range")
bad("rating 4.5", order(type="product_reviewed", rating=4.5), "number_out_of_range")
bad("score 11", order(type="nps_answered", score=11), "number_out_of_range")
bad("score -1", order(type="nps_answered", score=-1), "number_out_of_range")
bad("Avro, score 300", avro("nps_answered", event_id="e", event_time=MARCH, customer_id=WHO,
                            score=300), "number_out_of_range")
bad("score in words", order(type="nps_answered", score="ten"), "wrong_type")
bad("score missing", order(type="nps_answered"), "missing_field")

# What looks odd, and is taken in.
odd = 0


def odd_but_good(name, expect="applied", raw=None, **changes):
    global odd
    odd += 1
    event = order(**{"customer_id": f"odd-{odd}", **changes})
    put(name, raw or event, expect, key=f"odd-{odd}")


odd_but_good("an order of exactly the largest amount", total="1000000000.00")
odd_but_good("an order of nothing", total=0)
odd_but_good("zeros beyond the decimals", total="20.5000")
odd_but_good("the first instant accepted", event_time="1990-01-01T00:00:00Z")
odd_but_good("an hour ahead of the log", event_time="2024-06-01T01:00:00Z")
odd_but_good("ids as numbers", customer_id=4711, order_id=12, event_id=99)
odd_but_good("a null byte in an id", customer_id="odd\0id")
odd_but_good("ids in any script", customer_id="客戶-\U0001f6d2")
odd_but_good("an id of 256 bytes", customer_id="y" * 256)
odd_but_good("unknown fields", colour="red", nested={"a": [1, 2]})
odd_but_good("a wrong value in a field that the type does not have", rating="none", score=[])
odd_but_good("a negative line", products=[{"product_id": "p", "quantity": -2, "amount": -5},
                                          {"product_id": "q", "amount": 30}], total=...)
odd_but_good("no currency: the shop's", currency=...)
odd_but_good("currency in small letters", currency="usd")
odd_but_good("a refund before its order", type="order_refunded", refund_id="early",
             order_id="later", amount=5, total=...)
odd_but_good("an order that was refunded before", customer_id=f"odd-{odd}", order_id="later")
odd_but_good("a cancellation of an order that never comes", type="order_cancelled", total=...)
odd_but_good("a name twice: the last one counts", raw='{"type":"order_completed","event_id":"tw",'
             '"event_time":%d,"customer_id":"odd-twice","order_id":"tw","total":1,"total":2}' % now())
twice = order(customer_id="odd-dup", order_id="dup", event_id="dup")
odd_but_good("an order", raw=twice)
odd_but_good("the same event again", "deduplicated", raw=twice)
odd_but_good("the same order in another event", "applied", raw={**twice, "event_id": "dup2"})
odd_but_good("three months late", customer_id="customer-1", event_time=MARCH - 90 * DAY)
good()

print("\n".join(json.dumps(record, ensure_ascii=True) for record in out))
