"""SM2 of the operating system's OpenSSL, called through ctypes: the few functions of libcrypto's EVP
interface that a signature takes (docs/adr/0016).

The package ``cryptography`` has SM3 and SM4 but no SM2, so the system's libcrypto, 3.0 or newer, does it.
Signatures are in DER here, as OpenSSL has them; sm2.py alone calls this file and gives them their form.

What always holds: the library is loaded once a process; calls release the interpreter's lock, and a key may
be used by several threads, since each call has a context of its own; a call that failed for want of memory
raises MemoryError and is never an answer about a signature; the thread's queue of OpenSSL errors is empty
again when a function returns, because Python's own ssl and hashlib read the same queue.
"""

import ctypes
import ctypes.util
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint, c_ulong, c_void_p
from functools import cache
from typing import Any, Final

from node.keys.unsound import UnsoundLibrary

SONAME: Final = "libcrypto.so.3"
VERSION_MIN: Final = 0x30000000
"""OpenSSL 3.0.0, as OpenSSL_version_num() tells it."""
SM2_CURVE: Final = 1172
"""NID_sm2, OpenSSL's number of the curve sm2p256v1."""
COMPRESSED: Final = 2
"""POINT_CONVERSION_COMPRESSED."""
POINT_BYTES: Final = 33
DER_BYTES_MAX: Final = 72
"""A sequence of two integers of 32 bytes, each with a zero in front."""
CIPHER_BYTES_MAX: Final = 1_024
"""Of what is encrypted or decrypted: a document's key, never a document."""

_OK: Final = 1
_REASON_MASK: Final = 0x7FFFFF
_OUT_OF_MEMORY: Final = 0xC0100
"""ERR_R_MALLOC_FAILURE."""
_PUBLIC: Final = 0x86
"""EVP_PKEY_PUBLIC_KEY of <openssl/evp.h>: parameters and public key."""
_KEY_PAIR: Final = 0x87
"""EVP_PKEY_KEYPAIR: and the private key."""
_INTEGER, _TEXT, _BYTES = 2, 4, 5
"""OSSL_PARAM_UNSIGNED_INTEGER (in the machine's order of bytes), _UTF8_STRING, _OCTET_STRING."""


class _Param(ctypes.Structure):
    """OSSL_PARAM of <openssl/core.h>."""

    _fields_ = (
        ("key", c_char_p),
        ("data_type", c_uint),
        ("data", c_void_p),
        ("data_size", c_size_t),
        ("return_size", c_size_t),
    )


_POINTER: Final = c_void_p
_SIGNATURES: Final[dict[str, tuple[Any, tuple[Any, ...]]]] = {
    "OpenSSL_version_num": (c_ulong, ()),
    "ERR_get_error": (c_ulong, ()),
    "EVP_PKEY_free": (None, (_POINTER,)),
    "EVP_PKEY_CTX_new_from_name": (_POINTER, (_POINTER, c_char_p, c_char_p)),
    "EVP_PKEY_CTX_new_from_pkey": (_POINTER, (_POINTER, _POINTER, c_char_p)),
    "EVP_PKEY_CTX_free": (None, (_POINTER,)),
    "EVP_PKEY_CTX_set1_id": (c_int, (_POINTER, c_char_p, c_int)),
    "EVP_PKEY_fromdata_init": (c_int, (_POINTER,)),
    "EVP_PKEY_fromdata": (c_int, (_POINTER, POINTER(_POINTER), c_int, POINTER(_Param))),
    "EVP_MD_CTX_new": (_POINTER, ()),
    "EVP_MD_CTX_free": (None, (_POINTER,)),
    "EVP_MD_CTX_set_pkey_ctx": (None, (_POINTER, _POINTER)),
    "EVP_DigestSignInit_ex": (c_int, (*(_POINTER,) * 2, c_char_p, _POINTER, c_char_p, _POINTER, _POINTER)),
    "EVP_DigestVerifyInit_ex": (c_int, (*(_POINTER,) * 2, c_char_p, _POINTER, c_char_p, _POINTER, _POINTER)),
    "EVP_DigestSign": (c_int, (_POINTER, c_char_p, POINTER(c_size_t), c_char_p, c_size_t)),
    "EVP_PKEY_encrypt_init": (c_int, (_POINTER,)),
    "EVP_PKEY_encrypt": (c_int, (_POINTER, c_char_p, POINTER(c_size_t), c_char_p, c_size_t)),
    "EVP_PKEY_decrypt_init": (c_int, (_POINTER,)),
    "EVP_PKEY_decrypt": (c_int, (_POINTER, c_char_p, POINTER(c_size_t), c_char_p, c_size_t)),
    "EVP_DigestVerify": (c_int, (_POINTER, c_char_p, c_size_t, c_char_p, c_size_t)),
    "BN_bin2bn": (_POINTER, (c_char_p, c_int, _POINTER)),
    "BN_clear_free": (None, (_POINTER,)),
    "EC_GROUP_new_by_curve_name": (_POINTER, (c_int,)),
    "EC_GROUP_free": (None, (_POINTER,)),
    "EC_POINT_new": (_POINTER, (_POINTER,)),
    "EC_POINT_free": (None, (_POINTER,)),
    "EC_POINT_mul": (c_int, (*(_POINTER,) * 3, *(_POINTER,) * 3)),
    "EC_POINT_point2oct": (c_size_t, (_POINTER, _POINTER, c_int, c_char_p, c_size_t, _POINTER)),
}
"""Every function that is called: what it returns and takes (OpenSSL 3.0, man section 3)."""


