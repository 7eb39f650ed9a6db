"""Signatures and keys against what others published: RFC 8032, RFC 6979, ZIP-215, and the groups' own
arithmetic.

Curve arithmetic for the edge cases is written out here (RFC 8032, section 5.1), so that no library under test
judges itself.
"""

import hashlib
import json
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from node.keys.signer import from_secret
from node.keys.verify import MIXED_ORDER_POINT, P256_ORDER, InternationalVerifier
from node.ledger.ports import Check

VECTORS: dict[str, list[dict[str, str]]] = json.loads((Path(__file__).parent / "signatures.json").read_text())
VERIFIER = InternationalVerifier()

# --- edwards25519, in affine coordinates ----

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)
IDENTITY = (0, 1)

Point = tuple[int, int]


def add(one: Point, other: Point) -> Point:
    (x1, y1), (x2, y2) = one, other
    cross = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + cross, -1, P) % P
    y = (y1 * y2 + x1 * x2) * pow(1 - cross, -1, P) % P
    return x, y


@cache
def multiply(times: int, point: Point) -> Point:
    total = IDENTITY
    while times:
        if times & 1:
            total = add(total, point)
        point = add(point, point)
        times >>= 1
    return total


def find_x(y: int) -> int | None:
    """The even x of a point, if there is a point with this y."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * ROOT_OF_MINUS_ONE % P
    if x * x % P != square:
        return None
    return P - x if x & 1 else x


def encode(point: Point) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def base_point() -> Point:
    y = 4 * pow(5, -1, P) % P
    x = find_x(y)
    assert x is not None
    return x, y


BASE = base_point()


def small_order_points() -> list[Point]:
    """The eight points whose order divides eight: multiples of L times any point that has a full cofactor."""
    y = 2
    while True:
        x = find_x(y)
        if x is not None:
            torsion = multiply(L, (x, y))
            points = [multiply(times, torsion) for times in range(8)]
            if len(set(points)) == 8:
                return points
        y += 1


SMALL_ORDER = small_order_points()


def small_order_encodings() -> list[bytes]:
    """The fourteen encodings that decode to them where y may be p or more and the sign of x = 0 may be
    set."""
    found = set()
    for x, y in SMALL_ORDER:
        for written_y in (y, y + P):
            for sign in (0, 1) if x == 0 else (x & 1,):
                if written_y < 2**255:
                    found.add((written_y | sign << 255).to_bytes(32, "little"))
    return sorted(found)


# --- helpers ----


def holds(algorithm: str, public_key: bytes, message: bytes, signature: bytes) -> bool:
    (answer,) = VERIFIER.verify([Check(algorithm, public_key, message, signature)])
    return answer


def vector_signature(vector: dict[str, Any]) -> bytes:
    """r || s with the low s, or the signature as printed."""
    if "signature" in vector:
        return bytes.fromhex(vector["signature"])
    s = int(vector["s"], 16)
    return bytes.fromhex(vector["r"]) + min(s, P256_ORDER - s).to_bytes(32, "big")


def check_of(algorithm: str, vector: dict[str, str]) -> Check:
    public_key, message = bytes.fromhex(vector["public_key"]), bytes.fromhex(vector["message"])
    return Check(algorithm, public_key, message, vector_signature(vector))


CHECKS = [check_of(algorithm, vector) for algorithm, vectors in VECTORS.items() for vector in vectors]
SOURCES = [vector["source"] for vectors in VECTORS.values() for vector in vectors]
ONE_OF_EACH = [CHECKS[2], CHECKS[4]]
EACH = pytest.mark.parametrize("check", ONE_OF_EACH, ids=["ed25519", "p256"])


# --- published signatures ----


@pytest.mark.parametrize("check", CHECKS, ids=SOURCES)
def test_a_published_signature_verifies_and_its_key_may_be_registered(check: Check) -> None:
    assert VERIFIER.verify([check]) == [True]
    assert VERIFIER.is_valid_key(check.algorithm, check.public_key)


@pytest.mark.parametrize(
    ("algorithm", "vector"),
    [(algorithm, vector) for algorithm, vectors in VECTORS.items() for vector in vectors],
    ids=SOURCES,
)
def test_a_signer_makes_the_published_key_and_signature(algorithm: str, vector: dict[str, str]) -> None:
    signer = from_secret(algorithm, bytes.fromhex(vector["secret"]))
    assert signer.public_key.hex() == vector["public_key"]
    assert signer.sign(bytes.fromhex(vector["message"])) == vector_signature(vector)


@EACH
@pytest.mark.evidence(
    "TX4",
    asset="signing keys",
    threat="forged and malleable signatures",
    mitigation="one rule of verification",
)
def test_each_of_512_flipped_bits_breaks_a_signature(check: Check) -> None:
    flipped = [
        check._replace(
            signature=bytes(
                byte ^ (1 << bit if at == place else 0) for at, byte in enumerate(check.signature)
            )
        )
        for place, bit in product(range(64), range(8))
    ]
    assert len({each.signature for each in flipped}) == 512
    assert VERIFIER.verify(flipped) == [False] * 512


@EACH
def test_a_signature_is_of_one_message_under_one_key(check: Check) -> None:
    other = from_secret(check.algorithm, hashlib.sha256(b"another").digest())
    assert not holds(*check._replace(message=check.message + b"\0"))
    assert not holds(*check._replace(message=b""))
    assert not holds(*check._replace(public_key=other.public_key))
    assert holds(*check._replace(public_key=other.public_key, signature=other.sign(check.message)))


@EACH
def test_bytes_of_a_wrong_shape_are_invalid_and_never_an_exception(check: Check) -> None:
    for signature in (b"", check.signature[:-1], check.signature + b"\0", bytes(64), b"\xff" * 64):
        assert not holds(*check._replace(signature=signature))
    for key in (b"", check.public_key[:-1], check.public_key + b"\0", bytes(33), b"\xff" * 32, b"\xff" * 33):
        assert not holds(*check._replace(public_key=key))
        assert not VERIFIER.is_valid_key(check.algorithm, key)


def test_an_unknown_algorithm_verifies_nothing_and_registers_nothing() -> None:
    check = CHECKS[0]
    for algorithm in ("", "sm2", "ED25519", "ed25519 ", "rsa"):
        assert not holds(*check._replace(algorithm=algorithm))
        assert not VERIFIER.is_valid_key(algorithm, check.public_key)
    assert not holds(*check._replace(algorithm="p256"))


def test_answers_come_in_the_order_of_the_checks() -> None:
    good, bad = CHECKS[0], CHECKS[0]._replace(message=b"other")
    assert VERIFIER.verify([good, bad, CHECKS[4], bad, good]) == [True, False, True, False, True]
    assert VERIFIER.verify([]) == []


# --- ed25519: ZIP-215 and registration ----


def test_all_196_pairs_of_small_order_encodings_are_valid_under_zip_215() -> None:
    encodings = small_order_encodings()
    assert len(encodings) == 14
    checks = [
        Check("ed25519", key, message, commitment + bytes(32))
        for key, commitment in product(encodings, repeat=2)
        for message in (b"Zcash", b"Vostro")
    ]
    assert len(checks) == 2 * 196
    assert all(VERIFIER.verify(checks))


@pytest.mark.evidence(
    "TX4",
    asset="signing keys",
    threat="forged and malleable signatures",
    mitigation="one rule of verification",
)
def test_none_of_the_14_small_order_encodings_may_be_registered() -> None:
    assert [key.hex() for key in small_order_encodings() if VERIFIER.is_valid_key("ed25519", key)] == []


def sign_with_torsion(scalar: int, key_torsion: Point, commitment_torsion: Point, message: bytes) -> Check:
    """What a signer does who adds points of small order to the key and to the commitment."""
    nonce = int.from_bytes(hashlib.sha512(b"nonce" + message).digest(), "little") % L
    key = encode(add(multiply(scalar, BASE), key_torsion))
    commitment = encode(add(multiply(nonce, BASE), commitment_torsion))
    challenge = int.from_bytes(hashlib.sha512(commitment + key + message).digest(), "little") % L
    return Check(
        "ed25519", key, message, commitment + ((nonce + challenge * scalar) % L).to_bytes(32, "little")
    )


def test_signatures_of_mixed_order_keys_verify_by_zip_215_and_the_keys_may_not_be_registered() -> None:
    scalar = 1 + int.from_bytes(hashlib.sha256(b"scalar").digest(), "little") % (L - 1)
    for key_torsion, commitment_torsion in product(SMALL_ORDER, repeat=2):
        check = sign_with_torsion(scalar, key_torsion, commitment_torsion, b"mixed")
        assert holds(*check), (key_torsion, commitment_torsion)
        assert not holds(*check._replace(message=b"other"))
        assert VERIFIER.is_valid_key("ed25519", check.public_key) is (key_torsion == IDENTITY)


def test_the_point_that_unmended_libsodium_accepts_is_the_base_point_plus_the_point_of_order_two() -> None:
    assert encode(add(BASE, (0, P - 1))) == MIXED_ORDER_POINT
    assert VERIFIER.is_valid_key("ed25519", encode(BASE))
    assert not VERIFIER.is_valid_key("ed25519", MIXED_ORDER_POINT)


def test_s_of_the_group_order_or_more_is_refused() -> None:
    check = CHECKS[2]
    s = int.from_bytes(check.signature[32:], "little")
    for more in range(L, 2**256 - s, L):
        assert not holds(*check._replace(signature=check.signature[:32] + (s + more).to_bytes(32, "little")))
    small = small_order_encodings()[0]
    assert not holds("ed25519", small, b"Zcash", small + L.to_bytes(32, "little"))


def test_no_encoding_with_y_of_p_or_more_may_be_registered() -> None:
    tried = [
        ((y + P) | sign << 255).to_bytes(32, "little")
        for y in range(19)
        if find_x(y) is not None
        for sign in (0, 1)
    ]
    assert len(tried) > 10
    assert [key.hex() for key in tried if VERIFIER.is_valid_key("ed25519", key)] == []


def test_a_y_without_a_point_may_not_be_registered() -> None:
    absent = [y for y in range(2, 200) if find_x(y) is None]
    assert len(absent) > 50
    assert [y for y in absent if VERIFIER.is_valid_key("ed25519", y.to_bytes(32, "little"))] == []


# --- p256 ----

P256_PRIME = 2**256 - 2**224 + 2**192 + 2**96 - 1
P256_B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
SAMPLE = CHECKS[4]
R, S = int.from_bytes(SAMPLE.signature[:32], "big"), int.from_bytes(SAMPLE.signature[32:], "big")


def p256_signature(r: int, s: int) -> Check:
    return SAMPLE._replace(signature=r.to_bytes(32, "big") + s.to_bytes(32, "big"))


@pytest.mark.evidence(
    "TX4",
    asset="signing keys",
    threat="forged and malleable signatures",
    mitigation="one rule of verification",
)
def test_the_high_s_of_a_valid_signature_is_refused() -> None:
    assert holds(*p256_signature(R, S))
    assert not holds(*p256_signature(R, P256_ORDER - S))


@pytest.mark.parametrize(
    ("r", "s"),
    [
        (0, S),
        (R, 0),
        (0, 0),
        (P256_ORDER, S),
        (R, P256_ORDER),
        (P256_ORDER + 1, S),
        (2**256 - 1, S),
        (R, 2**256 - 1),
    ],
)
def test_r_and_s_outside_the_range_are_refused(r: int, s: int) -> None:
    assert not holds(*p256_signature(r, s))


def test_r_and_s_in_more_than_32_bytes_are_refused() -> None:
    r, s = SAMPLE.signature[:32], SAMPLE.signature[32:]
    for signature in (r + b"\0" + s, b"\0" + r + s, b"\0" + r + b"\0" + s):
        assert not holds(*SAMPLE._replace(signature=signature))


@pytest.mark.evidence(
    "TX4",
    asset="signing keys",
    threat="forged and malleable signatures",
    mitigation="one rule of verification",
)
def test_a_der_signature_is_refused() -> None:
    der = encode_dss_signature(R, S)
    assert not holds(*SAMPLE._replace(signature=der))
    assert not holds(*SAMPLE._replace(signature=der[:64]))


def test_only_the_compressed_form_of_a_p256_key_is_a_key() -> None:
    x = int.from_bytes(SAMPLE.public_key[1:], "big")
    y = int("7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299", 16)
    assert (y * y - (x**3 - 3 * x + P256_B)) % P256_PRIME == 0
    x_and_y = x.to_bytes(32, "big") + y.to_bytes(32, "big")
    for key in (
        b"\x04" + x_and_y,
        b"\x07" + x_and_y,
        x_and_y,
        b"\x00",
        *(bytes([first]) + x_and_y[:32] for first in (0, 1, 4, 5, 6, 7)),
    ):
        assert not holds(*SAMPLE._replace(public_key=key))
        assert not VERIFIER.is_valid_key("p256", key)
    assert VERIFIER.is_valid_key("p256", b"\x02" + x_and_y[:32])  # the point's negative: another key
    assert not holds(*SAMPLE._replace(public_key=b"\x02" + x_and_y[:32]))


def test_an_x_off_the_curve_or_beyond_the_prime_is_no_p256_key() -> None:
    def is_square(number: int) -> bool:
        return pow(number, (P256_PRIME - 1) // 2, P256_PRIME) in (0, 1)

    on_curve = {x: is_square((x**3 - 3 * x + P256_B) % P256_PRIME) for x in range(64)}
    assert 16 < sum(on_curve.values()) < 48
    for x, expected in on_curve.items():
        assert VERIFIER.is_valid_key("p256", b"\x02" + x.to_bytes(32, "big")) is expected
        assert not VERIFIER.is_valid_key("p256", b"\x02" + (x + P256_PRIME).to_bytes(32, "big"))
