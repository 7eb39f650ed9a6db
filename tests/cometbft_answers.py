"""What CometBFT's RPC would answer about signed headers that a test made: the JSON of /commit and
/validators.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from node.engine.cometbft.light import SignedHeader, address, header_hash

ABSENT = {"block_id_flag": 1, "validator_address": "", "timestamp": "0001-01-01T00:00:00Z", "signature": None}


@dataclass(frozen=True)
class Answer:
    """As rpc.Commit."""

    signed_header: Mapping[str, Any]


class RecordedRpc:
    """Implements certificates.Rpc over signed headers by height; what is not there, it has pruned."""

    def __init__(self, headers: Sequence[SignedHeader]) -> None:
        self.headers = {signed.height: signed for signed in headers}
        self.asked: list[int] = []

    async def commit(self, height: int) -> Answer:
        """The commit of a height. Raises OSError where there is none."""
        self.asked.append(height)
        return Answer(commit_of(self._require(height)))

    async def validators(self, height: int) -> Sequence[Mapping[str, Any]]:
        """The whole set that signs a height. Raises OSError where there is none."""
        return validators_of(self._require(height))

    def _require(self, height: int) -> SignedHeader:
        if height not in self.headers:
            raise OSError(f"height {height} is not available")
        return self.headers[height]


def commit_of(signed: SignedHeader) -> dict[str, Any]:
    """``signed_header`` of /commit; who did not vote is absent."""
    header = signed.header
    block_id = _block_id(header_hash(header), signed.parts_total, signed.parts_hash)
    votes = {vote.validator: vote for vote in signed.votes}
    hashes = {
        name: getattr(header, name).hex().upper()
        for name in (
            *("last_commit_hash", "data_hash", "validators_hash", "next_validators_hash"),
            *("consensus_hash", "app_hash", "last_results_hash", "evidence_hash"),
        )
    }
    return {
        "header": {
            "version": {"block": str(header.block_protocol), "app": str(header.app_protocol)},
            "chain_id": header.chain_id,
            "height": str(header.height),
            "time": _time(header.seconds, header.nanos),
            "last_block_id": _block_id(
                header.last_block.hash, header.last_block.parts_total, header.last_block.parts_hash
            ),
            **hashes,
            "proposer_address": header.proposer.hex().upper(),
        },
        "commit": {
            "height": str(header.height),
            "round": signed.round,
            "block_id": block_id,
            "signatures": [
                {
                    "block_id_flag": 2,
                    "validator_address": address(validator.public_key).hex().upper(),
                    "timestamp": _time(votes[place].seconds, votes[place].nanos),
                    "signature": base64.b64encode(votes[place].signature).decode(),
                }
                if place in votes
                else ABSENT
                for place, validator in enumerate(signed.validators)
            ],
        },
    }


def validators_of(signed: SignedHeader) -> list[dict[str, Any]]:
    """The entries of /validators."""
    return [
        {
            "address": address(one.public_key).hex().upper(),
            "pub_key": {
                "type": "tendermint/PubKeyEd25519",
                "value": base64.b64encode(one.public_key).decode(),
            },
            "voting_power": str(one.power),
            "proposer_priority": "0",
        }
        for one in signed.validators
    ]


def _block_id(hash_: bytes, total: int, parts_hash: bytes) -> dict[str, Any]:
    return {"hash": hash_.hex().upper(), "parts": {"total": total, "hash": parts_hash.hex().upper()}}


def _time(seconds: int, nanos: int) -> str:
    whole = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{nanos:09d}".rstrip("0") if nanos else ""
    return f"{whole}{fraction}Z"
