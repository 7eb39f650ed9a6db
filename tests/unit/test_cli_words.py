"""The command's own words: where options may stand, what JSON holds, what a support bundle leaves out."""

import inspect
import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from node.cli.main import app, hoisted
from node.cli.members import _rule
from node.cli.nouns import NOUNS, command_of
from node.cli.output import Exit, Failure, Format, Output, hex_bytes, when
from node.cli.support import redacted
from node.client import Declined, Refused, Unknown, Unreachable, WrongChain
from node.config import ConfigError
from node.ledger.errors import InvariantViolated


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
        (Unknown(b"\x01", "x"), 3),
        (Unreachable("x"), 3),
        (InvariantViolated("x"), 4),
        (WrongChain("x"), 5),
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


def test_the_list_of_nouns_says_of_each_how_its_own_help_begins() -> None:
    told = {noun: told for noun, (_, told) in NOUNS.items()}
    own = {noun: inspect.cleandoc(command_of(noun).help).split("\n\n")[0] for noun in NOUNS}
    assert told == {noun: begin.replace("\n", " ") for noun, begin in own.items()}
    print(f"nouns: {len(NOUNS)} in the list, each with the first paragraph of its own help")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--version", version("vostro")),
        ("--help", "support-bundle"),
        ("transfer send --help", "--uetr"),
        ("keys", "drill"),
        ("stauts", "Did you mean 'status'?"),
    ],
)
def test_what_asks_no_node_is_told_without_importing_what_speaks_to_one(words: str, told: str) -> None:
    program = "import sys; from node.cli.main import app\ntry: app()\nfinally: print(*sys.modules)"
    command = [sys.executable, "-c", program, *words.split()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert told in done.stdout + done.stderr
    imported = set(done.stdout.splitlines()[-1].split())
    assert "node.cli.nouns" in imported
    assert not {"contracts", "grpc", "node.app", "node.client"} & imported
