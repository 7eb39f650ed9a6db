"""Keys in a hardware security module, by PKCS#11: made there, used there, never out (OASIS PKCS #11 v3.0).

What always holds: only a key that the token calls sensitive and not extractable is used; every signature is
verified before it leaves, so that a token that answers with another key or wrong bytes is noticed; a PIN that
the token refused is not sent again, so that no loop locks the token.
"""

import ctypes
import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, LifoQueue
from typing import Any, ClassVar, Final, NamedTuple

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.exceptions import (
    PinExpired,
    PinIncorrect,
    PinInvalid,
    PinLenRange,
    PinLocked,
    PKCS11Error,
    SessionHandleInvalid,
    UserAlreadyLoggedIn,
)

from node.keys.keystore import KeystoreError
from node.keys.signer import SignerUnavailable
from node.keys.token_uri import TokenRefused, TokenUri
from node.keys.verify import P256_HALF_ORDER, P256_ORDER, VERIFIERS
from node.ledger.hashing import INTERNATIONAL, key_id
from node.ledger.ports import Check

SESSIONS_DEFAULT: Final = 4
SESSIONS_MAX: Final = 64
WAIT_SECONDS: Final = 10.0
"""How long a call waits for a session of the pool before it says that the token cannot sign now."""
LABEL_BYTES_MAX: Final = 32
ID_BYTES: Final = 16

_OS_LOCKING_OK: Final = 2
ED25519: Final = "ed25519"
P256: Final = "p256"
_P256_OID: Final = bytes.fromhex("06082a8648ce3d030107")
_ED25519_OID: Final = bytes.fromhex("06032b6570")
_ED25519_NAME: Final = b"\x13\x0cedwards25519"
_ALGORITHMS: Final = {_P256_OID: P256, _ED25519_OID: ED25519, _ED25519_NAME: ED25519}
_PIN_REFUSED: Final = (PinIncorrect, PinInvalid, PinLenRange, PinLocked, PinExpired)


class TokenUnavailable(KeystoreError, SignerUnavailable):
    """The token is not there or does not answer now."""

    code = "TOKEN_UNAVAILABLE"


class TokenKey(NamedTuple):
    """The public half of a key in a token."""

    label: str
    id: bytes
    algorithm: str
    public_key: bytes


class _InitializeArguments(ctypes.Structure):
    """CK_C_INITIALIZE_ARGS: no mutexes of ours, and leave to use the operating system's."""

    _fields_: ClassVar = [
        *[(name, ctypes.c_void_p) for name in ("create", "destroy", "lock", "unlock")],
        ("flags", ctypes.c_ulong),
        ("reserved", ctypes.c_void_p),
    ]


def start_library(module: Path) -> None:
    """Initialize a library, anew where it was, so that many threads may call it. python-pkcs11 initializes
    for one thread only (``C_Initialize(NULL)``), and SoftHSM then crashes under two. Every session of this
    process is lost. Raises: TokenRefused, PKCS11Error.
    """
    try:
        pkcs11.lib(str(module))
        library = ctypes.CDLL(str(module))
    except PKCS11Error as error:
        if type(error) is not PKCS11Error:
            raise
        raise TokenRefused(f"{module}: no PKCS#11 library, or it does not load") from None
    except OSError:
        raise TokenRefused(f"{module}: no PKCS#11 library, or it does not load") from None
    arguments = _InitializeArguments(flags=_OS_LOCKING_OK)
    ended, started = library.C_Finalize(None), library.C_Initialize(ctypes.byref(arguments))
    if started:
        raise TokenUnavailable(f"{module}: does not initialize for threads ({ended:#x}, {started:#x})")