class Sm2Key:
    """A key of curve sm2p256v1 in libcrypto's memory, freed with this object. Made by ``public_key`` and
    ``private_key``.
    """

    __slots__ = ("__weakref__", "_handle", "_library")

    def __init__(self, handle: int) -> None:
        """handle: an EVP_PKEY that this object owns from now on."""
        self._library = library()
        self._handle = handle
        weakref.finalize(self, self._library.EVP_PKEY_free, handle).atexit = False

    def verify(self, identity: bytes, message: bytes, der: bytes) -> bool:
        """Whether the signature in DER is this key's of the message under the signer's identity. Raises:
        MemoryError.
        """
        with self._context(identity, self._library.EVP_DigestVerifyInit_ex) as context:
            answer: int = self._library.EVP_DigestVerify(context, der, len(der), message, len(message))
            if answer != _OK:
                _clear_errors(self._library)
        return answer == _OK

    def sign(self, identity: bytes, message: bytes) -> bytes:
        """A signature in DER, with a nonce from OpenSSL's generator. Raises: MemoryError, ValueError where
        the key has no private half.
        """
        der = ctypes.create_string_buffer(DER_BYTES_MAX)
        size = c_size_t(DER_BYTES_MAX)
        with self._context(identity, self._library.EVP_DigestSignInit_ex) as context:
            if self._library.EVP_DigestSign(context, der, byref(size), message, len(message)) != _OK:
                _clear_errors(self._library)
                raise ValueError("libcrypto does not sign with this key")
        return der.raw[: size.value]

    def encrypt(self, message: bytes) -> bytes:
        """What only this key's private half opens, in DER (GM/T 0009, 7.2), with chance from OpenSSL's
        generator. Raises: MemoryError, ValueError where libcrypto does not encrypt.
        """
        made = self._transformed(self._library.EVP_PKEY_encrypt_init, self._library.EVP_PKEY_encrypt, message)
        if made is None:
            raise ValueError("libcrypto does not encrypt with this key")
        return made

    def decrypt(self, der: bytes) -> bytes | None:
        """What was encrypted for this key; None for anything else. Raises: MemoryError."""
        return self._transformed(self._library.EVP_PKEY_decrypt_init, self._library.EVP_PKEY_decrypt, der)

    def _transformed(self, initialise: Any, transform: Any, data: bytes) -> bytes | None:
        """The output of an operation of EVP_PKEY; None where it fails."""
        context = self._library.EVP_PKEY_CTX_new_from_pkey(None, self._handle, None)
        out = ctypes.create_string_buffer(CIPHER_BYTES_MAX)
        size = c_size_t(CIPHER_BYTES_MAX)
        try:
            if not context:
                raise MemoryError("libcrypto gives no context")
            done = (
                len(data) <= CIPHER_BYTES_MAX
                and initialise(context) == _OK
                and transform(context, out, byref(size), data, len(data)) == _OK
            )
            _clear_errors(self._library)
            return out.raw[: size.value] if done else None
        finally:
            ctypes.memset(out, 0, CIPHER_BYTES_MAX)
            self._library.EVP_PKEY_CTX_free(context)

    @contextmanager
    def _context(self, identity: bytes, initialise: Any) -> Iterator[int]:
        """An EVP_MD_CTX ready for one SM2 operation with SM3 under the identity."""
        library = self._library
        context = library.EVP_MD_CTX_new()
        key_context = library.EVP_PKEY_CTX_new_from_pkey(None, self._handle, None)
        try:
            if not context or not key_context:
                raise MemoryError("libcrypto gives no context")
            library.EVP_MD_CTX_set_pkey_ctx(context, key_context)
            if (
                library.EVP_PKEY_CTX_set1_id(key_context, identity, len(identity)) != _OK
                or initialise(context, None, b"SM3", None, None, self._handle, None) != _OK
            ):
                _clear_errors(library)
                raise UnsoundLibrary("the system's libcrypto has SM2 keys but does not sign with SM2 and SM3")
            yield context
        finally:
            library.EVP_MD_CTX_free(context)
            library.EVP_PKEY_CTX_free(key_context)


