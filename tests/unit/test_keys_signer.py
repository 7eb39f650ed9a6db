"""Signers: what they make verifies, they are made again from their secret, and they never show it."""

import pickle

import pytest

from node.keys.signer import SIGNERS, from_secret, generate
from node.keys.verify import P256_HALF_ORDER, P256_ORDER, VERIFIERS
from node.ledger.hashing import INTERNATIONAL, SUITES, key_id
from node.ledger.ports import Check

SUITE_OF = {algorithm: suite for suite in SUITES.values() for algorithm in suite.algorithms}
EACH = pytest.mark.parametrize("algorithm", list(SUITE_OF))
DETERMINISTIC = pytest.mark.parametrize("algorithm", INTERNATIONAL.algorithms)


def test_there_is_a_signer_for_every_algorithm_of_every_suite() -> None:
    assert list(SIGNERS) == list(SUITE_OF)


@EACH
def test_what_a_signer_signs_verifies_under_a_key_that_may_be_registered(algorithm: str) -> None:
    verifier = VERIFIERS[SUITE_OF[algorithm].name]()
    for number in range(32):
        signer, message = generate(algorithm), b"message %d" % number
        signature = signer.sign(message)
        assert verifier.verify([Check(signer.algorithm, signer.public_key, message, signature)]) == [True]
        assert verifier.is_valid_key(algorithm, signer.public_key)
        assert signer.key_id == key_id(SUITE_OF[algorithm], algorithm, signer.public_key)


def test_p256_signatures_have_the_low_s() -> None:
    signer = generate("p256")
    values = [int.from_bytes(signer.sign(b"%d" % number)[32:], "big") for number in range(64)]
    assert all(0 < s <= P256_HALF_ORDER for s in values)


@EACH
def test_a_signer_made_again_from_its_secret_is_the_same(algorithm: str) -> None:
    signer = generate(algorithm)
    again = from_secret(algorithm, signer.secret())
    assert again.public_key == signer.public_key
    assert again.secret() == signer.secret()
    assert generate(algorithm).public_key != signer.public_key


@DETERMINISTIC
def test_signing_twice_gives_the_same_bytes(algorithm: str) -> None:
    signer = generate(algorithm)
    assert from_secret(algorithm, signer.secret()).sign(b"message") == signer.sign(b"message")


@EACH
def test_no_text_form_of_a_signer_shows_its_secret_and_it_is_not_pickled(algorithm: str) -> None:
    signer = generate(algorithm)
    secret = signer.secret()
    for text in (repr(signer), str(signer), f"{signer}", f"{[signer]}"):
        assert signer.key_id.hex() in text
        assert secret.hex() not in text
        assert repr(secret)[2:-1] not in text
        assert str(int.from_bytes(secret, "big")) not in text
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(signer)


@EACH
def test_a_secret_of_another_length_is_refused(algorithm: str) -> None:
    for length in (0, 31, 33, 64):
        with pytest.raises(ValueError, match="32 bytes"):
            from_secret(algorithm, b"\1" * length)


def test_a_scalar_outside_the_group_is_refused() -> None:
    for scalar in (0, P256_ORDER, P256_ORDER + 1, 2**256 - 1):
        with pytest.raises(ValueError, match="between 1"):
            from_secret("p256", scalar.to_bytes(32, "big"))
    assert from_secret("p256", (P256_ORDER - 1).to_bytes(32, "big")).public_key[0] in (2, 3)


def test_an_unknown_algorithm_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="ed25519, p256, sm2"):
        generate("rsa")
    with pytest.raises(ValueError, match="ed25519, p256"):
        from_secret("", bytes(32))
