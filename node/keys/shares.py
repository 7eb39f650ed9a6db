"""A key's backup in n shares, of which any k restore it and k - 1 tell nothing (SLIP-39).

A share is 33 words for a custodian, with a checksum that tells a wrong word; a digest inside the split tells
a wrong combination. A share file (JSON) carries the words and which key they belong to; the words alone also
restore, on paper. Shares are secrets: they are not encrypted again, so that no passphrase has to be
remembered for years.

    {"version": 1, "algorithm": "ed25519", "public_key": hex, "label": text, "share": 2, "shares": 5,
     "threshold": 3, "words": "..."}
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta
from shamir_mnemonic import MnemonicError, combine_mnemonics, generate_mnemonics
from shamir_mnemonic import Share as SlipShare

from node.keys.keystore import LABEL_CHARACTERS_MAX, KeystoreError, told_by_system, write_whole
from node.keys.signer import SIGNERS, SoftwareSigner, from_secret
from node.keys.verify import VERIFIERS
from node.ledger.hashing import SUITES
from node.ledger.ports import Check

SHARES_MAX: Final = 16
SHARE_BYTES_MAX: Final = 4 * 1024
WORDS_BYTES_MAX: Final = 512
CHALLENGE: Final = b"vostro/drill/1\0"


class SharesRefused(KeystoreError):
    """The shares do not restore the key: too few, of different backups, a wrong word, another key."""

    code = "SHARES_REFUSED"


class Share(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One custodian's part."""

    version: Literal[1]
    algorithm: Annotated[str, Meta(min_length=1, max_length=16)]
    public_key: Annotated[str, Meta(pattern=r"\A([0-9a-f]{2}){32,33}\Z")]
    label: Annotated[str, Meta(max_length=LABEL_CHARACTERS_MAX)]
    share: Annotated[int, Meta(ge=1, le=SHARES_MAX)]
    shares: Annotated[int, Meta(ge=1, le=SHARES_MAX)]
    threshold: Annotated[int, Meta(ge=1, le=SHARES_MAX)]
    words: Annotated[str, Meta(max_length=WORDS_BYTES_MAX)]

    def __repr__(self) -> str:
        """Without the words."""
        return f"Share({self.public_key}, {self.share} of {self.shares})"


def split(signer: SoftwareSigner, threshold: int, shares: int, *, label: str = "") -> tuple[Share, ...]:
    """Shares of the signer's secret, checked to restore it before they are given. Raises: SharesRefused."""
    if not 1 < threshold <= shares <= SHARES_MAX:
        raise SharesRefused(f"a backup has 2 to {SHARES_MAX} shares, and at least 2 of them restore it")
    (mnemonics,) = generate_mnemonics(1, [(threshold, shares)], signer.secret())
    made = tuple(
        Share(1, signer.algorithm, signer.public_key.hex(), label, number, shares, threshold, words)
        for number, words in enumerate(mnemonics, 1)
    )
    restore([share.words for share in made], signer.algorithm, signer.public_key)
    return made


def restore(words: Sequence[str], algorithm: str, public_key: bytes | None) -> SoftwareSigner:
    """The signer that shares restore. public_key: what it must be, where it is known. Where more shares are
    given than are needed, every one of them must lead to the same key.

    Raises: SharesRefused.
    """
    if algorithm not in SIGNERS:
        raise SharesRefused(f"there is no algorithm {algorithm}; there are {', '.join(SIGNERS)}")
    shares = [" ".join(share.lower().split()) for share in words]
    try:
        secrets = {combine_mnemonics(some) for some in _each_enough(shares)}
        if len(secrets) != 1:
            raise SharesRefused("the shares do not all lead to the same key")
        signer = from_secret(algorithm, secrets.pop())
    except MnemonicError as error:  # names counts and checksums, never words
        raise SharesRefused(f"the shares do not restore a key: {_reason(error)}") from None
    except ValueError:
        raise SharesRefused("the shares restore something that is no key of this algorithm") from None
    if public_key is not None and signer.public_key != public_key:
        raise SharesRefused("the shares restore a key, but not the one that was named")
    return signer


def needed(words: str) -> int:
    """How many shares restore, by the words of one. Raises: SharesRefused."""
    try:
        return int(SlipShare.from_mnemonic(" ".join(words.lower().split())).member_threshold)
    except MnemonicError as error:
        raise SharesRefused(f"this is no share: {_reason(error)}") from None


def drill(words: Sequence[str], algorithm: str, public_key: bytes) -> None:
    """Prove in memory that the shares restore the key of ``public_key`` and that it signs; nothing is kept.

    Raises: SharesRefused.
    """
    signer = restore(words, algorithm, public_key)
    message = CHALLENGE + public_key
    suite = next(suite for suite in SUITES.values() if algorithm in suite.algorithms)
    check = Check(algorithm, public_key, message, signer.sign(message))
    if not all(VERIFIERS[suite.name]().verify([check])):
        raise SharesRefused("the restored key does not sign")


def save_share(path: Path, share: Share) -> None:
    """Write a share file, 0600, whole. Raises: KeyFileExists, KeyFileInaccessible, KeyFileMissing."""
    data = msgspec.json.format(msgspec.json.encode(share), indent=2) + b"\n"
    with told_by_system(path):
        write_whole(path, data, overwrite=False)


def load_share(path: Path) -> Share:
    """A share file's content. Raises: SharesRefused, KeyFileMissing, KeyFileInaccessible."""
    with told_by_system(path), path.open("rb") as file:
        data = file.read(SHARE_BYTES_MAX + 1)
    try:
        if len(data) > SHARE_BYTES_MAX:
            raise ValueError("too large")
        return msgspec.json.decode(data, type=Share)
    except (ValueError, RecursionError):
        raise SharesRefused(f"{path}: not a share file of this version") from None


def _each_enough(shares: Sequence[str]) -> list[list[str]]:
    """Just enough shares to restore, again and again, so that every share is in one of the lists. Raises
    MnemonicError.
    """
    if not shares:
        raise MnemonicError("The list of mnemonics is empty.")
    enough = SlipShare.from_mnemonic(shares[0]).member_threshold
    if len(shares) <= enough:
        return [list(shares)]
    return [[shares[(start + step) % len(shares)] for step in range(enough)] for start in range(len(shares))]


def _reason(error: MnemonicError) -> str:
    """Why, in words that never quote the share: the library's texts may name its first words."""
    text = str(error).lower()
    if "checksum" in text:
        return "a word is wrong in one of them"
    if "word" in text and "invalid" in text:
        return "a word is none of the list"
    if "length" in text:
        return "one of them has too few or too many words"
    if "digest" in text:
        return "they do not belong together"
    return "too few of them, the same one twice, or of different backups"
