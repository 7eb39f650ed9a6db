"""The case `hsm`: whole transactions signed through one SoftHSM token, by threads that share its sessions.

SoftHSM computes in this process, on this machine's cores: the figure is what the way through PKCS#11, the
pool and the verification of each signature leaves of it. A network module adds its own round trip to each.
"""

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from bench_load import op
from node.client import signing
from node.keys.pkcs11 import TokenSigner, generate_in_token
from node.keys.token_uri import parse_uri
from node.ledger.hashing import INTERNATIONAL

MODULE: Final = "/usr/lib/softhsm/libsofthsm2.so"
PIN: Final = b"87654321"
SESSIONS: Final = 4
CHAIN: Final = bytes(range(32))


class Signed(NamedTuple):
    """A run: transactions a second, and the median and 99th percentile of one, in milliseconds."""

    rate: float
    p50: float
    p99: float


@contextmanager
def one_token() -> Iterator[None]:
    """A new token, for as long as the block runs; SoftHSM reads where it lies once a process."""
    with tempfile.TemporaryDirectory(prefix="vostro-hsm-") as folder:
        tokens, configuration = Path(folder) / "tokens", Path(folder) / "softhsm2.conf"
        tokens.mkdir()
        configuration.write_text(f"directories.tokendir = {tokens}\nlog.level = ERROR\n")
        os.environ["SOFTHSM2_CONF"] = str(configuration)
        pins = ("--so-pin", "12345678", "--pin", PIN.decode())
        command = ["softhsm2-util", "--init-token", "--free", "--label", "bench", *pins]
        subprocess.run(command, check=True, capture_output=True)
        yield


def token_signer(algorithm: str) -> TokenSigner:
    """A new key in the token, and its signer."""
    uri = parse_uri(f"pkcs11:token=bench;object={algorithm}?module-path={MODULE}")
    generate_in_token(uri, PIN, algorithm)
    return TokenSigner(uri, PIN, sessions=SESSIONS)


def run(signer: TokenSigner, threads: int, seconds: float, repeats: int) -> Signed:
    """The run of median rate, after a warm-up."""
    measure(signer, threads, seconds / 10)
    runs = sorted(measure(signer, threads, seconds) for _ in range(repeats))
    return runs[len(runs) // 2]


def measure(signer: TokenSigner, threads: int, seconds: float) -> Signed:
    """Sign transfers from several threads for so long."""
    latencies: list[list[float]] = [[] for _ in range(threads)]
    began = time.perf_counter()

    def work(mine: list[float]) -> None:
        number = 0
        while (at := time.perf_counter()) < began + seconds:
            number += 1
            send = op("transfers", "send", "PA/1", "PA/2", "CZK", number, b"", "")
            body = signing.transaction(CHAIN, "PA", [send])
            signing.sign(INTERNATIONAL, CHAIN, body, [signer])
            mine.append(time.perf_counter() - at)

    workers = [threading.Thread(target=work, args=(mine,)) for mine in latencies]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    took = time.perf_counter() - began
    every = sorted(second for mine in latencies for second in mine)
    p50, p99 = (every[int(len(every) * part)] * 1_000 for part in (0.5, 0.99))
    return Signed(len(every) / took, p50, p99)
