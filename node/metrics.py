"""What a node looks like from outside: a Prometheus page on loopback.

Figures are read from the parts when the page is asked for, so the hot path pays nothing. Names are declared
here and nowhere else; alert rules for them stand in docs/operations.md.
"""

from collections.abc import Callable, Iterator, Mapping, Sized
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, Histogram, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from node.config import LOOPBACK, host_of
from node.engine.running import RunningLedger

PREFIX: Final = "vostro_"
BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Lagging(Protocol):
    """What is kept behind the head."""

    @property
    def height(self) -> int:
        """The last height that is in it."""


class Guarded(Protocol):
    """The doors: what they refused, and what of theirs ends."""

    @property
    def refusals(self) -> Mapping[str, int]:
        """Name of the refusal -> how often."""

    def ends(self) -> Mapping[str, float]:
        """What ends -> when, in seconds since 1970."""


class Held(Protocol):
    """What the vault last found."""

    @property
    def documents(self) -> int:
        """Documents that are to lie here."""

    @property
    def size_bytes(self) -> int:
        """Of their contents."""

    @property
    def orphans(self) -> int:
        """Files that no document names."""

    @property
    def missing(self) -> Sized:
        """Documents whose bytes are missing."""

    @property
    def damaged(self) -> Sized:
        """Documents whose bytes are damaged."""


class Vault(Protocol):
    """The vault's keeper."""

    @property
    def holdings(self) -> Held:
        """As it last looked."""

    @property
    def counts(self) -> Mapping[str, int]:
        """What was done -> how often since the start."""


class NodeMetrics(Collector):
    """Reads a node's figures when it is scraped."""

    def __init__(
        self,
        engine: RunningLedger,
        *,
        free_bytes: Callable[[], int],
        index: Lagging | None,
        restarts: Callable[[], int],
    ) -> None:
        """free_bytes: disk space left. restarts: verification workers that died and were started again."""
        self._engine = engine
        self._free_bytes = free_bytes
        self._index = index
        self._restarts = restarts
        self.doors: Guarded | None = None
        self._observed: dict[tuple[str, str], Histogram] = {}
        self.vault: Vault | None = None
        self.registry = CollectorRegistry()
        self.registry.register(self)
        self._calls = Histogram(
            f"{PREFIX}rpc_seconds",
            "Seconds that gRPC calls took, by method and status.",
            ("method", "status"),
            buckets=BUCKETS,
            registry=self.registry,
        )

    def observe(self, method: str, status: str, seconds: float) -> None:
        """Count one finished gRPC call."""
        observed = self._observed.get((method, status))
        if observed is None:
            observed = self._observed[method, status] = self._calls.labels(method, status)
        observed.observe(seconds)

    def collect(self) -> Iterator[Metric]:
        """The figures now."""
        status, counters = self._engine.status(), self._engine.counters
        outcomes = CounterMetricFamily(
            f"{PREFIX}transactions", "Transactions told, by outcome.", labels=["outcome"]
        )
        for name in ("applied", "refused", "discarded", "overloaded"):
            outcomes.add_metric([name], getattr(counters, name))
        yield outcomes
        yield CounterMetricFamily(f"{PREFIX}blocks", "Headers made since the start.", value=counters.blocks)
        yield CounterMetricFamily(
            f"{PREFIX}decide_seconds", "Seconds spent running blocks.", value=counters.decide_seconds
        )
        yield CounterMetricFamily(
            f"{PREFIX}sync_seconds", "Seconds spent making blocks durable.", value=counters.sync_seconds
        )
        yield CounterMetricFamily(
            f"{PREFIX}alarms", "Alarms since the start; see the log.", value=counters.alarm_count
        )
        yield CounterMetricFamily(
            f"{PREFIX}false_bundles",
            "Bundles of other nodes with a false signature.",
            value=counters.false_bundles,
        )
        yield CounterMetricFamily(
            f"{PREFIX}verify_worker_restarts", "Verification workers that died.", value=self._restarts()
        )
        yield GaugeMetricFamily(f"{PREFIX}serving", "1 while new work is taken.", value=int(status.serving))
        yield GaugeMetricFamily(f"{PREFIX}height", "Height of the last durable header.", value=status.height)
        yield GaugeMetricFamily(
            f"{PREFIX}block_time_seconds", "Block time, since 1970.", value=status.time_ms / 1000
        )
        yield GaugeMetricFamily(
            f"{PREFIX}pending", "Transactions accepted and not decided.", value=status.pending
        )
        yield GaugeMetricFamily(f"{PREFIX}pending_max", "How many may be.", value=status.pending_max)
        yield GaugeMetricFamily(
            f"{PREFIX}disk_free_bytes", "Free space of the data directory.", value=self._free_bytes()
        )
        if self.doors:
            refusals = CounterMetricFamily(
                f"{PREFIX}door_refusals", "Calls that the doors refused, by reason.", labels=["reason"]
            )
            for name, count in self.doors.refusals.items():
                refusals.add_metric([name], count)
            yield refusals
            ends = GaugeMetricFamily(
                f"{PREFIX}certificate_ends_seconds",
                "When a certificate or revocation list ends, since 1970.",
                labels=["what"],
            )
            for what, until in self.doors.ends().items():
                ends.add_metric([what], until)
            yield ends
        if self.vault:
            yield from _vault(self.vault)
        if self._index:
            yield GaugeMetricFamily(
                f"{PREFIX}index_height", "Last height in the index.", value=self._index.height
            )


def _vault(vault: Vault) -> Iterator[Metric]:
    held = vault.holdings
    documents = GaugeMetricFamily(
        f"{PREFIX}vault_documents",
        "Documents of the vault, by condition of their bytes.",
        labels=["condition"],
    )
    lost = {"missing": len(held.missing), "damaged": len(held.damaged)}
    for condition, count in (lost | {"whole": held.documents - sum(lost.values())}).items():
        documents.add_metric([condition], count)
    yield documents
    yield GaugeMetricFamily(f"{PREFIX}vault_bytes", "Bytes of their contents.", value=held.size_bytes)
    yield GaugeMetricFamily(f"{PREFIX}vault_orphans", "Files that no document names.", value=held.orphans)
    done = CounterMetricFamily(f"{PREFIX}vault_done", "What the vault did since the start.", labels=["what"])
    for what, count in vault.counts.items():
        done.add_metric([what], count)
    yield done


def serve_metrics(listen: str, metrics: NodeMetrics) -> Callable[[], None]:
    """Serve the page on ``host:port`` of loopback; a function that ends it. Raises ValueError for another
    host.
    """
    host, port = host_of(listen), listen.rpartition(":")[2]
    if host not in LOOPBACK:
        raise ValueError(f"metrics are served on loopback only, not on {listen}")
    server, thread = start_http_server(int(port), host, metrics.registry)

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop
