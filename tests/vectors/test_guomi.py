"""The suite guomi against published vectors, against GmSSL and against arithmetic written out; its golden
files against a second implementation.
"""

import hashlib
import json
import random
from itertools import product
from typing import Any

import gmssl_pyx
import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from node.keys import libcrypto, sm2
from node.keys.signer import Sm2Signer, from_secret, generate
from node.keys.sm4 import Sm4Gcm
from node.keys.verify import GuomiVerifier
from node.ledger.hashing import GUOMI
from node.ledger.ledger import Discarded
from node.ledger.ports import Check
from node.receipts import ReceiptRefused, verify_receipt_file
from tests.vectors import guomi_chain, independent, independent_receipts
from tests.vectors import sm2_arithmetic as curve
from tests.vectors.guomi_chain import FOLDER
from tests.vectors.independent_guomi import guomi, guomi_receipts

PUBLISHED: dict[str, Any] = json.loads((FOLDER / "published.json").read_bytes())
PINNED: dict[str, Any] = json.loads((FOLDER / "formats.json").read_bytes())
GENESIS = (FOLDER / "genesis.json").read_bytes()
CHECKPOINT = (FOLDER / "checkpoint.json").read_bytes()
VECTOR = {
    name: value if name == "source" else bytes.fromhex(value) for name, value in PUBLISHED["sm2"].items()
}
PUBLIC_KEY = bytes([2 + (VECTOR["public_key_y"][-1] & 1)]) + VECTOR["public_key_x"]
CHECK = Check("sm2", PUBLIC_KEY, VECTOR["message"], VECTOR["r"] + VECTOR["s"])
VERIFIER = GuomiVerifier()
R, S = curve.split(CHECK.signature)


def holds(check: Check) -> bool:
    [answer] = VERIFIER.verify([check])
    return answer


# --- published vectors ----


def test_the_published_signature_verifies_and_its_key_may_be_registered() -> None:
    assert holds(CHECK)
    assert VERIFIER.is_valid_key("sm2", PUBLIC_KEY)
    assert from_secret("sm2", VECTOR["secret"]).public_key == PUBLIC_KEY


def test_the_arithmetic_of_the_tests_comes_to_every_published_number() -> None:
    secret, public = int.from_bytes(VECTOR["secret"], "big"), curve.expand(PUBLIC_KEY)
    assert curve.to_32(public[1]) == VECTOR["public_key_y"]
    assert curve.public_of(secret) == public
    assert curve.to_32(curve.message_hash(public, VECTOR["message"])) == VECTOR["e"]
    assert curve.sign_with(secret, int.from_bytes(VECTOR["nonce"], "big"), VECTOR["message"]) == (R, S)
    assert curve.verifies(public, VECTOR["message"], R, S)


@pytest.mark.parametrize("vector", PUBLISHED["sm3"], ids=lambda vector: vector["source"])
def test_sm3_is_as_published(vector: dict[str, str]) -> None:
    assert GUOMI.digest(bytes.fromhex(vector["message"])).hex() == vector["digest"]


def test_sm4_is_as_published() -> None:
    one, gcm = (
        {name: bytes.fromhex(value) for name, value in PUBLISHED[part].items() if name != "source"}
        for part in ("sm4", "sm4_gcm")
    )
    block = Cipher(algorithms.SM4(one["key"]), modes.ECB()).encryptor()  # noqa: S305 - one block, as published
    assert block.update(one["plaintext"]) == one["ciphertext"]
    sealed = Sm4Gcm(gcm["key"]).encrypt(gcm["nonce"], gcm["plaintext"], gcm["associated_data"])
    assert sealed == gcm["ciphertext"] + gcm["tag"]
    assert Sm4Gcm(gcm["key"]).decrypt(gcm["nonce"], sealed, gcm["associated_data"]) == gcm["plaintext"]


# --- agreement with others ----


def test_signatures_of_300_random_messages_verify_both_ways_with_gmssl() -> None:
    chance = random.Random(20260725)
    agreed = 0
    for _ in range(300):
        signer = from_secret("sm2", curve.to_32(chance.randrange(1, curve.N - 1)))
        message = chance.randbytes(chance.choice((0, 1, 31, 55, 56, 64, 81, 1_000)))
        ours = signer.sign(message)
        assert curve.gmssl_verifies(signer.public_key, message, ours)
        x, y = curve.expand(signer.public_key)
        theirs = gmssl_signature(signer.secret(), curve.to_32(x) + curve.to_32(y), message)
        assert holds(Check("sm2", signer.public_key, message, theirs))
        for broken in (ours, theirs):
            bad = bytearray(broken)
            bad[chance.randrange(64)] ^= 1 << chance.randrange(8)
            assert not holds(Check("sm2", signer.public_key, message, bytes(bad)))
        agreed += 1
    print(
        f"seed 20260725: {agreed} messages signed by each side, all verified by the other; 600 broken refused"
    )


def gmssl_signature(secret: bytes, public: bytes, message: bytes) -> bytes:
    """What GmSSL signs, as r || s."""
    return curve.joined(*decode_dss_signature(gmssl_pyx.sm2_sign(secret, public, message)))


def test_sm3_of_random_bytes_agrees_with_gmssl() -> None:
    chance = random.Random(3)
    messages = [chance.randbytes(size) for size in (*range(200), 1_000, 65_536)]
    assert [GUOMI.digest(message) for message in messages] == [curve.sm3(message) for message in messages]


def test_a_signature_with_a_nonce_from_the_message_verifies_everywhere() -> None:
    signer = curve.FixedNonceSigner(bytes([9]) * 32)
    signature = signer.sign(b"message")
    assert signature == signer.sign(b"message")
    assert holds(Check("sm2", signer.public_key, b"message", signature))
    assert curve.gmssl_verifies(signer.public_key, b"message", signature)
    assert Sm2Signer(signer.secret()).key_id == signer.key_id


# --- what is refused ----


@pytest.mark.evidence(
    "GM1",
    asset="signing keys",
    threat="forged and malleable SM2 signatures",
    mitigation="one form under one identity",
)
def test_each_of_512_flipped_bits_breaks_an_sm2_signature() -> None:
    flipped = [
        CHECK._replace(
            signature=bytes(
                byte ^ (1 << bit if at == place else 0) for at, byte in enumerate(CHECK.signature)
            )
        )
        for place, bit in product(range(64), range(8))
    ]
    assert len({each.signature for each in flipped}) == 512
    assert VERIFIER.verify(flipped) == [False] * 512
    print("512 single bits flipped, 512 refused")


def test_each_of_264_flipped_bits_of_the_key_is_another_key_or_none() -> None:
    answers = []
    for place, bit in product(range(33), range(8)):
        key = bytes(byte ^ (1 << bit if at == place else 0) for at, byte in enumerate(PUBLIC_KEY))
        answers.append(holds(CHECK._replace(public_key=key)))
        x, prefixed = int.from_bytes(key[1:], "big"), key[0] in (2, 3)
        is_point = prefixed and x < curve.P and curve.find_y(x) is not None
        assert VERIFIER.is_valid_key("sm2", key) is is_point
    assert answers == [False] * 264


@pytest.mark.parametrize(
    "identity",
    [b"", b"ALICE123@YAHOO.COM", b"1234567812345679", b"123456781234567", b"12345678123456780", bytes(16)],
)
@pytest.mark.evidence(
    "GM1",
    asset="signing keys",
    threat="forged and malleable SM2 signatures",
    mitigation="one form under one identity",
)
def test_a_signature_under_another_identity_is_refused(identity: bytes) -> None:
    secret = int.from_bytes(VECTOR["secret"], "big")
    r, s = curve.sign_with(secret, 12_345, CHECK.message, identity)
    assert curve.verifies(curve.expand(PUBLIC_KEY), CHECK.message, r, s, identity)
    assert not holds(CHECK._replace(signature=curve.joined(r, s)))


