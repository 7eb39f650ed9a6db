"""Decoders of what concerns keys: files of other programs, shares of a backup, names of keys in tokens, and
what CometBFT asks a validator's signer.
"""

import asyncio
from functools import cache
from itertools import count
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, derive_private_key
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from node.engine.cometbft.guard import Guard, SigningRefused, delimited
from node.engine.cometbft.signer import RemoteSigner, _read
from node.keys.keystore import KeystoreError
from node.keys.pkcs8 import is_encrypted, read_pkcs8, write_pkcs8
from node.keys.sealing import PIECE_BYTES, Sealer, SealRefused, opened
from node.keys.shares import load_share, needed, restore, save_share, split
from node.keys.signer import Ed25519Signer, generate
from node.keys.token_uri import parse_uri
from node.keys.wrapping import Opener, Sm2Opener, WrapRefused, X25519Opener, wrap
from node.ledger.hashing import GUOMI, INTERNATIONAL
from node.pb.cometbft.privval.v1 import privval_pb2 as wire
from tests.fuzz.storage_targets import folder
from tests.fuzz.target import Target
from tests.unit.test_remote_signer import CHAIN, vote

KEY: Final = Ed25519Signer(bytes(range(32)))
_NUMBERS: Final = count()


def private_keys() -> list[bytes]:
    """PEM and DER, encrypted and in clear."""
    key = derive_private_key(7, SECP256R1())
    plain = [
        key.private_bytes(encoding, form, NoEncryption())
        for encoding in (Encoding.PEM, Encoding.DER)
        for form in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL)
    ]
    return [*plain, write_pkcs8(KEY, b"secret")]


def run_private_key(data: bytes) -> None:
    """A file of another program is a key that signs, or refused."""
    assert is_encrypted(data) in (True, False)
    for password in (None, b""):
        try:
            signer = read_pkcs8(data, password)
        except KeystoreError:
            continue
        assert len(signer.sign(b"x")) == 64


@cache
def shares() -> tuple[bytes, ...]:
    """The files of a backup of two shares of three."""
    made = []
    for number, share in enumerate(split(KEY, 2, 3, label="drill")):
        path = folder() / f"share-{number}"
        path.unlink(missing_ok=True)
        save_share(path, share)
        made.append(path.read_bytes())
    return tuple(made)


@cache
def _second_words() -> str:
    return str(msgspec.json.decode(shares()[1])["words"])


def run_share(data: bytes) -> None:
    """A share that is read restores the key with another one, or is refused: never another key."""
    path = folder() / "share"
    path.write_bytes(data)
    try:
        share = load_share(path)
        needed(share.words)
        signer = restore([share.words, _second_words()], "ed25519", None)
    except KeystoreError:
        return
    assert signer.public_key == KEY.public_key


def run_token(data: bytes) -> None:
    """A name of a key in a token is refused, or names a library by an absolute path."""
    try:
        uri = parse_uri(data.decode(errors="surrogateescape"))
    except KeystoreError:
        return
    assert uri.module.is_absolute()
    assert str(uri)


def tokens() -> list[bytes]:
    """Names with everything in them."""
    return [
        b"pkcs11:token=vostro;object=sequencer;type=private?module-path=/usr/lib/lib.so&pin-source=file:/run/pin",
        b"pkcs11:serial=01ab;id=%00%ff?module-path=/lib.so",
    ]


def asked() -> list[bytes]:
    """Requests as CometBFT sends them, and several behind one another."""
    proposal = wire.Proposal(type=wire.SIGNED_MSG_TYPE_PROPOSAL, height=2, round=0, pol_round=-1)
    requests = [
        wire.Message(ping_request=wire.PingRequest()),
        wire.Message(pub_key_request=wire.PubKeyRequest(chain_id=CHAIN)),
        wire.Message(sign_vote_request=wire.SignVoteRequest(vote=vote(3), chain_id=CHAIN)),
        wire.Message(sign_proposal_request=wire.SignProposalRequest(proposal=proposal, chain_id=CHAIN)),
        wire.Message(sign_vote_request=wire.SignVoteRequest(vote=vote(3, block=2), chain_id=CHAIN)),
    ]
    cut = [delimited(request.SerializeToString()) for request in requests]
    return [*cut, b"".join(cut)]


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


