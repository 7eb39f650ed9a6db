"""The verify-once cache: every answer was computed or told for exactly these bytes, within a bound."""

import threading
from collections.abc import Sequence

import pytest

from node.keys import verify
from node.keys.signer import generate
from node.keys.unsound import UnsoundLibrary
from node.keys.verify import UNSEEN, VERIFIERS, CachedVerifier, InternationalVerifier, verify_many
from node.ledger.hashing import SUITES
from node.ledger.ports import Check
from tests.kit import spoilt

SIGNER = generate("ed25519")


def good(number: int) -> Check:
    message = b"message %d" % number
    return Check("ed25519", SIGNER.public_key, message, SIGNER.sign(message))


def bad(number: int) -> Check:
    return good(number)._replace(message=b"another")


class Counting:
    """A real verifier that remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Check] = []
        self._inner = InternationalVerifier()

    def verify(self, checks: Sequence[Check]) -> list[bool]:
        self.asked.extend(checks)
        return self._inner.verify(checks)

    def is_valid_key(self, algorithm: str, public_key: bytes) -> bool:
        return self._inner.is_valid_key(algorithm, public_key)


def test_every_suite_has_a_verifier() -> None:
    assert set(VERIFIERS) == set(SUITES)


def test_verify_many_answers_one_byte_a_check_in_order() -> None:
    assert verify_many("international", [good(1), bad(2), good(3)]) == b"\1\0\1"
    assert verify_many("international", []) == b""
    with pytest.raises(KeyError):
        verify_many("guomi of another release", [])


def test_verify_many_can_end_at_the_first_false_one() -> None:
    checks = [good(1), bad(2), good(3), bad(4)]
    assert verify_many("international", checks, until_false=True) == bytes((1, 0, UNSEEN, UNSEEN))
    assert verify_many("international", checks[::2], until_false=True) == b"\1\1"
    assert verify_many("international", [], until_false=True) == b""


def test_a_library_that_lets_mixed_order_keys_pass_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(verify, "crypto_core_ed25519_is_valid_point", lambda _: True)
    with pytest.raises(UnsoundLibrary, match="PyNaCl"):
        InternationalVerifier()


def test_good_and_bad_signatures_are_decided_once() -> None:
    inner = Counting()
    cached = CachedVerifier(inner, 100)
    checks = [good(1), bad(2), good(3)]
    assert cached.verify(checks) == [True, False, True]
    assert cached.verify([bad(2), good(4), good(1)]) == [False, True, True]
    assert inner.asked == [*checks, good(4)]


def test_a_check_that_differs_in_any_part_is_another_question() -> None:
    inner = Counting()
    cached = CachedVerifier(inner, 100)
    check = good(1)
    assert cached.verify([check]) == [True]
    others = [
        check._replace(algorithm="p256"),
        check._replace(public_key=generate("ed25519").public_key),
        check._replace(message=check.message + b"!"),
        check._replace(signature=spoilt(check.signature)),
    ]
    assert cached.verify(others) == [False] * 4
    assert inner.asked == [check, *others]


def test_what_was_told_is_not_verified_again() -> None:
    inner = Counting()
    cached = CachedVerifier(inner, 100)
    checks = [good(1), bad(2)]
    assert [cached.known(check) for check in checks] == [None, None]
    cached.remember(checks, [True, False])
    assert [cached.known(check) for check in [*checks, good(3)]] == [True, False, None]
    assert cached.verify(checks) == [True, False]
    assert inner.asked == []


def test_answers_that_are_not_as_many_as_the_checks_are_refused() -> None:
    cached = CachedVerifier(Counting(), 100)
    with pytest.raises(ValueError, match="as many"):
        cached.remember([good(1), good(2)], [True])
    assert len(cached) == 0


def test_the_cache_is_bounded_and_keeps_the_newest_half() -> None:
    cached = CachedVerifier(Counting(), 10)
    checks = [good(number) for number in range(33)]
    for check in checks:
        assert cached.verify([check]) == [True]
        assert len(cached) <= 10
    assert all(cached.known(check) for check in checks[-5:])
    assert [cached.known(check) for check in checks[:20]] == [None] * 20
    assert cached.verify(checks) == [True] * 33  # more than it can hold, in one request
    assert len(cached) <= 10


def test_a_cache_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two"):
        CachedVerifier(Counting(), 1)


def test_the_cache_does_not_decide_about_keys() -> None:
    cached = CachedVerifier(Counting(), 10)
    assert cached.is_valid_key("ed25519", SIGNER.public_key)
    assert not cached.is_valid_key("ed25519", bytes(32))


def test_two_threads_always_get_right_answers_while_generations_change() -> None:
    cached = CachedVerifier(InternationalVerifier(), 8)
    checks = [good(number) if number % 3 else bad(number) for number in range(40)]
    expected = [number % 3 != 0 for number in range(40)]
    wrong: list[list[bool]] = []

    def ask() -> None:
        for _ in range(20):
            answers = cached.verify(checks)
            if answers != expected:
                wrong.append(answers)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(cached) <= 8