class _Library:
    """A vendor's library, loaded once a process. Handles are good within one generation only: after a
    re-initialization the same numbers may name other keys.
    """

    _known: Final[dict[Path, "_Library"]] = {}
    _guard: Final = threading.Lock()

    def __init__(self, module: Path) -> None:
        self.module, self.generation, self.lock = module, 0, threading.RLock()
        self._logins: dict[str, tuple[int, Any]] = {}
        self._calls, self._idle, self._started = 0, threading.Condition(), False

    @classmethod
    def of(cls, module: Path) -> "_Library":
        """The one of this path."""
        with cls._guard:
            return cls._known.setdefault(module, cls(module))

    def token(self, uri: TokenUri) -> Any:
        """The token that the URI names. Raises: TokenRefused, PKCS11Error."""
        if not self._started:
            start_library(self.module)
            self._started = True
        if not (uri.token or uri.serial):
            raise TokenRefused("the URI names no token: add token=LABEL or serial=NUMBER")
        serial = uri.serial.encode() if uri.serial else None
        return pkcs11.lib(str(self.module)).get_token(token_label=uri.token or None, token_serial=serial)

    def reinitialize(self) -> None:
        """Make the library anew, when no call is under way: every session in this process is lost. Raises:
        PKCS11Error, TokenUnavailable.
        """
        with self._idle:
            if not self._idle.wait_for(lambda: not self._calls, WAIT_SECONDS):
                raise TokenUnavailable(f"{self.module}: calls into the library do not return")
            self.generation += 1
            self._logins.clear()
            start_library(self.module)

    @contextmanager
    def calling(self, generation: int) -> Iterator[None]:
        """A call with handles of a generation, during which the library is not made anew. Raises:
        PKCS11Error where it was.
        """
        with self._idle:
            if generation != self.generation:
                raise SessionHandleInvalid
            self._calls += 1
        try:
            yield
        finally:
            with self._idle:
                self._calls -= 1
                self._idle.notify_all()

    def open(self, uri: TokenUri, pin: bytes | None, *, write: bool = False) -> Any:
        """A session; logged in where a PIN is given. Login is the token's and shared by all sessions, so it
        has a session of its own that stays open. Raises: TokenRefused, PKCS11Error.
        """
        token = self.token(uri)
        if pin is not None:
            try:
                login = token.open(user_pin=pin.decode())
            except UserAlreadyLoggedIn:
                pass
            except UnicodeDecodeError:
                raise TokenRefused("a PIN is text") from None
            except _PIN_REFUSED as error:
                raise TokenRefused(
                    f"token {token.label} refuses the PIN ({type(error).__name__}): correct the PIN file; "
                    "too many attempts lock a token"
                ) from None
            else:
                self._logins[token.serial] = (self.generation, login)
        return token.open(rw=write)


class _Seat:
    """One session of a pool, and the key's handle in it."""

    generation = -1
    session: Any = None
    key: Any = None


