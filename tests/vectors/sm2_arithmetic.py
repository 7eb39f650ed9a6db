"""SM2 written out from GB/T 32918 in plain integers, and GmSSL (gmssl-pyx) as a third opinion: what the
product's SM2 is held against. Imports nothing of the product but what names a key.

``FixedNonceSigner`` draws its nonce from key and message, so that golden files can be made again byte by
byte. It is slow and leaks its secret through time: only for tests.
"""

import hashlib
from typing import Final

import gmssl_pyx
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from node.ledger.hashing import GUOMI, key_id

P: Final = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
A: Final = P - 3
B: Final = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
N: Final = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
G: Final = (
    0x32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7,
    0xBC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0,
)
IDENTITY: Final = b"1234567812345678"

Point = tuple[int, int]


def add(one: Point | None, other: Point | None) -> Point | None:
    """The sum of two points; None is the point at infinity."""
    if one is None or other is None:
        return one or other
    (x1, y1), (x2, y2) = one, other
    if x1 == x2 and (y1 + y2) % P == 0:
        return None
    slope = (3 * x1 * x1 + A) * pow(2 * y1, -1, P) if one == other else (y2 - y1) * pow(x2 - x1, -1, P)
    x = (slope * slope - x1 - x2) % P
    return x, (slope * (x1 - x) - y1) % P


def multiply(times: int, point: Point | None) -> Point | None:
    """A multiple of a point."""
    total = None
    while times:
        if times & 1:
            total = add(total, point)
        point = add(point, point)
        times >>= 1
    return total


def find_y(x: int) -> int | None:
    """A y of the curve for this x, if there is one."""
    square = (x**3 + A * x + B) % P
    y = pow(square, (P + 1) // 4, P)
    return y if y * y % P == square else None


def compress(point: Point) -> bytes:
    """02 or 03, then x: 33 bytes."""
    return bytes([2 + (point[1] & 1)]) + point[0].to_bytes(32, "big")


def expand(public_key: bytes) -> Point:
    """The point of a compressed key. Raises: ValueError."""
    x = int.from_bytes(public_key[1:], "big")
    y = find_y(x)
    if len(public_key) != 33 or public_key[0] not in (2, 3) or y is None or x >= P:
        raise ValueError("no compressed point")
    return x, y if y & 1 == public_key[0] & 1 else P - y


def to_32(number: int) -> bytes:
    """Big-endian."""
    return number.to_bytes(32, "big")


def sm3(data: bytes) -> bytes:
    """GmSSL's SM3."""
    digest: bytes = gmssl_pyx.sm3_hash(data)
    return digest


def public_of(secret: int) -> Point:
    """The point of a private key."""
    point = multiply(secret, G)
    assert point is not None
    return point


def message_hash(public: Point, message: bytes, identity: bytes = IDENTITY) -> int:
    """e = SM3(Z || M), where Z ties identity, curve and key (GB/T 32918.2, 5.5 and 6.1)."""
    parts = (len(identity) * 8).to_bytes(2, "big") + identity
    parts += b"".join([to_32(number) for number in (A, B, *G, *public)])
    return int.from_bytes(sm3(sm3(parts) + message), "big")


def sign_with(secret: int, nonce: int, message: bytes, identity: bytes = IDENTITY) -> tuple[int, int]:
    """r and s (GB/T 32918.2, 6.1)."""
    point = multiply(nonce, G)
    assert point is not None
    r = (message_hash(public_of(secret), message, identity) + point[0]) % N
    s = pow(1 + secret, -1, N) * (nonce - r * secret) % N
    assert r
    assert s
    assert r + nonce != N
    return r, s


def verifies(public: Point, message: bytes, r: int, s: int, identity: bytes = IDENTITY) -> bool:
    """Whether r and s are a signature (GB/T 32918.2, 7.1)."""
    t = (r + s) % N
    if not (0 < r < N and 0 < s < N and t):
        return False
    point = add(multiply(s, G), multiply(t, public))
    return point is not None and (message_hash(public, message, identity) + point[0]) % N == r


def joined(r: int, s: int) -> bytes:
    """r || s: 64 bytes."""
    return to_32(r) + to_32(s)


def split(signature: bytes) -> tuple[int, int]:
    """r and s of 64 bytes."""
    return int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")


def gmssl_verifies(public_key: bytes, message: bytes, signature: bytes, identity: bytes = IDENTITY) -> bool:
    """What GmSSL says of 64 bytes under a compressed key."""
    x, y = expand(public_key)
    der = encode_dss_signature(*split(signature))
    return bool(gmssl_pyx.sm2_verify(to_32(x) + to_32(y), message, der, identity))


class FixedNonceSigner:
    """An SM2 signer that signs a message always alike."""

    algorithm = "sm2"

    def __init__(self, secret: bytes) -> None:
        self._number = int.from_bytes(secret, "big")
        self.public_key = compress(public_of(self._number))
        self.key_id = key_id(GUOMI, self.algorithm, self.public_key)

    def sign(self, message: bytes) -> bytes:
        """r || s."""
        nonce = 1 + int.from_bytes(hashlib.sha512(self.secret() + message).digest(), "big") % (N - 1)
        return joined(*sign_with(self._number, nonce, message))

    def secret(self) -> bytes:
        """The scalar, 32 bytes."""
        return to_32(self._number)
