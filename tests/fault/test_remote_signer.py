"""A real CometBFT whose key is held by our remote signer: the chain advances, and goes on without a double
signature when the signer is killed between its record and its reply, or CometBFT is killed.
"""

import base64
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.engine.cometbft.guard import Guard, Step
from node.keys.signer import Ed25519Signer
from node.ledger.hashing import validator_address
from tests.lone_validator import Chain

CHILD = Path(__file__).with_name("signer_child.py")
SEED = bytes(range(1, 33))
WAIT = 30


class Validator:
    """A chain, its signer's child process, and what left it."""

    def __init__(self, folder: Path) -> None:
        key = Ed25519Signer(SEED)
        self.folder, self.chain = folder, Chain(folder, key.public_key)
        self.address = validator_address(key.public_key)
        self.record, self.diary = folder / "last-vote", folder / "diary"
        Guard.create(self.record, self.chain.chain, key.public_key)
        self.child: subprocess.Popen[bytes] | None = None

    def start_signer(self, kill_at: int = 0) -> "subprocess.Popen[bytes]":
        words = (self.chain.privval, self.record, self.chain.chain, SEED.hex(), self.diary, str(kill_at))
        with (self.folder / "signer.log").open("ab") as log:
            self.child = subprocess.Popen([sys.executable, CHILD, *words], stdout=log, stderr=log)
        return self.child

    def left(self) -> list[tuple[int, int, int, str, str]]:
        """What left the signer."""
        return [tuple(json.loads(line)) for line in self.diary.read_text().splitlines()]

    def stop(self) -> None:
        self.chain.stop()
        if self.child and self.child.poll() is None:
            self.child.kill()
            self.child.wait(timeout=WAIT)


@pytest.fixture
def validator() -> Iterator[Validator]:
    with tempfile.TemporaryDirectory(prefix="vostro-signer-") as folder:  # short: a socket's path is bounded
        made = Validator(Path(folder))
        try:
            yield made
        finally:
            made.stop()


def positions_signed_twice(validator: Validator) -> int:
    """Positions for which more than one content was signed."""
    contents: dict[tuple[int, int, int], set[str]] = {}
    for height, round_, step, sign_bytes, _ in validator.left():
        contents.setdefault((height, round_, step), set()).add(sign_bytes)
    return sum(len(seen) > 1 for seen in contents.values())


@pytest.mark.evidence(
    "VAL2",
    asset="validators' keys",
    threat="a signer killed while it signs",
    mitigation="put on record before it is told",
)
def test_a_chain_advances_with_a_signer_killed_between_record_and_reply(validator: Validator) -> None:
    validator.chain.start()
    kills = 0
    for step in (Step.PROPOSE, Step.PREVOTE, Step.PRECOMMIT):
        child = validator.start_signer(step)
        assert child.wait(timeout=WAIT) == -signal.SIGKILL
        kills += 1
    validator.start_signer()
    reached = validator.chain.height()
    validator.chain.wait_height(reached + 10)
    commit = validator.chain.call("commit", height=str(reached + 5))["signed_header"]["commit"]
    (signature,) = commit["signatures"]
    assert signature["validator_address"] == validator.address.hex().upper()
    given = base64.b64decode(signature["signature"]).hex()
    assert given in {row[4] for row in validator.left()}
    twice = positions_signed_twice(validator)
    print(f"signer killed {kills} times, {len(validator.left())} signatures left it, {twice} positions twice")
    assert twice == 0


def test_a_chain_goes_on_when_cometbft_is_killed_and_asks_again(validator: Validator) -> None:
    validator.start_signer()
    kills = 0
    for _ in range(3):
        validator.chain.start()
        validator.chain.wait_height(validator_height(validator) + 5)
        validator.chain.stop(signal.SIGKILL)
        kills += 1
    validator.chain.start()
    validator.chain.wait_height(validator_height(validator) + 5)
    log = (validator.folder / "signer.log").read_text()
    twice = positions_signed_twice(validator)
    print(f"CometBFT killed {kills} times, {len(validator.left())} signatures, {twice} positions twice")
    assert twice == 0
    assert "conflict" not in log


@pytest.mark.evidence(
    "VAL2",
    asset="validators' keys",
    threat="a signer killed while it signs",
    mitigation="put on record before it is told",
)
def test_a_validator_that_loses_power_after_the_record_signs_nothing_else_there(validator: Validator) -> None:
    cut = 0
    for step in (Step.PROPOSE, Step.PREVOTE, Step.PRECOMMIT):
        validator.chain.start()
        child = validator.start_signer(step)
        assert child.wait(timeout=WAIT) == -signal.SIGKILL
        validator.chain.stop(signal.SIGKILL)
        cut += 1
    validator.chain.start()
    validator.start_signer()
    validator.chain.wait_height(validator_height(validator) + 5)
    log = (validator.folder / "signer.log").read_text()
    twice = positions_signed_twice(validator)
    print(
        f"signer and CometBFT killed together {cut} times, {len(validator.left())} signatures, "
        f"{log.count('conflict')} other contents refused, {twice} positions twice"
    )
    assert twice == 0


def validator_height(validator: Validator) -> int:
    """The height of what was signed last."""
    return max((row[0] for row in validator.left()), default=0) if validator.diary.exists() else 0