async def _messages(data: bytes) -> list[wire.Message]:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    messages: list[wire.Message] = []
    try:
        while True:
            messages.append(await _read(reader))
    except (EOFError, SigningRefused):
        return messages


class Counted:
    """The key, and what it signed."""

    algorithm = KEY.algorithm
    public_key = KEY.public_key
    key_id = KEY.key_id

    def __init__(self) -> None:
        self.signed: list[bytes] = []

    def sign(self, message: bytes) -> bytes:
        """Sign and remember."""
        self.signed.append(message)
        return KEY.sign(message)


def run_signer(data: bytes) -> None:
    """Whatever is asked in whatever order, no position is signed twice with other content."""
    messages = _loop().run_until_complete(_messages(data))
    if not messages:
        return
    path = folder() / f"last-vote-{next(_NUMBERS)}"
    Guard.create(path, CHAIN, KEY.public_key)
    key: Any = Counted()
    remote = RemoteSigner(key, CHAIN, path, _unheard)
    try:
        positions = [_answered(remote, message) for message in messages]
    finally:
        remote.close()
        path.unlink()
    given = [position for position in positions if position]
    for position, _ in given:
        assert len({signature for at, signature in given if at == position}) == 1, position


def _answered(remote: RemoteSigner, message: wire.Message) -> tuple[tuple[Any, ...], bytes] | None:
    """(position, signature) of what was signed."""
    try:
        said = remote.answer(message)
    except SigningRefused:
        return None
    if said.HasField("signed_vote_response") and not said.signed_vote_response.HasField("error"):
        signed = said.signed_vote_response.vote
        return (signed.height, signed.round, signed.type), signed.signature
    if said.HasField("signed_proposal_response") and not said.signed_proposal_response.HasField("error"):
        proposed = said.signed_proposal_response.proposal
        return (proposed.height, proposed.round, "proposal"), proposed.signature
    return None


def _unheard(alarm: str) -> None:
    assert alarm


@cache
def documents() -> tuple[tuple[Sealer, bytes], ...]:
    """A sealed document of each suite, of two pieces."""
    made = []
    for suite in (INTERNATIONAL, GUOMI):
        sealer = Sealer(suite)
        made.append((sealer, b"".join(sealer.pieces([bytes(PIECE_BYTES + 9)]))))
    return tuple(made)


def run_sealed(data: bytes) -> None:
    """Sealed bytes open as the document that they are, or are refused."""
    for suite, (sealer, sealed) in zip((INTERNATIONAL, GUOMI), documents(), strict=True):
        try:
            content = b"".join(opened(suite, sealer.secret, sealer.document, [data[:11], data[11:]]))
        except SealRefused:
            continue
        assert (data, len(content)) == (sealed, sealer.size_bytes)


@cache
def _openers() -> tuple[tuple[Opener, bytes], ...]:
    """A private key of each algorithm, and its public half."""
    key, signer = X25519PrivateKey.generate(), generate("sm2")
    public = key.public_key().public_bytes_raw()
    return (X25519Opener(key), public), (Sm2Opener(signer.secret()), signer.public_key)


@cache
def wrapped() -> tuple[bytes, ...]:
    """A wrapped key of each algorithm."""
    return tuple(
        wrap(algorithm, public, bytes(range(48)), b"fuzz")
        for algorithm, (_, public) in zip(("x25519", "sm2"), _openers(), strict=True)
    )


def run_wrapped(data: bytes) -> None:
    """A wrapped key opens as what was wrapped, or is refused."""
    for opener, _ in _openers():
        try:
            secret = opener.unwrap(data, b"fuzz")
        except WrapRefused:
            continue
        assert secret == bytes(range(48))


TARGETS: Final = (
    Target("sealed", "bytes", lambda: [sealed for _, sealed in documents()], run_sealed, 70_000),
    Target("wrapped", "bytes", wrapped, run_wrapped, 512),
    Target("private-key", "bytes", private_keys, run_private_key, 8_192),
    Target("share", "json", shares, run_share, 8_192),
    Target("token-uri", "bytes", tokens, run_token, 1_024),
    Target("privval", "bytes", asked, run_signer, 4_096),
)
