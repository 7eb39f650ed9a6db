"""Passphrases of commands: typed, or in a file that the environment names; no option takes either."""

from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from node.cli.main import app
from node.cli.nouns import NOUNS, command_of
from node.config import OTHER_PASSPHRASE_FILE, PASSPHRASE_FILE, other_passphrase_file, passphrase_file
from node.keys.keystore import COST_MIN, load_signer, save_signer
from node.keys.signer import generate
from tests.processes import Answer


def secret_file(path: Path, secret: bytes, mode: int = 0o600) -> Path:
    path.touch(mode=mode)
    path.chmod(mode)
    path.write_bytes(secret + b"\n")
    return path


def run(*words: str | Path, first: Path | None = None, other: Path | None = None) -> Answer:
    named = {PASSPHRASE_FILE: first, OTHER_PASSPHRASE_FILE: other}
    environment = {name: str(file) if file else None for name, file in named.items()}
    done = CliRunner().invoke(app, [str(word) for word in words], env=environment)
    return Answer(done.exit_code, done.stdout, done.stderr)


def test_the_environment_alone_names_the_files_and_an_empty_name_is_none() -> None:
    given = {"VOSTRO_PASSPHRASE_FILE": "a", "VOSTRO_OTHER_PASSPHRASE_FILE": "/b"}
    assert (passphrase_file(given), other_passphrase_file(given)) == (Path("a"), Path("/b"))
    assert (passphrase_file({}), other_passphrase_file({OTHER_PASSPHRASE_FILE: ""})) == (None, None)


@pytest.mark.evidence(
    "KEY11",
    asset="secrets",
    threat="a command line that leads to a passphrase",
    mitigation="the environment names its file",
)
def test_a_key_is_made_and_given_another_passphrase_from_files_that_the_environment_names(
    tmp_path: Path,
) -> None:
    key, out = tmp_path / "key.json", tmp_path / "out.pem"
    first, other = (
        secret_file(tmp_path / "first", b"first one"),
        secret_file(tmp_path / "other", b"other one"),
    )
    save_signer(key, signer := generate("ed25519"), b"first one", cost=COST_MIN)
    changed = run("keys", "passphrase", key, first=first, other=other)
    assert changed.code == 0, changed.err
    assert load_signer(key, b"other one").public_key == signer.public_key
    assert run("keys", "export", key, out, first=other, other=first).code == 0
    taken = run("keys", "import", out, tmp_path / "again.json", first=other, other=first)
    assert taken.code == 0, taken.err
    assert load_signer(tmp_path / "again.json", b"other one").public_key == signer.public_key
    wrong = run("keys", "label", key, "x", first=first)
    assert wrong.code == 5, "the first passphrase opens it no more"
    shared = run("keys", "label", key, "x", first=secret_file(tmp_path / "shared", b"other one", 0o644))
    assert shared.code == 5
    assert "shared" in shared.err
    nobody = run("keys", "label", key, "x")
    assert nobody.code == 2
    assert PASSPHRASE_FILE in nobody.err


def test_a_sequencers_own_key_takes_its_passphrase_files_name_from_the_environment(tmp_path: Path) -> None:
    key, secret = tmp_path / "key.json", secret_file(tmp_path / "secret", b"first one")
    save_signer(key, generate("ed25519"), b"first one", cost=COST_MIN)
    words = ("init", tmp_path / "node", "--sequencer-key", key, "--administrator-key", f"a={key}")
    refused = run(*words)
    assert refused.code == 2
    assert OTHER_PASSPHRASE_FILE in refused.err
    made = run(*words, other=secret)
    assert made.code == 0, made.err
    assert f'sequencer_passphrase_file = "{secret}"' in (tmp_path / "node" / "node.toml").read_text()


def options_of(command: Any, name: str) -> list[tuple[str, str]]:
    """(command, option) of a command and of all below it."""
    own = [
        (name, option) for each in command.params if each.param_type_name == "option" for option in each.opts
    ]
    below = getattr(command, "commands", {})
    return own + [pair for word, one in below.items() for pair in options_of(one, f"{name} {word}")]


@pytest.mark.evidence(
    "KEY11",
    asset="secrets",
    threat="a command line that leads to a passphrase",
    mitigation="no option for it",
)
def test_no_option_of_any_command_takes_a_passphrase_or_its_file() -> None:
    every = options_of(typer.main.get_command(app), "vostro")
    every += [pair for noun in NOUNS for pair in options_of(command_of(noun), f"vostro {noun}")]
    assert len(every) > 200
    named = [pair for pair in every if {"passphrase", "password", "pin"} & set(pair[1].split("-"))]
    assert named == []
    print(
        f"options of commands: {len(every)} looked at, none takes a passphrase, a PIN or the name of its file"
    )


@pytest.mark.parametrize(
    "words",
    [
        "--passphrase-file p status",
        "keys new k --passphrase-file p",
        "keys passphrase k --new-passphrase-file p",
        "keys import s k --source-passphrase-file p",
        "keys export k t --target-passphrase-file p",
        "init d --sequencer-passphrase-file p",
    ],
)
def test_an_option_of_earlier_releases_that_named_a_passphrases_file_is_refused(words: str) -> None:
    refused = run(*words.split())
    assert refused.code == 2
    assert "No such option" in refused.err
