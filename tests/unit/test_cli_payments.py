"""Files of payments: read strictly, and request ids on disk before their payments are sent."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from node.cli.payments import BadPayments, _read_requests, _signed, read_payments

HEADER = "source,destination,asset,amount,end_to_end_id,purpose"


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join([HEADER, *lines]) + "\n", encoding="utf-8")
    return path


def test_a_file_is_read_with_either_separator(tmp_path: Path) -> None:
    comma = read_payments(write(tmp_path / "a.csv", "PA/1,AB/2,CZK,1.00,id,SIPO"))
    semicolon = tmp_path / "b.csv"
    semicolon.write_text(HEADER.replace(",", ";") + "\nPA/1;AB/2;CZK;1.00;id;SIPO\n", encoding="utf-8")
    assert read_payments(semicolon) == comma
    assert (comma[0].line, comma[0].amount) == (2, "1.00")


@pytest.mark.parametrize("lines", [[], ["PA/1,AB/2,CZK,1.00,id"], ['PA/1,"AB/2,CZK,1.00,id,SIPO']])
def test_a_file_that_is_no_list_of_payments_is_refused(lines: list[str], tmp_path: Path) -> None:
    with pytest.raises(BadPayments):
        read_payments(write(tmp_path / "a.csv", *lines))


def test_columns_in_another_order_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "destination,source,asset,amount,end_to_end_id,purpose\nAB/2,PA/1,CZK,1,x,y\n"
    )
    with pytest.raises(BadPayments):
        read_payments(tmp_path / "a.csv")


def signing_with_the_id() -> Any:
    """A client whose signed bytes are the request id."""

    def sign(*_: Any, request_id: bytes) -> Any:
        return SimpleNamespace(raw=request_id)

    return SimpleNamespace(sign=sign)


def test_a_second_run_finds_every_id_and_only_a_changed_line_gets_a_new_one(tmp_path: Path) -> None:
    session: Any = SimpleNamespace(member="PA", signers=[])
    path, requests = tmp_path / "a.csv", tmp_path / "a.csv.requests"
    lines = [f"PA/1,AB/2,CZK,1.00,id-{n},SIPO" for n in range(1_500)]

    def run() -> list[bytes]:
        payments = read_payments(write(path, *lines))
        known = _read_requests(requests) if requests.exists() else {}
        with requests.open("a", encoding="ascii") as side:
            raws: list[bytes] = []
            for raw in _signed(session, signing_with_the_id(), side, payments, [100] * len(payments), known):
                assert raw.hex() in requests.read_text(), "on disk before it is sent"
                raws.append(raw)
        return raws

    first = run()
    assert len(set(first)) == 1_500
    assert run() == first
    lines[7] = lines[7].replace("1.00", "2.00")
    third = run()
    assert [n for n in range(1_500) if third[n] != first[n]] == [7]
    with requests.open("a", encoding="ascii") as side:
        side.write("9;torn")
    assert run() == third
