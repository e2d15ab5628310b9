"""The example of `tenon init`: a shop whose orders come back or not. Everything in it is simulated, from a fixed seed."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

TENANT = """\
# One organisation with its own data, models and releases. Documents without `tenant:` are for every Tenant here.
kind: Tenant
name: corner-shop
displayName: The corner shop (simulated)
"""

ORDERS = """\
# The contract that every file of orders is held to: rows that break it go to quarantine, with the reason.
kind: Dataset
name: orders
primaryKey: [order_id]      # a later row with the same key replaces the earlier one
eventTime: ordered_at
columns:
  order_id: {type: string, pattern: "O[0-9]{6}"}
  ordered_at: {type: timestamp}
  customer: {type: string}
  channel: {type: string, values: [web, phone, shop]}
  items: {type: integer, min: 1}
  amount: {type: decimal, scale: 2, min: 0}     # decimals add up exactly, in every order of arrival
  # knownAt keeps everybody honest: whether an order came back is known only when its two weeks are over, so neither
  # training nor a feature may use it earlier.
  closed_at: {type: timestamp}
  returned: {type: boolean, knownAt: closed_at}
  refund: {type: decimal, scale: 2, min: 0, knownAt: closed_at}
"""

HISTORY = """\
# What is known about a customer at the moment of an order: the same number in training and online, bit for bit.
kind: FeatureView
name: customer_history
dataset: orders
entity: [customer]
aggregates:
  - functions: [count]                # orders
    windows: [30d, 180d]
  - column: amount
    functions: [mean, max]
    windows: [180d]
  - column: refund                    # counts only refunds that were known by then
    functions: [mean, sum]
    windows: [180d]
"""

MODEL = """\
# Will this order come back? Asked at the moment it is placed.
kind: Model
name: returned
spine: orders                         # its rows are the examples
label: {column: returned}
task: binary
features:
  request: [channel, items, amount]   # what the caller sends
  views: [customer_history]           # looked up by the customer
split: {by: time, test: 60d, gap: 14d}   # tested on the last 60 days; the gap is as long as labels are late
estimators: [xgboost, logistic]
gates:
  - {metric: roc_auc, min: 0.6}       # a version that does not meet this is not released (but with --force)
"""

REQUEST = """\
{"instances": [
  {"entity": {"customer": "C007"},
   "features": {"ordered_at": "2024-12-31T12:00:00Z", "channel": "web", "items": 3, "amount": 189.90}},
  {"entity": {"customer": "C042"},
   "features": {"ordered_at": "2024-12-31T12:00:00Z", "channel": "shop", "items": 1, "amount": 12.50}}
]}
"""

_DAYS = 365
_ORDERS = 4000
_CUSTOMERS = 160
_START = datetime(2024, 1, 1, tzinfo=UTC)
HEADER = "order_id,ordered_at,customer,channel,items,amount,closed_at,returned,refund"
DIRTY = (
    "O900001,2024-13-40T10:00:00Z,C001,web,1,10.00,2024-06-15T10:00:00Z,false,0.00",
    "O900002,2024-06-01T10:00:00Z,C001,fax,1,10.00,2024-06-15T10:00:00Z,false,0.00",
    "O900003,2024-06-01T10:00:00Z,C001,web,many,10.00,2024-06-15T10:00:00Z,false,0.00",
    "O900004,2024-06-01T10:00:00Z,C001,web,1,-5.00,2024-06-15T10:00:00Z,false,0.00",
)
"""Rows that break the contract, so that quarantine has something to show."""


def orders_csv(seed: int = 7) -> str:
    """A year of orders, with a few dirty rows among them."""
    rows = list(_rows(random.Random(seed)))
    for index, line in enumerate(DIRTY):
        rows.insert((index + 1) * len(rows) // (len(DIRTY) + 1), line)
    return "\n".join([HEADER, *rows]) + "\n"


def _rows(chance: random.Random) -> Iterator[str]:
    """Some customers return much, the web more than the shop, dear orders more than cheap ones."""
    habits = [chance.gauss(-1.5, 1.2) for _ in range(_CUSTOMERS)]
    moments = sorted(chance.uniform(0, _DAYS * 86_400) for _ in range(_ORDERS))
    for number, seconds in enumerate(moments):
        customer = min(int(chance.expovariate(4 / _CUSTOMERS)), _CUSTOMERS - 1)
        channel = chance.choices(("web", "phone", "shop"), (6, 1, 3))[0]
        items = 1 + int(chance.expovariate(0.7))
        amount = round(items * chance.lognormvariate(3.3, 0.6), 2)
        score = habits[customer] + {"web": 0.5, "phone": 0.0, "shop": -1.0}[channel] + 0.8 * math.log(amount / 60)
        returned = chance.random() < 1 / (1 + math.exp(-score))
        ordered = _START + timedelta(seconds=int(seconds))
        closed = ordered + timedelta(days=14)
        refund = amount if returned else 0.0
        yield (
            f"O{number:06},{_text(ordered)},C{customer:03},{channel},{items},{amount:.2f},"
            f"{_text(closed)},{'true' if returned else 'false'},{refund:.2f}"
        )


def _text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def files() -> dict[str, str]:
    """Every file of the example by name."""
    return {
        "tenant.yaml": TENANT,
        "orders.yaml": ORDERS,
        "customer_history.yaml": HISTORY,
        "returned.yaml": MODEL,
        "orders.csv": orders_csv(),
        "request.json": REQUEST,
    }