class TokenSigner:
    """Signs with one key of a token, from any number of threads, through a pool of sessions.

    P-256 signatures of a token are random ones: the same message signed twice gives two signatures.
    """

    def __init__(self, uri: TokenUri, pin: bytes, *, sessions: int = SESSIONS_DEFAULT) -> None:
        """Log in and find the key. Raises: TokenRefused, TokenUnavailable."""
        if not 1 <= sessions <= SESSIONS_MAX:
            raise ValueError(f"a pool has 1 to {SESSIONS_MAX} sessions")
        self._uri, self._pin = uri, pin
        self._library = _Library.of(uri.module)
        self._refused: TokenRefused | None = None
        self._pool: LifoQueue[_Seat] = LifoQueue()
        self._verifier = VERIFIERS[INTERNATIONAL.name]()
        with _told(uri), self._library.lock:
            session = self._library.open(uri, pin)
            found = _public(session, uri)
            key = _private(session, uri)
            _check_kept(key)
        self._found = found
        first = _Seat()
        first.generation, first.session, first.key = self._library.generation, session, key
        self._pool.put(first)
        for _ in range(sessions - 1):
            self._pool.put(_Seat())

    @property
    def algorithm(self) -> str:
        """As the suite names it."""
        return self._found.algorithm

    @property
    def public_key(self) -> bytes:
        """As it is registered on the ledger."""
        return self._found.public_key

    @property
    def key_id(self) -> bytes:
        """The 16 bytes that name the public key."""
        return key_id(INTERNATIONAL, self.algorithm, self.public_key)

    def __repr__(self) -> str:
        return f"TokenSigner({self._uri})"

    def sign(self, message: bytes) -> bytes:
        """64 bytes, verified. A session that was lost is opened again, once. Raises: TokenUnavailable."""
        try:
            seat = self._pool.get(timeout=WAIT_SECONDS)
        except Empty:
            raise TokenUnavailable(f"{self._uri}: no session became free in {WAIT_SECONDS:.0f} s") from None
        try:
            with _told(self._uri):
                return self._signed_with(seat, message)
        finally:
            self._pool.put(seat)

    def _signed_with(self, seat: _Seat, message: bytes) -> bytes:
        if seat.generation == self._library.generation:
            with suppress(PKCS11Error):
                signature = self._signature(seat, message)
                if self._verifies(message, signature):
                    return signature
            with suppress(PKCS11Error), self._library.calling(seat.generation):
                seat.session.close()  # lost, or its number is another key's now
        self._renew(seat)
        signature = self._signature(seat, message)
        if not self._verifies(message, signature):
            raise TokenUnavailable(f"{self._uri}: the token's signature does not verify: do not use it")
        return signature

    def _renew(self, seat: _Seat) -> None:
        """A new session and a new login; a library made anew where that does not help. Raises: PKCS11Error,
        TokenUnavailable.
        """
        with self._library.lock:
            if self._refused:
                raise TokenUnavailable(str(self._refused))
            try:
                try:
                    session = self._library.open(self._uri, self._pin)
                    key = _private(session, self._uri)
                except PKCS11Error:
                    self._library.reinitialize()
                    session = self._library.open(self._uri, self._pin)
                    key = _private(session, self._uri)
                _check_kept(key)
            except TokenRefused as error:
                self._refused = error
                raise TokenUnavailable(str(error)) from None
            seat.generation, seat.session, seat.key = self._library.generation, session, key

    def _signature(self, seat: _Seat, message: bytes) -> bytes:
        with self._library.calling(seat.generation):
            if self.algorithm == ED25519:
                return bytes(seat.key.sign(message, mechanism=Mechanism.EDDSA))
            digest = hashlib.sha256(message).digest()
            raw = bytes(seat.key.sign(digest, mechanism=Mechanism.ECDSA))
        s = int.from_bytes(raw[32:], "big")
        return raw[:32] + (s if s <= P256_HALF_ORDER else P256_ORDER - s).to_bytes(32, "big")

    def _verifies(self, message: bytes, signature: bytes) -> bool:
        check = Check(self.algorithm, self.public_key, message, signature)
        return all(self._verifier.verify([check]))


def generate_in_token(uri: TokenUri, pin: bytes, algorithm: str) -> TokenKey:
    """Make a key pair in the token: sensitive, not extractable, for signing only. Raises: TokenRefused where
    the name is taken or the token cannot; TokenUnavailable.
    """
    if not 0 < len(uri.object.encode()) <= LABEL_BYTES_MAX:
        raise TokenRefused(f"name the new key with object=LABEL, up to {LABEL_BYTES_MAX} bytes")
    if algorithm not in {P256, ED25519}:
        raise TokenRefused(f"a token makes keys of {P256} and {ED25519}")
    kind = KeyType.EC if algorithm == P256 else KeyType.EC_EDWARDS
    mechanism = Mechanism.EC_KEY_PAIR_GEN if algorithm == P256 else Mechanism.EC_EDWARDS_KEY_PAIR_GEN
    library = _Library.of(uri.module)
    with _told(uri), library.lock:
        session = library.open(uri, pin, write=True)
        try:
            if list(session.get_objects({Attribute.LABEL: uri.object})):
                raise TokenRefused(f"{uri} is there already: choose another label")
            parameters = session.create_domain_parameters(
                kind, {Attribute.EC_PARAMS: _P256_OID if algorithm == P256 else _ED25519_OID}, local=True
            )
            parameters.generate_keypair(
                id=uri.id or hashlib.sha256(uri.object.encode()).digest()[:ID_BYTES],
                label=uri.object,
                store=True,
                mechanism=mechanism,
                public_template={Attribute.PRIVATE: False, Attribute.VERIFY: True},
                private_template={
                    Attribute.PRIVATE: True,
                    Attribute.SENSITIVE: True,
                    Attribute.EXTRACTABLE: False,
                    Attribute.SIGN: True,
                },
            )
            _check_kept(_private(session, uri))
            return _public(session, uri)
        finally:
            session.close()


