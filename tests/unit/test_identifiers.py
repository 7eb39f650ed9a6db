"""Check digits against published identifiers: each holds, and with any other digit it does not."""

from contracts.identifiers import is_isin, is_lei

ISINS = ("US0378331005", "AU0000XVGZA3", "AU0000VXGZA3", "GB0002634946", "US38259P5089", "DE000BAY0017")
"""Apple; Treasury Corporation of Victoria, twice, since Luhn's formula does not see two letters exchanged;
BAE Systems; Google; Bayer.
"""
LEIS = ("5493001KJTIIGC8Y1R12", "506700GE1G29325QX363", "54930084UKLVMY22DS16")
"""Bloomberg Finance; the GLEIF itself; G.E. Financing GmbH."""


def test_published_isins_hold_and_no_other_check_digit_does() -> None:
    for isin in ISINS:
        assert [digit for digit in "0123456789" if is_isin(isin[:11] + digit)] == [isin[11]]


def test_published_leis_hold_and_no_other_check_digits_do() -> None:
    for lei in LEIS:
        held = [number for number in range(2, 99) if is_lei(f"{lei[:18]}{number:02}")]
        assert held == [int(lei[18:])]


def test_every_single_wrong_digit_is_noticed() -> None:
    tried = 0
    for check, known in ((is_isin, ISINS), (is_lei, LEIS)):
        for text in known:
            for at, character in enumerate(text):
                for other in "0123456789" if character.isdigit() else "":
                    tried += other != character
                    assert check(text[:at] + other + text[at + 1 :]) == (other == character)
    print(f"{tried} wrong digits")
    assert tried == 756
