"""A CometBFT of its own for a test: one validator, its key-value application, sockets in a folder."""

import base64
import http.client
import json
import re
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.comet_kit import binary

DEADLINE = 60.0


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        """To the socket, whatever the host is called."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(str(self._path))


class Chain:
    """One validator whose key is held by a remote signer."""

    def __init__(self, folder: Path, public_key: bytes) -> None:
        self.home, self.log = folder / "home", folder / "cometbft.log"
        self.privval, self.rpc = folder / "privval.sock", folder / "rpc.sock"
        subprocess.run(
            [binary(), "init", "--home", self.home], check=True, capture_output=True, timeout=DEADLINE
        )
        genesis_path = self.home / "config" / "genesis.json"
        genesis = json.loads(genesis_path.read_text())
        self.chain: str = genesis["chain_id"]
        key = {"type": "tendermint/PubKeyEd25519", "value": base64.b64encode(public_key).decode()}
        genesis["validators"] = [{"address": "", "pub_key": key, "power": "10", "name": "one"}]
        genesis_path.write_text(json.dumps(genesis))
        config_path = self.home / "config" / "config.toml"
        config = re.sub(
            r'^timeout_commit = ".*"', 'timeout_commit = "20ms"', config_path.read_text(), flags=re.MULTILINE
        )
        config_path.write_text(config)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it needs its signer within three seconds."""
        self.privval.unlink(missing_ok=True)  # a killed CometBFT leaves it, and does not start over it
        self.rpc.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(binary(), "start", "--home", self.home, "--proxy_app=kvstore"),
                    *(f"--priv_validator_laddr=unix://{self.privval}", f"--rpc.laddr=unix://{self.rpc}"),
                    *("--p2p.laddr=tcp://127.0.0.1:0", "--rpc.pprof_laddr="),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def call(self, method: str, **parameters: str) -> Any:
        """An RPC's result. Raises OSError while nobody listens."""
        connection = _UnixConnection(self.rpc)
        try:
            query = "&".join(f"{name}={value}" for name, value in parameters.items())
            connection.request("GET", f"/{method}?{query}")
            return json.loads(connection.getresponse().read())["result"]
        finally:
            connection.close()

    def height(self) -> int:
        """The height of the last block; 0 while it does not answer."""
        try:
            return int(self.call("status")["sync_info"]["latest_block_height"])
        except (OSError, http.client.HTTPException, KeyError):
            return 0

    def wait_height(self, height: int, seconds: float = DEADLINE) -> None:
        """Until the chain is so high; fails with the end of the log."""
        deadline = time.monotonic() + seconds
        while self.height() < height:
            assert time.monotonic() < deadline, self.log.read_text()[-2_000:]
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it and wait."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(timeout=10)