def test_a_signature_without_z_is_refused() -> None:
    """e = SM3(M), which some libraries sign."""
    secret, nonce = int.from_bytes(VECTOR["secret"], "big"), 12_345
    point = curve.multiply(nonce, curve.G)
    assert point is not None
    r = (int.from_bytes(curve.sm3(CHECK.message), "big") + point[0]) % curve.N
    s = pow(1 + secret, -1, curve.N) * (nonce - r * secret) % curve.N
    assert not holds(CHECK._replace(signature=curve.joined(r, s)))


def test_a_signature_is_of_one_message_under_one_key_in_one_algorithm() -> None:
    other = generate("sm2")
    assert not holds(CHECK._replace(message=CHECK.message + b"\0"))
    assert not holds(CHECK._replace(message=b""))
    assert not holds(CHECK._replace(public_key=other.public_key))
    assert holds(CHECK._replace(public_key=other.public_key, signature=other.sign(CHECK.message)))
    negative = bytes([PUBLIC_KEY[0] ^ 1]) + PUBLIC_KEY[1:]
    assert VERIFIER.is_valid_key("sm2", negative)
    assert not holds(CHECK._replace(public_key=negative))
    for algorithm in ("", "SM2", "sm2 ", "p256", "ed25519", "rsa"):
        assert not holds(CHECK._replace(algorithm=algorithm))
    for algorithm in ("p256", "ed25519"):
        stranger = generate(algorithm)
        foreign = Check("sm2", stranger.public_key, b"m", stranger.sign(b"m"))
        assert not holds(foreign)
    assert not holds(Check("p256", generate("p256").public_key, b"m", bytes(64)))


@pytest.mark.parametrize("r", [0, 1, R, curve.N - 1, curve.N, curve.N + 1, 2**256 - 1])
@pytest.mark.parametrize("s", [0, 1, curve.N - R, curve.N - S, curve.N - 1, curve.N, curve.N + 1, 2**256 - 1])
def test_r_and_s_outside_the_range_or_of_sum_n_are_refused(r: int, s: int) -> None:
    assert not holds(CHECK._replace(signature=curve.joined(r, s)))


def der_variants() -> list[bytes]:
    """The published signature as others write it."""
    der = encode_dss_signature(R, S)
    r, s = CHECK.signature[:32], CHECK.signature[32:]
    body = der[2:]
    return [
        der,
        der[:64],
        der + bytes(2),
        b"\x30\x81" + der[1:2] + body,  # a longer length
        b"\x30\x80" + body + b"\0\0",  # BER of no stated length
        b"\x31" + der[1:],
        b"\x30\x44\x02\x20" + r + b"\x02\x20" + s,  # negative numbers
        b"\x30\x48\x02\x22\0\0" + r + b"\x02\x22\0\0" + s,  # longer numbers
        b"\0" + r + s,
        r + b"\0" + s,
        b"\0" + r + b"\0" + s,
        r + s + b"\0",
        s + r,
        r[::-1] + s[::-1],
        r,
        b"",
        CHECK.signature.hex().encode(),
    ]


@pytest.mark.evidence(
    "GM1",
    asset="signing keys",
    threat="forged and malleable SM2 signatures",
    mitigation="one form under one identity",
)
def test_no_variant_of_der_and_no_other_form_is_a_signature() -> None:
    variants = der_variants()
    answers = [holds(CHECK._replace(signature=variant)) for variant in variants]
    print(f"{len(variants)} other forms of one valid signature tried, {answers.count(False)} refused")
    assert answers == [False] * len(variants)
    assert len(variants) == 17


def test_only_the_compressed_form_of_an_sm2_key_is_a_key() -> None:
    x_and_y = VECTOR["public_key_x"] + VECTOR["public_key_y"]
    for key in (
        b"\x04" + x_and_y,
        b"\x06" + x_and_y,
        b"\x07" + x_and_y,
        x_and_y,
        b"\0",
        b"",
        bytes(33),
        PUBLIC_KEY[:-1],
        PUBLIC_KEY + b"\0",
        *(bytes([first]) + x_and_y[:32] for first in (0, 1, 4, 5, 6, 7, 0x82)),
    ):
        assert not holds(CHECK._replace(public_key=key))
        assert not VERIFIER.is_valid_key("sm2", key)


