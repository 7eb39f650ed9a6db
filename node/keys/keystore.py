"""Key files: a signer's secret, encrypted under a passphrase, one JSON file a key, in the manner of EIP-2335.

    {"version": 1, "algorithm": "ed25519", "public_key": hex, "key_id": hex, "label": text,
     "created": RFC 3339 in UTC, informative,
     "kdf": {"function": "scrypt", "n": 131072, "r": 8, "p": 1, "salt": hex},
     "cipher": {"function": "aes-256-gcm", "nonce": hex}, "ciphertext": hex}

Hex is lower case. The encryption key is scrypt(passphrase, salt, n, r, p), 32 bytes (RFC 7914). The
ciphertext is AES-256-GCM of the 32-byte secret (the seed of RFC 8032, or the big-endian scalar) with its
16-byte tag behind it. A key of the algorithm sm2 is encrypted by SM4-GCM (RFC 8998) instead, under the 16
bytes that scrypt derives when asked for as many; its file says "sm4-gcm" wherever "aes-256-gcm" stands here.
Everything but the ciphertext is authenticated as its associated data:

    "vostro/keyfile/1" || 0x00 || encoding of [version, algorithm, public_key, key_id, label, created,
                                               "scrypt", n, r, p, salt, "aes-256-gcm", nonce]

where the encoding is the ledger's (formats.md, "Encoding"), text is str, and what is hex in the file is bin
here.

What always holds: a file is written whole or not at all, readable by its owner only, and replaces another
only when asked to; the cost that a file names is checked before any work is done for it; no message of an
error holds a secret.
"""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from msgspec import Meta

from node.keys.signer import SIGNERS, Sm2Signer, SoftwareSigner, from_secret
from node.keys.sm4 import KEY_BYTES as SM4_KEY_BYTES
from node.keys.sm4 import Sm4Gcm
from node.ledger.codec import encode

VERSION: Final = 1
KEY_FILE_SUFFIX: Final = ".json"
KEY_FILE_BYTES_MAX: Final = 16 * 1024
KEY_FILES_MAX: Final = 10_000
PASSPHRASE_BYTES_MAX: Final = 1_024
LABEL_CHARACTERS_MAX: Final = 64
LABEL_PATTERN: Final = r"\A[^\x00-\x1f\x7f-\x9f]*\Z"
KEY_BYTES: Final = 32
SALT_BYTES: Final = 32
NONCE_BYTES: Final = 12
OWNER_ONLY: Final = 0o600
OTHERS: Final = 0o077

COST_DEFAULT: Final = 2**17
"""scrypt's n: with r = 8 and p = 1 some 0.4 s and 128 MiB a guess."""
COST_MIN: Final = 2**14
COST_MAX: Final = 2**20
BLOCK_SIZE_MIN: Final = 8
BLOCK_SIZE_DEFAULT: Final = 8
PARALLEL_DEFAULT: Final = 1
MEMORY_BYTES_MAX: Final = 2**30
"""scrypt takes 128 * n * r bytes; with the least r, this is COST_MAX."""
WORK_MAX: Final = 2**24
"""Bound of n * r * p: sixteen times the default."""

_CONTEXT: Final = b"vostro/keyfile/1\0"


class KeystoreError(Exception):
    """Something about a key file or passphrase that a person has to put right. ``code`` is permanent; the
    text says what to do.
    """

    code = "KEYSTORE"


class KeyFileMissing(KeystoreError):
    """There is no such file."""

    code = "KEY_FILE_MISSING"


class KeyFileExists(KeystoreError):
    """A file of that name is there and must not be replaced."""

    code = "KEY_FILE_EXISTS"


class KeyFileInaccessible(KeystoreError):
    """The operating system refuses to read or write."""

    code = "KEY_FILE_INACCESSIBLE"


class KeyFileMalformed(KeystoreError):
    """The file is no key file of a version that this program knows."""

    code = "KEY_FILE_MALFORMED"


class LabelRefused(KeystoreError):
    """The label is too long or holds a control character."""

    code = "LABEL_REFUSED"


class CostRefused(KeystoreError):
    """scrypt's cost is too low to protect a key, or so high that reading the file would be an attack."""

    code = "KEY_FILE_COST_REFUSED"


