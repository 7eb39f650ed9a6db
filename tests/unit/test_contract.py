"""The SDK that contracts are written with: what it declares, decodes and refuses."""

from typing import Annotated, Any

import pytest
from msgspec import Meta

from contracts import assemble
from node.ledger import codec
from node.ledger.contract import Category, Contract, Rejected, error, method, query
from node.ledger.errors import ErrorCode, LedgerError
from node.ledger.types import Amount, Name, Record

CONTROLS = [*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0))]


class Pair(Record, frozen=True):
    """Two texts and a number."""

    first: Name
    number: Amount
    second: Name


class Deep(Record, frozen=True):
    """A text, and texts below."""

    label: Name
    pairs: Annotated[tuple[Pair, ...], Meta(max_length=3)]
    tags: Annotated[tuple[Name, ...], Meta(max_length=3)]


class Single(Record, frozen=True):
    """One text alone."""

    text: Name


class Sample(Contract):
    """Methods with texts in every place."""

    name = "sample"
    ODD = error(1, Category.INVALID, "Odd.")

    @method
    def plain(self, ctx: Any, text: Name) -> None:
        """Take a text."""

    @method
    def many(self, ctx: Any, texts: tuple[Name, ...]) -> None:
        """Take texts."""

    @method
    def record(self, ctx: Any, pair: Pair) -> None:
        """Take a record."""

    @method
    def records(self, ctx: Any, pairs: tuple[Pair, ...]) -> None:
        """Take records."""

    @method
    def single(self, ctx: Any, single: Single) -> None:
        """Take a record of one text."""

    @method
    def deep(self, ctx: Any, number: Amount, deep: tuple[Deep, ...]) -> None:
        """Take records of records."""

    @method(amount="money", asset="what", work=7)
    def weighed(self, ctx: Any, what: Name, money: Amount) -> None:
        """Take what a policy weighs.

        And say more.
        """

    @query
    def ask(self, ctx: Any) -> None:
        """Answer nothing."""


def wrap(place: str, text: str) -> tuple[Any, ...]:
    """Arguments of a method with a text in one of its places."""
    pair = ("a", 1, "b")
    return {
        "plain": ("plain", text),
        "many": ("many", ("a", text)),
        "record.first": ("record", (text, 1, "b")),
        "record.second": ("record", ("a", 1, text)),
        "records": ("records", (pair, ("a", 1, text))),
        "single": ("single", (text,)),
        "deep.label": ("deep", 1, ((text, (), ()),)),
        "deep.pairs": ("deep", 1, (("a", (pair, ("a", 1, text)), ()),)),
        "deep.tags": ("deep", 1, (("a", (), ("x", text)),)),
    }[place]


PLACES = [
    "plain", "many", "record.first", "record.second", "records", "single",
    "deep.label", "deep.pairs", "deep.tags",
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_every_control_character_is_refused_in_every_place(place: str) -> None:
    for control in CONTROLS:
        for text in (control, f"a{control}", f"ž{control}b"):
            name, *arguments = wrap(place, text)
            with pytest.raises(Rejected) as refused:
                Sample.methods[name].decode(codec.encode(arguments))
            assert refused.value.error is LedgerError.BAD_TEXT, (place, control)


@pytest.mark.parametrize("place", PLACES)
def test_every_other_character_is_admitted_in_every_place(place: str) -> None:
    for text in ("plain", " ", "~", "\xa0", "žluťoučký", "漢字", "\u2028", "😀", "a\u0301"):
        name, *arguments = wrap(place, text)
        assert codec.encode(Sample.methods[name].decode(codec.encode(arguments))) == codec.encode(arguments)


@pytest.mark.parametrize(
    "data", [b"", b"\x90", b"\x92\xa1a\xa1b", b"\xa1a", b"\x91\x01", b"\x91\xa1a\x00", b"\x91\xc0"]
)
def test_arguments_of_another_shape_are_refused(data: bytes) -> None:
    with pytest.raises(Rejected) as refused:
        Sample.methods["plain"].decode(data)
    assert refused.value.error is LedgerError.BAD_ARGUMENTS


def test_a_method_without_arguments_takes_an_empty_array_and_nothing_else() -> None:
    ask = Sample.queries["ask"]
    assert ask.decode(b"\x90") == ()
    for data in (b"", b"\x91\x00", b"\xc0", b"\x80"):
        with pytest.raises(Rejected):
            ask.decode(data)


def test_a_contract_knows_what_it_declares() -> None:
    assert list(Sample.methods) == ["plain", "many", "record", "records", "single", "deep", "weighed"]
    assert list(Sample.queries) == ["ask"]
    assert Sample.errors == (Sample.ODD,)
    weighed = Sample.methods["weighed"]
    assert (weighed.asset, weighed.amount, weighed.work) == (0, 1, 7)
    assert weighed.sentence == "Take what a policy weighs."
    assert (Sample.methods["plain"].asset, Sample.methods["plain"].amount) == (-1, -1)


def test_two_refusals_of_one_contract_cannot_share_a_code() -> None:
    with pytest.raises(TypeError, match="share a code"):

        class Twice(Contract):
            """Refuses two things with one code."""

            name = "twice"
            ONE = error(1, Category.INVALID, "One.")
            TWO = error(1, Category.INVALID, "Two.")


def test_an_amount_that_is_no_argument_cannot_be_declared() -> None:
    with pytest.raises(ValueError):

        class Wrong(Contract):
            """Names an argument that is not there."""

            name = "wrong"

            @method(amount="money")
            def pay(self, ctx: Any, amount: Amount) -> None:
                """Pay."""


def test_every_refusal_of_the_release_has_its_own_identity_and_a_sentence() -> None:
    ledger = [value for value in vars(LedgerError).values() if isinstance(value, ErrorCode)]
    every = [*ledger, *(code for contract in assemble() for code in contract.errors)]
    assert len({(code.codespace, code.code) for code in every}) == len(every) > len(ledger) + 250
    for code in every:
        assert code.sentence.endswith(".")
        assert code.codespace
        assert 0 < code.code < 2**16
        assert str(code) == f"{code.codespace}/{code.code} {code.name}"


def test_every_fact_of_the_release_is_told_under_one_name() -> None:
    names = [(contract.name, fact.__name__) for contract in assemble() for fact in contract.facts]
    assert len(set(names)) == len(names) > 20
    assert all(fact.__doc__ for contract in assemble() for fact in contract.facts)


def test_a_refusal_tells_people_its_details() -> None:
    assert str(Rejected(Sample.ODD, least=2)) == "sample/1 ODD: Odd. (least 2)"
    assert str(Rejected(Sample.ODD)) == "sample/1 ODD: Odd."