def public_key(point: bytes) -> Sm2Key | None:
    """The key of a compressed point, 33 bytes; None where the bytes are no point of the curve. Raises:
    MemoryError, UnsoundLibrary.
    """
    return _key(_PUBLIC, [(b"group", _TEXT, b"SM2"), (b"pub", _BYTES, point)])


def private_key(scalar: bytes, point: bytes) -> Sm2Key | None:
    """The key pair of a scalar, big-endian, and its point; None where libcrypto takes them for no key.
    Raises: MemoryError, UnsoundLibrary.
    """
    number = int.from_bytes(scalar, "big").to_bytes(len(scalar), sys.byteorder)
    return _key(_KEY_PAIR, [(b"group", _TEXT, b"SM2"), (b"pub", _BYTES, point), (b"priv", _INTEGER, number)])


def multiply_base(scalar: bytes) -> bytes:
    """The base point times a secret scalar, big-endian, as a compressed point: 33 bytes. libcrypto takes a
    ladder for it, whose time does not depend on the scalar. Raises: MemoryError, ValueError for a multiple of
    the group's order.
    """
    loaded = library()
    group = loaded.EC_GROUP_new_by_curve_name(SM2_CURVE)
    point = loaded.EC_POINT_new(group) if group else None
    number = loaded.BN_bin2bn(scalar, len(scalar), None)
    out = ctypes.create_string_buffer(POINT_BYTES)
    try:
        if not point or not number:
            raise MemoryError("libcrypto gives no point")
        made = loaded.EC_POINT_mul(group, point, number, None, None, None) == _OK
        size = loaded.EC_POINT_point2oct(group, point, COMPRESSED, out, POINT_BYTES, None) if made else 0
        _clear_errors(loaded)
    finally:
        loaded.BN_clear_free(number)
        loaded.EC_POINT_free(point)
        loaded.EC_GROUP_free(group)
    if size != POINT_BYTES:
        raise ValueError("the scalar has no point")
    return out.raw


@cache
def library() -> Any:
    """The system's libcrypto, its functions typed. Raises: UnsoundLibrary where there is none of 3.0 or
    newer, or where it lacks a function.
    """
    for name in (SONAME, ctypes.util.find_library("crypto")):
        try:
            loaded: Any = ctypes.CDLL(name) if name else None
        except OSError:
            continue
        if loaded is not None:
            return _typed(loaded)
    raise UnsoundLibrary(f"the suite guomi needs OpenSSL's {SONAME}, which this system lacks: install it")


def _typed(loaded: Any) -> Any:
    try:
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(loaded, name)
            function.restype, function.argtypes = result, arguments
    except AttributeError as error:
        raise UnsoundLibrary(f"the suite guomi needs OpenSSL 3.0 or newer; this one: {error}") from None
    if loaded.OpenSSL_version_num() < VERSION_MIN:
        raise UnsoundLibrary("the suite guomi needs OpenSSL 3.0 or newer, and this system's is older")
    return loaded


def _key(selection: int, fields: list[tuple[bytes, int, bytes]]) -> Sm2Key | None:
    loaded = library()
    buffers = [ctypes.create_string_buffer(data, len(data)) for _, _, data in fields]
    parameters = (_Param * (len(fields) + 1))(
        *[
            _Param(name, kind, ctypes.addressof(buffer), len(data), 0)
            for (name, kind, data), buffer in zip(fields, buffers, strict=True)
        ]
    )  # the one behind them stays zero and ends the list
    context = loaded.EVP_PKEY_CTX_new_from_name(None, b"SM2", None)
    handle = c_void_p()
    try:
        if not context or loaded.EVP_PKEY_fromdata_init(context) != _OK:
            _clear_errors(loaded)
            raise UnsoundLibrary(
                "the system's libcrypto has no SM2 (left out when it was built, or forbidden by its "
                "configuration): install an OpenSSL 3.0 or newer with SM2"
            )
        made = loaded.EVP_PKEY_fromdata(context, byref(handle), selection, parameters) == _OK
        _clear_errors(loaded)
    finally:
        loaded.EVP_PKEY_CTX_free(context)
        for buffer in buffers:
            ctypes.memset(buffer, 0, len(buffer))
    return Sm2Key(handle.value) if made and handle.value else None


def _clear_errors(loaded: Any) -> None:
    """Empty this thread's queue of errors. Raises: MemoryError where one of them says so."""
    starved = False
    while code := loaded.ERR_get_error():
        starved = starved or code & _REASON_MASK == _OUT_OF_MEMORY
    if starved:
        raise MemoryError("libcrypto had no memory")