def read_public(uri: TokenUri) -> TokenKey:
    """The public half of a key, without a PIN. Raises: TokenRefused, TokenUnavailable."""
    library = _Library.of(uri.module)
    with _told(uri), library.lock:
        session = library.open(uri, None)
        try:
            return _public(session, uri)
        finally:
            session.close()


def list_token_keys(uri: TokenUri) -> list[TokenKey]:
    """The public halves of a token's keys that this program could sign with, by label. Raises: TokenRefused,
    TokenUnavailable.
    """
    library = _Library.of(uri.module)
    with _told(uri), library.lock:
        session = library.open(uri, None)
        try:
            objects = list(session.get_objects({Attribute.CLASS: ObjectClass.PUBLIC_KEY}))
            return sorted(
                _described(key)
                for key in objects
                if key.key_type in {KeyType.EC, KeyType.EC_EDWARDS}
                and bytes(key[Attribute.EC_PARAMS]) in _ALGORITHMS
            )
        finally:
            session.close()


def _template(uri: TokenUri, kind: ObjectClass) -> dict[Attribute, Any]:
    template: dict[Attribute, Any] = {Attribute.CLASS: kind}
    if uri.object:
        template[Attribute.LABEL] = uri.object
    if uri.id:
        template[Attribute.ID] = uri.id
    return template


def _one(session: Any, uri: TokenUri, kind: ObjectClass) -> Any:
    if not (uri.object or uri.id):
        raise TokenRefused("the URI names no key: add object=LABEL or id=%01")
    found = list(session.get_objects(_template(uri, kind)))
    if len(found) != 1:
        what = "no such key" if not found else f"{len(found)} keys of that name: add id=..."
        raise TokenRefused(f"{uri}: {what}")
    return found[0]


def _private(session: Any, uri: TokenUri) -> Any:
    return _one(session, uri, ObjectClass.PRIVATE_KEY)


def _public(session: Any, uri: TokenUri) -> TokenKey:
    return _described(_one(session, uri, ObjectClass.PUBLIC_KEY))


def _described(key: Any) -> TokenKey:
    """The public half as the ledger has it. Raises: TokenRefused for a key of another kind."""
    algorithm = _ALGORITHMS.get(bytes(key[Attribute.EC_PARAMS]))
    point = bytes(key[Attribute.EC_POINT])
    length = 32 if algorithm == ED25519 else 65
    if len(point) == length + 2 and point[0] == 4 and point[1] == length:  # noqa: PLR2004 - OCTET STRING
        point = point[2:]
    if algorithm is None or len(point) != length:
        raise TokenRefused(f"key {key.label} is neither {P256} nor {ED25519}")
    if algorithm == P256:
        point = bytes([2 + (point[64] & 1)]) + point[1:33]
    return TokenKey(key.label, bytes(key.id), algorithm, point)


def _check_kept(key: Any) -> None:
    """Raises: TokenRefused for a key that may leave the token."""
    if not key[Attribute.SENSITIVE] or key[Attribute.EXTRACTABLE]:
        raise TokenRefused(
            f"key {key.label} may leave the token: make one that is sensitive, not extractable"
        )


@contextmanager
def _told(uri: TokenUri) -> Iterator[None]:
    """The library's refusals as ours; the PIN is in none of them."""
    try:
        yield
    except PKCS11Error as error:
        raise TokenUnavailable(
            f"{uri}: {type(error).__name__}: check that the token is there and its library works"
        ) from None
