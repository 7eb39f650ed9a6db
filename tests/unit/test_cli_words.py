"""The command's own words: where options may stand, what JSON holds, what a support bundle leaves out."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from node.cli.main import app, hoisted
from node.cli.members import _rule
from node.cli.output import Exit, Failure, Format, Output, hex_bytes, when
from node.cli.support import redacted
from node.client import Declined, Refused
from node.config import ConfigError


@pytest.mark.parametrize(
    ("typed", "understood"),
    [
        ("members list -o json", "-o json members list"),
        ("members list -ojson", "-ojson members list"),
        (
            "transfer send a b 1 CZK --member PA --key k1 --key=k2",
            "--member PA --key k1 --key=k2 transfer send a b 1 CZK",
        ),
        ("--node h:1 status", "--node h:1 status"),
        ("keys new x -- --key", "keys new x -- --key"),
        ("status --output", "--output status"),
        ("--member PA members policy set --rule x", "--member PA members policy set --rule x"),
    ],
)
def test_global_options_may_stand_anywhere_before_two_hyphens(typed: str, understood: str) -> None:
    assert hoisted(typed.split()) == understood.split()


def test_json_spells_bytes_as_hex_wherever_they_stand(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(Format.JSON)
    output.record("x", {"a": b"\x01\xff", "b": [b"\x02", {"c": (b"\x03", 1, None, True)}], "d": Path("p")})
    assert json.loads(capsys.readouterr().out) == {
        "a": "01ff",
        "b": ["02", {"c": ["03", 1, None, True]}],
        "d": "p",
    }


def test_a_table_shows_its_columns_and_json_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"name": "PA", "hidden": 1}]
    Output(Format.TABLE).rows("Members", {"name": "Name"}, rows)
    told = capsys.readouterr()
    assert "PA" in told.out
    assert "hidden" not in told.out
    Output(Format.JSON).rows("Members", {"name": "Name"}, rows)
    assert json.loads(capsys.readouterr().out) == rows
    Output(Format.TABLE).rows("Members", {"name": "Name"}, [])
    assert capsys.readouterr().out == "", "that there is nothing is a message, not a result"


def test_a_failure_is_a_sentence_on_stderr_and_an_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        Output(Format.JSON).fail(Failure(Exit.REFUSED, "no", code="assets/14", tx_id=b"\x01"))
    told = capsys.readouterr()
    assert (ended.value.code, told.out) == (1, "")
    assert json.loads(told.err) == {
        "error": {"exit_code": 1, "message": "no", "code": "assets/14", "tx_id": "01"}
    }


class Raised(Exception):
    """Stands for what a command raises."""


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (Refused("assets", 14), 1),
        (Declined("ledger", 13), 1),
        (Failure(Exit.USAGE, "x"), 2),
        (ConfigError("x"), 5),
        (FileNotFoundError(2, "x"), 5),
    ],
)
def test_every_kind_of_failure_has_its_exit_code(
    raised: Exception, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise raised

    monkeypatch.setattr("node.cli.keys.list_keys", fail)
    assert CliRunner().invoke(app, ["keys", "list"]).exit_code == code


def test_what_may_be_secret_is_left_out_of_a_bundle() -> None:
    assert "hunter2" not in redacted('passphrase = "hunter2"\n')
    assert redacted('sequencer_passphrase_file = "keys/x"\n').startswith("sequencer_passphrase_file =")
    assert "hunter2" not in redacted('{"event": "x", "token": "hunter2"}\n')
    assert redacted('listen = "127.0.0.1:1"\n') == 'listen = "127.0.0.1:1"\n'


def test_hex_of_the_wrong_length_or_letters_is_a_mistake_of_usage() -> None:
    assert hex_bytes("00ff", 2, "an id") == b"\x00\xff"
    for text in ("00f", "00ff00", "zz", ""):
        with pytest.raises(Failure) as caught:
            hex_bytes(text, 2, "an id")
        assert caught.value.code is Exit.USAGE


def test_a_time_is_told_in_utc_to_the_millisecond() -> None:
    assert when(1_700_000_000_007) == "2023-11-14T22:13:20.007Z"
    assert when(0) == ""


class Decimals:
    """Stands for a session that knows CZK."""

    def decimals(self, _client: object, _asset: str) -> int:
        return 2


def test_a_policy_rule_is_read_in_the_assets_own_units() -> None:
    session: Any = Decimals()
    rule = _rule(session, session, "transfers.send, CZK, 500.00, 2")
    assert (rule.contract, rule.method, rule.asset, rule.from_amount, rule.officers) == (
        "transfers",
        "send",
        "CZK",
        50_000,
        2,
    )
    assert _rule(session, session, "*.*,,0,1").from_amount == 0
    for spec in ("transfers.send", "a.b,CZK,1.005,2", "a.b,CZK,1,two", "a,b,c,d,e"):
        with pytest.raises(Failure):
            _rule(session, session, spec)


def test_the_release_is_told_without_a_node() -> None:
    told = CliRunner().invoke(app, ["--version"])
    assert (told.exit_code, told.output) == (0, f"vostro {version('vostro')}\n")
