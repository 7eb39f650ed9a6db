"""How tests/vectors/cometbft.json was made: real CometBFT nodes with their built-in kvstore, asked over
loopback.

``python -m tests.vectors.record_cometbft PATH_OF_COMETBFT FOLDER`` runs one validator, then four, whose set
is changed with kvstore's ``val=`` transactions and of which one is stopped, and writes down what /commit and
/validators answer. The files differ in every run (keys, times); the tests judge any of them.
"""

import base64
import json
import re
import shutil
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Final

PORT: Final = 41_600
WAIT_SECONDS: Final = 60.0
VERSION: Final = "0.39.4"


class Net:
    """Some validators on loopback."""

    def __init__(self, program: str, folder: Path, count: int, port: int) -> None:
        self.program, self.folder, self.count, self.port = program, folder, count, port
        command = [program, "testnet", "--v", str(count), "--o", str(folder)]
        names = [f"--hostname=v{n}" for n in range(count)]
        subprocess.run([*command, *names], check=True, capture_output=True)
        for n in range(count):
            self._configure(n)
        self.nodes = [self._start(n) for n in range(count)]

    def ask(self, method: str, node: int = 0, **parameters: Any) -> Any:
        """The result of a call of the RPC."""
        query = urllib.parse.urlencode(parameters)
        url = f"http://127.0.0.1:{self.port + 10 * node}/{method}?{query}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.loads(answer.read())["result"]

    def wait(self, height: int) -> None:
        """Until there is a block at ``height``."""
        end = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < end:
            try:
                if int(self.ask("status")["sync_info"]["latest_block_height"]) >= height:
                    return
            except OSError:  # not listening yet
                pass
            time.sleep(0.05)
        raise TimeoutError(height)

    def change(self, public_key: str, power: int) -> int:
        """Order a change of one validator's power; the height of its block."""
        order = f'"val=ed25519!{public_key}!{power}"'
        answer = self.ask("broadcast_tx_commit", tx=order)
        if answer["tx_result"]["code"]:
            raise ValueError(answer)
        return int(answer["height"])

    def keys(self) -> list[str]:
        """The validators' public keys, by node."""
        return [
            json.loads((self.folder / f"node{n}/config/priv_validator_key.json").read_text())["pub_key"][
                "value"
            ]
            for n in range(self.count)
        ]

    def stop(self, node: int) -> None:
        """End one node."""
        self.nodes[node].terminate()
        self.nodes[node].wait(WAIT_SECONDS)

    def close(self) -> None:
        """End all."""
        for node in range(self.count):
            self.stop(node)

    def taken(self, what: str, height: int) -> dict[str, Any]:
        """What the RPC says of a height."""
        self.wait(height)
        validators = self.ask("validators", height=height, per_page=100)["validators"]
        return {
            "what": what,
            "commit": self.ask("commit", height=height)["signed_header"],
            "validators": validators,
        }

    def _configure(self, n: int) -> None:
        path = self.folder / f"node{n}/config/config.toml"
        text = path.read_text()
        for other in range(self.count):
            text = text.replace(f"v{other}:26656", f"127.0.0.1:{self.port + 10 * other + 1}")
        text = text.replace("tcp://0.0.0.0:26656", f"tcp://127.0.0.1:{self.port + 10 * n + 1}")
        text = text.replace("tcp://0.0.0.0:26657", f"tcp://127.0.0.1:{self.port + 10 * n}")
        text = text.replace("tcp://127.0.0.1:26657", f"tcp://127.0.0.1:{self.port + 10 * n}")
        text = text.replace('proxy_app = "tcp://127.0.0.1:26658"', 'proxy_app = "kvstore"')
        text = text.replace('timeout_commit = "1s"', 'timeout_commit = "100ms"')
        text = re.sub(r"^(allow_duplicate_ip|addr_book_strict) = .*", r"\1 = LOOSE", text, flags=re.MULTILINE)
        text = text.replace("allow_duplicate_ip = LOOSE", "allow_duplicate_ip = true")
        text = text.replace("addr_book_strict = LOOSE", "addr_book_strict = false")
        path.write_text(text)

    def _start(self, n: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [self.program, "start", "--home", str(self.folder / f"node{n}")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def one(program: str, folder: Path) -> dict[str, Any]:
    """A chain with one validator."""
    net = Net(program, folder / "one", 1, PORT)
    try:
        taken = [net.taken("the first header, which has no block before it", 1)]
        taken += [net.taken("an ordinary header", height) for height in (2, 5)]
        return {"name": "one validator", "heights": taken}
    finally:
        net.close()


def four(program: str, folder: Path) -> dict[str, Any]:
    """A chain with four validators, a change of power, a removal, an addition, and one that went away."""
    net = Net(program, folder / "four", 4, PORT + 100)
    try:
        keys = net.keys()
        taken = [net.taken("the first header", 1), net.taken("an ordinary header", 3)]
        newcomer = base64.b64encode(
            bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
        )
        for what, key, power in (
            ("weighing one anew", keys[1], 3),
            ("adding one that never votes", newcomer.decode(), 1),
            ("removing it", newcomer.decode(), 0),
        ):
            at = net.change(key, power)
            taken.append(net.taken(f"{what}: the header that hands over", at + 1))
            taken.append(net.taken(f"{what}: the first header of the new set", at + 2))
        net.stop(3)
        last = int(net.ask("status")["sync_info"]["latest_block_height"])
        taken.append(net.taken("after one validator was stopped", last + 3))
        return {"name": "four validators", "heights": taken}
    finally:
        net.close()


def main(program: str, folder: Path) -> None:
    """Record both runs."""
    runs = [one(program, folder), four(program, folder)]
    shutil.rmtree(folder)
    content = {"cometbft": VERSION, "runs": runs}
    path = Path(__file__).parent / "cometbft.json"
    path.write_text(json.dumps(content, indent=1) + "\n")
    print(f"{path.name}: {sum(len(run['heights']) for run in runs)} signed headers")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
