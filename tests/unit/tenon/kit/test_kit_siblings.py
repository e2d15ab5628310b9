"""What workers behind one port know of each other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tenon.kit.siblings import Siblings, merge
from tenon.kit.workers import FOLDER, STATE


def exposition(count: int) -> bytes:
    """What one worker would say."""
    registry = CollectorRegistry()
    Counter("plain_total", "Without labels.", registry=registry).inc(count)
    labelled = Counter("odd_total", 'With "odd" labels\nand words.', ["path"], registry=registry)
    labelled.labels('a{b="c"} 1').inc(count)
    Histogram("took_seconds", "A histogram.", ["role"], buckets=(1, 2), registry=registry).labels("stable").observe(1.5)
    return generate_latest(registry)


def test_expositions_become_one_with_each_family_once() -> None:
    """Every sample has its worker and its own labels; values stay; who said nothing is told."""
    text = merge({0: exposition(1), 2: exposition(5)}, 3).decode()
    names = [line.split(" ")[2] for line in text.splitlines() if line.startswith("# TYPE ")]
    assert len(names) == len(set(names))
    found = {family.name: family.samples for family in text_string_to_metric_families(text)}
    plain = {sample.labels["worker"]: sample.value for sample in found["plain"] if sample.name == "plain_total"}
    assert plain == {"0": 1.0, "2": 5.0}
    odd = [sample for sample in found["odd"] if sample.name == "odd_total"]
    assert [(sample.labels, sample.value) for sample in odd] == [
        ({"worker": "0", "path": 'a{b="c"} 1'}, 1.0),
        ({"worker": "2", "path": 'a{b="c"} 1'}, 5.0),
    ]
    assert len([sample for sample in found["took_seconds"] if sample.name == "took_seconds_bucket"]) == 6
    up = {sample.labels["worker"]: sample.value for sample in found["tenon_workers_up"]}
    assert up == {"0": 1.0, "1": 0.0, "2": 1.0}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder as the parent prepares it for two workers."""
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / STATE).write_bytes(bytes(2))
    return tmp_path


def test_one_is_ready_only_when_all_are(home: Path) -> None:
    """Its own problem comes first; what it says of itself, the others read; the parent takes back what the dead said."""
    own: dict[str, str] = {"releases": "not known"}
    first, second = Siblings(home, 0, 2, lambda: own), Siblings(home, 1, 2, dict)
    first.open()
    assert first.problems() == {"releases": "not known"}
    assert second.problems() == {"workers": "2 of 2 workers cannot answer: 0, 1"}
    own.clear()
    assert first.problems() == {"workers": "1 of 2 workers cannot answer: 1"}
    second.open()
    assert (first.problems(), second.problems()) == ({}, {})
    with (home / FOLDER / STATE).open("r+b") as state:
        os.pwrite(state.fileno(), b"\0", 0)
    assert second.problems() == {"workers": "1 of 2 workers cannot answer: 0"}
    second.stop()


def test_whoever_is_asked_gives_the_metrics_of_all(home: Path) -> None:
    """Of a worker that is gone, that it is."""
    first = Siblings(home, 0, 2, dict, expose=lambda: exposition(1))
    second = Siblings(home, 1, 2, dict, expose=lambda: exposition(2))
    first.start()
    assert b'tenon_workers_up{worker="1"} 0' in first.metrics()
    second.start()
    for one in (first, second):
        text = one.metrics()
        assert b'plain_total{worker="0"} 1.0' in text
        assert b'plain_total{worker="1"} 2.0' in text
        assert b'tenon_workers_up{worker="1"} 1' in text
    first.stop()
    second.stop()


def test_a_folder_too_deep_for_sockets_is_refused(tmp_path: Path) -> None:
    """With the variable's name."""
    deep = tmp_path / ("d" * 90)
    (deep / FOLDER).mkdir(parents=True)
    (deep / FOLDER / STATE).write_bytes(bytes(2))
    with pytest.raises(ValueError, match="TENON_DATA_DIR"):
        Siblings(deep, 0, 2, dict)
