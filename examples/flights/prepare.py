"""Cut the flights data into one CSV file per airline, with instants in UTC.

The source keeps scheduled wall clocks and delays in minutes; when something became known has to be worked out:
a flight's delay is known when it has landed, which is its scheduled arrival (wall clock at the destination, on the next
day where it would otherwise lie before the departure) plus its delay.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

ORIGIN_ZONE = "America/Denver"
COLUMNS = [
    "flight_id", "carrier", "flight", "tailnum", "origin", "dest", "distance", "scheduled_departure",
    "scheduled_arrival", "month", "weekday", "hour", "minute", "block_minutes", "departed_at", "dep_delay",
    "arrived_at", "air_time", "arr_delay",
]  # fmt: skip


def prepare(data: Path, out: Path) -> dict[str, Path]:
    """Write `out/<airline>.csv` for each airline of `data/flights`; gives the files by tenant name."""
    flights = read_flights(data)
    out.mkdir(parents=True, exist_ok=True)
    files = {}
    for (carrier,), rows in flights.group_by("carrier", maintain_order=True):
        tenant = str(carrier).lower()
        files[tenant] = out / f"{tenant}.csv"
        rows.select(COLUMNS).write_csv(files[tenant], datetime_format="%Y-%m-%dT%H:%M:%SZ")
    return files


def read_flights(data: Path) -> pl.DataFrame:
    """Every flight with its instants, in order of scheduled departure."""
    raw = pl.read_csv(data / "flights" / "flights.csv.gz", infer_schema=False, null_values=["", "NA"])
    numbers = ["year", "month", "day", "sched_dep_time", "dep_delay", "sched_arr_time", "arr_delay", "hour", "minute"]
    flights = raw.with_columns(pl.col(numbers).cast(pl.Int32))
    airports = pl.read_csv(data / "flights" / "airports.csv", infer_schema=False).select(dest="faa", zone="tzone")
    flights = flights.join(airports, on="dest", how="left", validate="m:1")

    local = pl.datetime("year", "month", "day", "hour", "minute", time_unit="us")
    flights = flights.with_columns(
        local.alias("local"),
        scheduled_departure=_utc(local, ORIGIN_ZONE),
        local_arrival=pl.datetime(
            "year", "month", "day", pl.col("sched_arr_time") // 100, pl.col("sched_arr_time") % 100, time_unit="us"
        ),
    )
    # Destinations two zones west are reached "before" the departure by the clock, never by the sun. The day is added on
    # the clock: the night when the clocks change has 23 or 25 hours.
    flights = pl.concat(
        rows.with_columns(
            scheduled_arrival=_utc(pl.col("local_arrival"), str(zone)),
            next_day=_utc(pl.col("local_arrival").dt.offset_by("1d"), str(zone)),
        )
        for (zone,), rows in flights.group_by("zone")
    ).with_columns(
        scheduled_arrival=pl.when(pl.col("scheduled_arrival") <= pl.col("scheduled_departure"))
        .then("next_day")
        .otherwise("scheduled_arrival")
    )
    return flights.with_columns(
        flight_id=pl.concat_str(
            [pl.col("local").dt.strftime("%Y%m%d-%H%M"), "carrier", "flight", "dest"], separator="-"
        ),
        weekday=pl.col("local").dt.weekday(),
        block_minutes=(pl.col("scheduled_arrival") - pl.col("scheduled_departure")).dt.total_minutes(),
        departed_at=pl.col("scheduled_departure") + pl.duration(minutes="dep_delay"),
        arrived_at=pl.col("scheduled_arrival") + pl.duration(minutes="arr_delay"),
    ).sort("scheduled_departure", "flight_id")


def _utc(local: pl.Expr, zone: str) -> pl.Expr:
    """Wall clock to UTC: the first of the two 1:30s when the clocks go back, none when they skip an hour."""
    aware = local.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return aware.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
