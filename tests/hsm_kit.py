"""A real token for a test: SoftHSM, which keeps its tokens in a folder that its configuration names."""

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = b"87654321"
SO_PIN = b"12345678"
SECONDS = 20


class Hsm(NamedTuple):
    """One token. uri: of the token; add ``;object=``."""

    folder: Path
    token: str

    @property
    def pin_file(self) -> Path:
        return self.folder / "pin"

    def uri(self, label: str = "", *, pin_source: bool = False) -> str:
        """The URI of a key of this token."""
        key = f";object={label}" if label else ""
        source = f"&pin-source=file:{self.pin_file}" if pin_source else ""
        return f"pkcs11:token={self.token}{key}?module-path={MODULE}{source}"

    def remove(self) -> None:
        """Take the token away."""
        run("--delete-token", "--token", self.token)


def prepare(folder: Path) -> None:
    """Point SoftHSM, in this process and its children, at an empty folder."""
    (folder / "tokens").mkdir(parents=True)
    configuration = folder / "softhsm2.conf"
    configuration.write_text(
        f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n"
    )
    os.environ["SOFTHSM2_CONF"] = str(configuration)


def new_token(folder: Path, token: str) -> Hsm:
    """Initialize a token of this name, and write its PIN file."""
    made = Hsm(folder, token)
    if not made.pin_file.exists():
        made.pin_file.touch(mode=0o600)
        made.pin_file.write_bytes(PIN + b"\n")
    run("--init-token", "--free", "--label", token, "--so-pin", SO_PIN.decode(), "--pin", PIN.decode())
    return made


def run(*words: str) -> str:
    """SoftHSM's own tool."""
    done = subprocess.run(
        ["softhsm2-util", *words], capture_output=True, text=True, timeout=SECONDS, check=True
    )
    return done.stdout
