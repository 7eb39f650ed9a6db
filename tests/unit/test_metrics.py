"""The Prometheus page: on loopback only, and its figures are those of the engine."""

import urllib.error
import urllib.request
from types import SimpleNamespace
from typing import Any

import pytest

from node.demo.child import free_port
from node.engine.counters import Counters
from node.engine.engine import EngineStatus
from node.metrics import NodeMetrics, serve_metrics


def metrics_of(*, index: Any = None, serving: bool = True) -> NodeMetrics:
    """Figures of a node that never was."""
    status = EngineStatus("embedded", serving, 41, 1_700_000_000_500, bytes(32), 7, 6_000, ())
    counters = Counters(applied=5, refused=4, discarded=3, overloaded=2, blocks=9, alarm_count=1)
    engine: Any = SimpleNamespace(status=lambda: status, counters=counters)
    return NodeMetrics(engine, free_bytes=lambda: 12_345, index=index, restarts=lambda: 6)


def page_of(metrics: NodeMetrics) -> dict[str, float]:
    """What a scrape over HTTP says."""
    listen = f"127.0.0.1:{free_port()}"
    stop = serve_metrics(listen, metrics)
    try:
        with urllib.request.urlopen(f"http://{listen}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
    finally:
        stop()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://{listen}/metrics", timeout=1)
    return {
        name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")
    }


def test_the_page_says_what_the_engine_says() -> None:
    metrics = metrics_of(index=SimpleNamespace(height=40))
    metrics.observe("/x/Submit", "OK", 0.003)
    page = page_of(metrics)
    outcomes = {
        name: page[f'vostro_transactions_total{{outcome="{name}"}}'] for name in ("applied", "refused")
    }
    assert outcomes == {"applied": 5, "refused": 4}
    assert page['vostro_transactions_total{outcome="overloaded"}'] == 2
    assert page["vostro_height"] == 41
    assert page["vostro_index_height"] == 40
    assert page["vostro_block_time_seconds"] == 1_700_000_000.5
    assert (page["vostro_pending"], page["vostro_pending_max"]) == (7, 6_000)
    assert page["vostro_disk_free_bytes"] == 12_345
    assert page["vostro_verify_worker_restarts_total"] == 6
    assert page["vostro_alarms_total"] == 1
    assert page["vostro_serving"] == 1
    assert page['vostro_rpc_seconds_count{method="/x/Submit",status="OK"}'] == 1


def test_a_node_that_takes_no_work_and_keeps_no_index_shows_that() -> None:
    page = page_of(metrics_of(serving=False))
    assert page["vostro_serving"] == 0
    assert "vostro_index_height" not in page


def test_the_page_is_not_served_beyond_loopback() -> None:
    with pytest.raises(ValueError, match="loopback only"):
        serve_metrics("0.0.0.0:9000", metrics_of())
