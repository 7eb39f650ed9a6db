"""``vostro support-bundle``: what a person far away needs to help, and no secret."""

import json
import os
import platform
import sys
import zipfile
from collections import deque
from dataclasses import asdict
from importlib.metadata import distributions
from pathlib import Path
from typing import Annotated, Final

import typer

from node.cli.doctor import examine
from node.cli.output import local, told_json
from node.cli.session import Session, session_of
from node.client import ClientError
from node.config import ConfigError

LOG_LINES_MAX: Final = 5_000
SECRET_WORDS: Final = ("passphrase", "password", "secret", "token", "private")


def support_bundle(
    ctx: typer.Context,
    path: Annotated[Path, typer.Argument(help="The new zip file.")],
    log: Annotated[Path | None, typer.Option(help="The node's log file; its last 5,000 lines go in.")] = None,
) -> None:
    """Write a zip file with configuration, genesis, status, the doctor's findings, versions and the end of
    a log. It holds no secret.

    Look at it before you send it: it names members and hosts, not keys.

    Example: `vostro --config node/node.toml support-bundle bundle.zip --log node.log`
    """
    session = session_of(ctx)
    if path.exists():
        raise local(f"{path} exists already: name a new file")
    parts = {
        "configuration.toml": _configuration(session),
        "genesis.json": _genesis(session),
        "status.json": _status(session),
        "doctor.json": told_json([finding._asdict() for finding in examine(session)]),
        "versions.json": told_json(_versions()),
    }
    if log:
        with log.open(encoding="utf-8", errors="replace") as lines:
            parts["log-tail.jsonl"] = "".join(redacted(line) for line in deque(lines, LOG_LINES_MAX))
    with zipfile.ZipFile(path, "x", zipfile.ZIP_DEFLATED) as bundle:
        for name, text in parts.items():
            bundle.writestr(name, text)
    session.output.record("Bundle", {"file": str(path), "parts": list(parts), "bytes": path.stat().st_size})


def redacted(line: str) -> str:
    """A line of configuration or log; where it may carry a secret, only what stands before the value is
    left.
    """
    name, sign, _ = line.partition("=") if "=" in line else line.partition(":")
    lowered = line.lower()
    if any(word in lowered for word in SECRET_WORDS):
        return f"{name.rstrip()} {sign or '='} (left out)\n"
    return line


def _configuration(session: Session) -> str:
    if not session.has_config:
        return "# none on this machine\n"
    path = session.config_path or Path("node.toml")
    try:
        return "".join(redacted(line) for line in path.read_text(encoding="utf-8").splitlines(keepends=True))
    except OSError as error:
        return f"# {path}: {error.strerror}\n"


def _genesis(session: Session) -> str:
    """Public by its nature: names, public keys, limits."""
    try:
        return session.config.genesis.read_text(encoding="utf-8") if session.has_config else "{}"
    except (ConfigError, OSError) as error:
        return json.dumps({"unreadable": str(error)})


def _status(session: Session) -> str:
    try:
        with session.client() as client:
            return told_json(asdict(client.status()))
    except (ClientError, ConfigError, OSError) as error:
        return json.dumps({"unreachable": str(error)})


def _versions() -> dict[str, object]:
    """This machine and its software; of the environment only the names of what concerns us."""
    return {
        "python": sys.version,
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "packages": {
            found.name: found.version
            for found in sorted(distributions(), key=lambda found: found.name.lower())
        },
        "environment_names": sorted(name for name in os.environ if name.startswith("VOSTRO_")),
    }