class PassphraseRefused(KeystoreError):
    """The passphrase does not open the file, or is none."""

    code = "PASSPHRASE_REFUSED"


class PassphraseExposed(KeystoreError):
    """Others than its owner can read the passphrase file."""

    code = "PASSPHRASE_EXPOSED"


class _Kdf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    function: Literal["scrypt"]
    n: Annotated[int, Meta(ge=1, le=2**32)]
    r: Annotated[int, Meta(ge=1, le=2**16)]
    p: Annotated[int, Meta(ge=1, le=2**16)]
    salt: Annotated[str, Meta(pattern=r"\A([0-9a-f]{2}){16,64}\Z")]


class _Cipher(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    function: Literal["aes-256-gcm", "sm4-gcm"]
    nonce: Annotated[str, Meta(pattern=r"\A[0-9a-f]{24}\Z")]


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: Literal[1]
    algorithm: Annotated[str, Meta(min_length=1, max_length=16)]
    public_key: Annotated[str, Meta(pattern=r"\A([0-9a-f]{2}){32,33}\Z")]
    key_id: Annotated[str, Meta(pattern=r"\A[0-9a-f]{32}\Z")]
    label: Annotated[str, Meta(max_length=LABEL_CHARACTERS_MAX, pattern=LABEL_PATTERN)]
    created: Annotated[str, Meta(pattern=r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z\Z")]
    kdf: _Kdf
    cipher: _Cipher
    ciphertext: Annotated[str, Meta(pattern=r"\A[0-9a-f]{96}\Z")]


_read_document: Final = msgspec.json.Decoder(_Document).decode


class KeyMetadata(NamedTuple):
    """What a key file says without its passphrase. Not authenticated before the file is opened."""

    path: Path
    algorithm: str
    public_key: bytes
    key_id: bytes
    label: str
    created: str


class Listing(NamedTuple):
    """The key files of a directory, by path, and what is wrong with the files that are none."""

    keys: tuple[KeyMetadata, ...]
    refused: tuple[KeystoreError, ...]


def save_signer(
    path: Path,
    signer: SoftwareSigner,
    passphrase: bytes,
    *,
    label: str = "",
    cost: int = COST_DEFAULT,
    overwrite: bool = False,
    created: str = "",
) -> KeyMetadata:
    """Write a signer's secret to ``path``, encrypted.

    label: for people; up to 64 characters, none of them a control character. cost: scrypt's n, a power of
    two. created: when the key was made, where the file is written anew; empty: now.
    Raises: KeyFileExists, KeyFileInaccessible, LabelRefused, CostRefused, PassphraseRefused.
    """
    with told_by_system(path):
        if path.exists() and not overwrite:
            raise _exists(path)
    if len(label) > LABEL_CHARACTERS_MAX or not re.search(LABEL_PATTERN, label):
        raise LabelRefused(
            f"a label has at most {LABEL_CHARACTERS_MAX} characters, none of them a control character"
        )
    _check_passphrase(passphrase)
    document = _Document(
        version=VERSION,
        algorithm=signer.algorithm,
        public_key=signer.public_key.hex(),
        key_id=signer.key_id.hex(),
        label=label,
        created=created or datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        kdf=_Kdf("scrypt", cost, BLOCK_SIZE_DEFAULT, PARALLEL_DEFAULT, secrets.token_hex(SALT_BYTES)),
        cipher=_Cipher(_cipher_function(signer.algorithm), secrets.token_hex(NONCE_BYTES)),
        ciphertext="",
    )
    _check_cost(path, document.kdf)
    cipher = _cipher(document, passphrase)
    ciphertext = cipher.encrypt(_nonce(document), signer.secret(), _associated_data(document))
    written = msgspec.structs.replace(document, ciphertext=ciphertext.hex())
    data = msgspec.json.format(msgspec.json.encode(written), indent=2) + b"\n"
    _parse(path, data)  # what cannot be read again is not written
    with told_by_system(path):
        write_whole(path, data, overwrite=overwrite)
    return _metadata(path, written)


def load_signer(path: Path, passphrase: bytes) -> SoftwareSigner:
    """The signer whose secret is in the key file.

    Raises: KeyFileMissing, KeyFileInaccessible, KeyFileMalformed, CostRefused, PassphraseRefused.
    """
    document = _read(path)
    _check_cost(path, document.kdf)
    _check_passphrase(passphrase)
    try:
        secret = _cipher(document, passphrase).decrypt(
            _nonce(document), bytes.fromhex(document.ciphertext), _associated_data(document)
        )
    except InvalidTag:
        raise PassphraseRefused(
            f"{path}: the passphrase is not this file's, or the file was changed: try the passphrase again, "
            "else restore the file from a backup"
        ) from None
    return _signer(path, document, secret)


def change_passphrase(path: Path, old: bytes, new: bytes, *, cost: int = COST_DEFAULT) -> KeyMetadata:
    """Encrypt a key file anew, at the cost of today, and replace it whole; label and date stay. Copies of the
    old file still open with the old passphrase.

    Raises: what load_signer and save_signer raise.
    """
    signer, before = load_signer(path, old), read_metadata(path)
    return save_signer(
        path, signer, new, label=before.label, cost=cost, overwrite=True, created=before.created
    )


def relabel(path: Path, passphrase: bytes, label: str, *, cost: int = COST_DEFAULT) -> KeyMetadata:
    """Give a key file another label. It is authenticated, so the passphrase is needed.

    Raises: what load_signer and save_signer raise.
    """
    signer, before = load_signer(path, passphrase), read_metadata(path)
    return save_signer(
        path, signer, passphrase, label=label, cost=cost, overwrite=True, created=before.created
    )


def list_keys(directory: Path) -> Listing:
    """What the key files (``*.json``) of a directory say, without a passphrase.

    Raises: KeyFileMissing where there is no such directory, KeyFileInaccessible.
    """
    with told_by_system(directory):
        paths = sorted(path for path in directory.iterdir() if path.suffix == KEY_FILE_SUFFIX)
    if len(paths) > KEY_FILES_MAX:
        raise KeyFileInaccessible(f"{directory}: more than {KEY_FILES_MAX} files: keep keys apart")
    keys: list[KeyMetadata] = []
    refused: list[KeystoreError] = []
    for path in paths:
        try:
            keys.append(_metadata(path, _read(path)))
        except KeystoreError as error:
            refused.append(error)
    return Listing(tuple(keys), tuple(refused))


def read_metadata(path: Path) -> KeyMetadata:
    """What a key file says without a passphrase.

    Raises: KeyFileMissing, KeyFileInaccessible, KeyFileMalformed.
    """
    return _metadata(path, _read(path))


def read_passphrase(path: Path) -> bytes:
    """The content of a passphrase file without one newline at its end.

    Raises: KeyFileMissing, KeyFileInaccessible, PassphraseExposed, PassphraseRefused (empty or too long).
    """
    with told_by_system(path), path.open("rb") as file:
        if os.fstat(file.fileno()).st_mode & OTHERS:
            raise PassphraseExposed(f"{path}: others than its owner can read it: run chmod 600 {path}")
        passphrase = file.read(PASSPHRASE_BYTES_MAX + 2).removesuffix(b"\n")
    _check_passphrase(passphrase)
    return passphrase


def _signer(path: Path, document: _Document, secret: bytes) -> SoftwareSigner:
    """The signer, if it is the one that the file names: authentic is what the writer wrote, true or not."""
    with suppress(ValueError):  # 32 bytes that are no scalar
        signer = from_secret(document.algorithm, secret)
        if (signer.public_key.hex(), signer.key_id.hex()) == (document.public_key, document.key_id):
            return signer
    raise KeyFileMalformed(f"{path}: the secret inside is not that of the public key: restore the file")


def _read(path: Path) -> _Document:
    with told_by_system(path), path.open("rb") as file:
        data = file.read(KEY_FILE_BYTES_MAX + 1)
    return _parse(path, data)


def _parse(path: Path, data: bytes) -> _Document:
    if len(data) > KEY_FILE_BYTES_MAX:
        raise KeyFileMalformed(f"{path}: larger than a key file can be")
    try:
        document = _read_document(data)
    except (ValueError, RecursionError) as error:
        place = str(error).rpartition(" - at ")[2] if " - at " in str(error) else "the document"
        # Not the reason: it quotes what stands there, which may be a secret in the wrong place.
        raise KeyFileMalformed(f"{path}: not a key file of version {VERSION}: look at {place}") from None
    if document.algorithm not in SIGNERS:
        raise KeyFileMalformed(f"{path}: a key of an algorithm that this program cannot sign with")
    if document.cipher.function != _cipher_function(document.algorithm):
        raise KeyFileMalformed(f"{path}: {document.algorithm} keys are encrypted by another cipher")
    return document


def _metadata(path: Path, document: _Document) -> KeyMetadata:
    public_key, key_id = bytes.fromhex(document.public_key), bytes.fromhex(document.key_id)
    return KeyMetadata(path, document.algorithm, public_key, key_id, document.label, document.created)


def _check_cost(path: Path, kdf: _Kdf) -> None:
    if kdf.n < COST_MIN or kdf.r < BLOCK_SIZE_MIN:
        raise CostRefused(f"{path}: scrypt's cost is too low: n is at least {COST_MIN}, r {BLOCK_SIZE_MIN}")
    if kdf.n & (kdf.n - 1):
        raise CostRefused(f"{path}: scrypt's n is a power of two")
    memory = 128 * kdf.n * kdf.r
    if memory > MEMORY_BYTES_MAX or kdf.n * kdf.r * kdf.p > WORK_MAX:
        raise CostRefused(f"{path}: scrypt's cost is absurd: n is at most {COST_MAX} with r 8 and p 1")


def _check_passphrase(passphrase: bytes) -> None:
    if not 0 < len(passphrase) <= PASSPHRASE_BYTES_MAX:
        raise PassphraseRefused(f"a passphrase has 1 to {PASSPHRASE_BYTES_MAX} bytes: give another")


def _cipher_function(algorithm: str) -> Literal["aes-256-gcm", "sm4-gcm"]:
    return "sm4-gcm" if algorithm == Sm2Signer.algorithm else "aes-256-gcm"


def _cipher(document: _Document, passphrase: bytes) -> AESGCM | Sm4Gcm:
    kdf = document.kdf
    of_guomi = document.cipher.function == "sm4-gcm"
    size = SM4_KEY_BYTES if of_guomi else KEY_BYTES
    key = Scrypt(bytes.fromhex(kdf.salt), size, kdf.n, kdf.r, kdf.p).derive(passphrase)
    return Sm4Gcm(key) if of_guomi else AESGCM(key)


def _nonce(document: _Document) -> bytes:
    return bytes.fromhex(document.cipher.nonce)


def _associated_data(document: _Document) -> bytes:
    """What the tag protects besides the secret; see the module's docstring."""
    kdf, cipher = document.kdf, document.cipher
    return _CONTEXT + encode((
        document.version,
        document.algorithm,
        bytes.fromhex(document.public_key),
        bytes.fromhex(document.key_id),
        document.label,
        document.created,
        kdf.function,
        kdf.n,
        kdf.r,
        kdf.p,
        bytes.fromhex(kdf.salt),
        cipher.function,
        bytes.fromhex(cipher.nonce),
    ))  # fmt: skip


def write_whole(path: Path, data: bytes, *, overwrite: bool, mode: int = OWNER_ONLY) -> None:
    """A file that only its owner reads, unless ``mode`` says else, durable under its name, or absent: through
    a file beside it that is renamed, or linked where nothing may be replaced.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            beside.replace(path)
        else:
            os.link(beside, path)  # unlike a rename, this refuses a name that is taken
    finally:
        with suppress(FileNotFoundError):
            beside.unlink()
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextmanager
def told_by_system(path: Path) -> Iterator[None]:
    """The operating system's refusals as ours, with what to do."""
    try:
        yield
    except FileExistsError:
        raise _exists(path) from None
    except FileNotFoundError:
        raise KeyFileMissing(f"{path}: no such file or directory: check the path") from None
    except OSError as error:
        raise KeyFileInaccessible(f"{path}: {error.strerror}: check the path and its permissions") from None


def _exists(path: Path) -> KeyFileExists:
    return KeyFileExists(f"{path}: is there already: choose another name, or ask to overwrite it")
