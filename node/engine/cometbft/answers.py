"""What CometBFT's RPC answers about a height (/commit, /validators), read into the records of light.py.

The JSON is CometBFT's: 64-bit integers as text, hashes as hexadecimal digits, keys and signatures in base64,
times by RFC 3339 with up to nine digits behind the second. What always holds: nothing read here is believed;
light.check_signed_header judges it.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from node.engine.cometbft.light import (
    BlockId,
    CometHeader,
    SignedHeader,
    Validator,
    Vote,
    address,
    header_hash,
)

KEY_TYPE: Final = "tendermint/PubKeyEd25519"
FLAG_COMMIT: Final = 2
"""The vote is for the block. 1 is absent and 3 is for nil: neither certifies anything."""

_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z")


class AnswerRefused(ValueError):
    """An answer of the RPC that is not what it should be; the text says what is wrong."""


def read_signed_header(commit: Mapping[str, Any], validators: Sequence[Mapping[str, Any]]) -> SignedHeader:
    """A signed header, its votes for nil and absent ones left out.

    commit: ``signed_header`` of /commit. validators: all entries of /validators at the same height. Raises
    AnswerRefused.
    """
    try:
        signed = _signed_header(commit, validators)
        # The records' bounds hold for what came from outside, too.
        return msgspec.convert(msgspec.to_builtins(signed, builtin_types=(bytes,)), SignedHeader)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise AnswerRefused(f"CometBFT's answer cannot be read: {error!r}") from error


def _signed_header(commit: Mapping[str, Any], validators: Sequence[Mapping[str, Any]]) -> SignedHeader:
    header, votes = _header(commit["header"]), commit["commit"]
    named = votes["block_id"]
    if (int(votes["height"]), bytes.fromhex(named["hash"])) != (header.height, header_hash(header)):
        raise AnswerRefused("the votes are for another header")
    keys = [_validator(entry) for entry in validators]
    if len(votes["signatures"]) != len(keys):
        raise AnswerRefused(f"{len(votes['signatures'])} votes of {len(keys)} validators")
    parts = named["parts"]
    return SignedHeader(
        1,
        header,
        int(votes["round"]),
        int(parts["total"]),
        bytes.fromhex(parts["hash"]),
        tuple(keys),
        tuple(
            [
                _vote(place, vote, keys[place])
                for place, vote in enumerate(votes["signatures"])
                if vote["block_id_flag"] == FLAG_COMMIT
            ]
        ),
    )


def _header(given: Mapping[str, Any]) -> CometHeader:
    last = given["last_block_id"]
    hashes = {
        name: bytes.fromhex(given[name])
        for name in (
            *("last_commit_hash", "data_hash", "validators_hash", "next_validators_hash"),
            *("consensus_hash", "app_hash", "last_results_hash", "evidence_hash"),
        )
    }
    seconds, nanos = _time(given["time"])
    return CometHeader(
        block_protocol=int(given["version"]["block"]),
        app_protocol=int(given["version"].get("app", 0)),
        chain_id=given["chain_id"],
        height=int(given["height"]),
        seconds=seconds,
        nanos=nanos,
        last_block=BlockId(
            bytes.fromhex(last["hash"]), int(last["parts"]["total"]), bytes.fromhex(last["parts"]["hash"])
        ),
        proposer=bytes.fromhex(given["proposer_address"]),
        **hashes,
    )


def _validator(given: Mapping[str, Any]) -> Validator:
    key = given["pub_key"]
    if key["type"] != KEY_TYPE:
        raise AnswerRefused(f"a validator's key is of type {key['type']!r}")
    return Validator(base64.b64decode(key["value"], validate=True), int(given["voting_power"]))


def _vote(place: int, given: Mapping[str, Any], validator: Validator) -> Vote:
    if bytes.fromhex(given["validator_address"]) != address(validator.public_key):
        raise AnswerRefused(f"vote {place} is not that of validator {place}")
    return Vote(place, *_time(given["timestamp"]), base64.b64decode(given["signature"], validate=True))


def _time(text: str) -> tuple[int, int]:
    """(seconds since 1970, nanoseconds)."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise AnswerRefused(f"{text!r} is no time")
    moment = datetime.strptime(found[1], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()), int(
        (found[2] or "").ljust(9, "0")
    )