def test_an_x_off_the_curve_or_beyond_the_prime_is_no_sm2_key() -> None:
    on_curve = {x: curve.find_y(x) is not None for x in range(64)}
    assert 16 < sum(on_curve.values()) < 48
    for x, expected in on_curve.items():
        for sign in (2, 3):
            assert VERIFIER.is_valid_key("sm2", bytes([sign]) + curve.to_32(x)) is expected
            assert not VERIFIER.is_valid_key("sm2", bytes([sign]) + curve.to_32(x + curve.P))


@pytest.mark.evidence(
    "GM1",
    asset="signing keys",
    threat="forged and malleable SM2 signatures",
    mitigation="one form under one identity",
)
def test_the_one_key_under_which_every_s_verifies_is_no_key() -> None:
    """With d = n - 1 the point of s(1 + d) + r d does not depend on s; libcrypto accepts it, we do not."""
    key = curve.compress((curve.G[0], curve.P - curve.G[1]))
    assert key == sm2.NO_KEY
    public, r = curve.expand(key), 5
    for s in (1, 2, 3):
        point = curve.add(curve.multiply(s, curve.G), curve.multiply(r + s, public))
        assert point is not None
        assert point[0] == curve.public_of(r)[0]
    assert libcrypto.public_key(key) is not None
    assert not VERIFIER.is_valid_key("sm2", key)
    assert not holds(Check("sm2", key, b"message", curve.joined(r, 1)))
    with pytest.raises(ValueError, match="less two"):
        from_secret("sm2", curve.to_32(curve.N - 1))


def test_a_second_signature_with_the_same_r_takes_the_secret() -> None:
    """The only other s for this r is -s - 2 r d / (1 + d): it verifies, and it cannot be found without d."""
    secret = int.from_bytes(VECTOR["secret"], "big")
    other = (-S - 2 * R * secret * pow(1 + secret, -1, curve.N)) % curve.N
    assert other != S
    assert holds(CHECK._replace(signature=curve.joined(R, other)))
    for guess in (
        curve.N - S,
        (S + R) % curve.N,
        (curve.N - S - R) % curve.N,
        (curve.N - S - 2 * R) % curve.N,
    ):
        assert not holds(CHECK._replace(signature=curve.joined(R, guess)))


# --- the golden files ----


@pytest.mark.parametrize("name", list(guomi_chain.files()))
def test_a_golden_file_of_guomi_is_what_the_program_makes_today(name: str) -> None:
    assert (FOLDER / name).read_bytes() == guomi_chain.files()[name]


@pytest.mark.parametrize("name", ["receipt.json", "receipt_later.json"])
@pytest.mark.parametrize("trust", [GENESIS, CHECKPOINT], ids=["genesis", "checkpoint"])
def test_an_honest_receipt_of_guomi_verifies_in_both_implementations(name: str, trust: bytes) -> None:
    data = (FOLDER / name).read_bytes()
    proven = verify_receipt_file(data, trust)
    assert guomi_receipts.verify_receipt(data, trust)["tx_id"] == proven.tx_id
    assert proven.signers[0]["algorithm"] == "sm2"


def test_a_change_of_any_byte_of_a_receipt_of_guomi_is_refused_by_both() -> None:
    chance = random.Random(5)
    text = (FOLDER / "receipt.json").read_bytes()
    file = json.loads(text)
    tried = 0
    for name in ("transaction", "receipt", "leaf", "header", "app_hash"):
        good = bytes.fromhex(file[name])
        for position in range(len(good)):
            bad = bytearray(good)
            bad[position] ^= 1 << chance.randrange(8)
            data = json.dumps({**file, name: bad.hex()}).encode()
            assert code_of(data) == second_code_of(data) is not None, (name, position)
            tried += 1
    print(f"{tried} changes tried, {tried} refused by both implementations with the same code")
    assert tried > 500


