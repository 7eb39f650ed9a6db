"""Amounts at the edge: strict decimal text, and never more or less than was written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.client.amounts import BadAmount, format_amount, parse_amount
from node.ledger.types import AMOUNT_MAX


@pytest.mark.parametrize(
    ("text", "decimals", "minor"),
    [
        ("2452.00", 2, 245_200),
        ("2452.5", 2, 245_250),
        ("2452", 2, 245_200),
        ("0.01", 2, 1),
        ("007.10", 2, 710),
        ("7", 0, 7),
        ("1.000000000000000001", 18, 10**18 + 1),
        ("10000000000000000.00", 2, AMOUNT_MAX),
    ],
)
def test_an_amount_is_read_to_the_last_unit(text: str, decimals: int, minor: int) -> None:
    if minor > AMOUNT_MAX:
        with pytest.raises(BadAmount):
            parse_amount(text, decimals)
    else:
        assert parse_amount(text, decimals) == minor


NO_AMOUNTS = (
    "",
    ".",
    "1.",
    ".5",
    "-1",
    "+1",
    "1e3",
    "1,000.00",
    "1 000",
    " 1",
    "1 ",
    "1\n",
    "0",
    "0.00",
    "1.005",
    "0x10",
    "1_000",
    "NaN",
    "inf",
    "10000000000000000.01",
    "9" * 19,
    "9" * 100_000,
    "1." + "0" * 100_000,
    chr(0x661) + chr(0x662),  # digits of other scripts
    chr(0xFF11),
)


@pytest.mark.parametrize("text", NO_AMOUNTS, ids=range(len(NO_AMOUNTS)))
def test_what_is_no_amount_of_two_decimals_is_refused(text: str) -> None:
    with pytest.raises(BadAmount):
        parse_amount(text, 2)


@given(minor=st.integers(1, AMOUNT_MAX), decimals=st.integers(0, 18))
def test_what_is_written_reads_back(minor: int, decimals: int) -> None:
    assert parse_amount(format_amount(minor, decimals), decimals) == minor


@pytest.mark.parametrize(
    ("minor", "decimals", "group", "text"),
    [
        (2_122_899_360, 2, ",", "21,228,993.60"),
        (2_122_899_360, 2, "", "21228993.60"),
        (-5, 2, "", "-0.05"),
        (0, 2, "", "0.00"),
        (1_234, 0, " ", "1 234"),
    ],
)
def test_an_amount_is_written_for_people(minor: int, decimals: int, group: str, text: str) -> None:
    assert format_amount(minor, decimals, group=group) == text