def code_of(data: bytes) -> int | None:
    try:
        verify_receipt_file(data, GENESIS)
    except ReceiptRefused as refused:
        return refused.problem.code
    return None


def second_code_of(data: bytes) -> int | None:
    try:
        guomi_receipts.verify_receipt(data, GENESIS)
    except guomi_receipts.RefusedError as refused:
        return int(refused.args[0])
    return None


def test_a_reader_of_the_other_suite_finds_nothing_proven() -> None:
    data = (FOLDER / "receipt.json").read_bytes()
    with pytest.raises(independent.RefusedError):
        independent_receipts.verify_receipt(data, GENESIS)
    with pytest.raises(guomi_receipts.RefusedError):
        guomi_receipts.verify_receipt(data, (FOLDER.parent / "genesis.json").read_bytes())


def test_the_second_implementation_finds_every_hash_and_signature_of_guomi() -> None:
    pinned = {name: bytes.fromhex(value) for name, value in PINNED.items() if isinstance(value, str)}
    assert guomi.chain_id(json.loads(GENESIS)) == pinned["chain_id"]
    tx_id = guomi.tagged("vostro/tx/1", pinned["transaction"])
    assert tx_id == pinned["tx_id"]
    assert b"vostro/sign/tx/1\0" + pinned["chain_id"] + tx_id == pinned["signed_message"]
    assert guomi.tagged("vostro/signed/1", pinned["signed_transaction"]) == pinned["signed_hash"]
    assert guomi.tagged("vostro/header/1", pinned["header"]) == pinned["app_hash"]
    keys = {key["key_id"]: key for key in PINNED["keys"].values()}
    for key_id, key in keys.items():
        assert guomi.key_id(key["algorithm"], bytes.fromhex(key["public_key"])).hex() == key_id
    [[signer, signature]] = PINNED["signatures"]
    payer, sequencer = (
        bytes.fromhex(PINNED["keys"][name]["public_key"]) for name in ("PAYER/treasury", "sequencer")
    )
    assert bytes.fromhex(keys[signer]["public_key"]) == payer
    assert guomi.is_signed("sm2", payer, pinned["signed_message"], bytes.fromhex(signature))
    assert guomi.is_signed("sm2", sequencer, pinned["sequencer_message"], pinned["sequencer_signature"])
    assert not guomi.is_signed("sm2", sequencer, pinned["signed_message"], bytes.fromhex(signature))


def test_the_ledger_applies_an_sm2_transaction_that_the_second_implementation_and_gmssl_made() -> None:
    world = guomi_chain.GuomiWorld()
    arguments = (
        "PAYER",
        "Paying Bank",
        "",
        ("issuer",),
        (("sm2", guomi_chain.PAYER.public_key, "one", ("*",)),),
    )
    request_id = world.time_ms(1).to_bytes(6, "big") + bytes.fromhex("70008000") + bytes(6)
    operations = [("members", "admit", guomi.encode(arguments))]
    body = guomi.encode((1, world.chain_id[:8], "ADMIN", request_id, 0, operations))
    message = b"vostro/sign/tx/1\0" + world.chain_id + guomi.tagged("vostro/tx/1", body)
    key = guomi_chain.ADMINISTRATOR.public_key
    x, y = curve.expand(key)
    signature = gmssl_signature(guomi_chain.ADMINISTRATOR.secret(), curve.to_32(x) + curve.to_32(y), message)
    raw = guomi.encode((body, [(guomi.key_id("sm2", key), signature)]))
    stranger = hashlib.sha256(b"stranger").digest()
    forged = guomi.encode((body, [(guomi.key_id("sm2", key), from_secret("sm2", stranger).sign(message))]))
    discarded, applied = world.block(1, forged, raw).outcomes
    assert isinstance(discarded, Discarded)
    assert discarded.error.name == "BAD_SIGNATURE"
    assert not isinstance(applied, Discarded)
    assert applied.code == 0
