"""A small filesystem of its own, to fill up: a tmpfs, for whoever may mount one."""

import subprocess
from pathlib import Path
from typing import Final

MIB: Final = 1 << 20


class SmallDisk:
    """A tmpfs of a size that changes, with a ballast file that takes what it is told to."""

    def __init__(self, path: Path, mib: int) -> None:
        self.path = path
        path.mkdir(exist_ok=True)
        self._run("mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(path))

    def resize(self, mib: int) -> None:
        self._run("mount", "-o", f"remount,size={mib}m", str(self.path))

    def fill(self, *, leave_mib: int) -> None:
        """Take all room but this."""
        free = int(subprocess.check_output(["stat", "-f", "-c", "%a %S", self.path]).split()[0]) * 4096
        with (self.path / "ballast").open("ab") as file:
            for _ in range(max(0, free - leave_mib * MIB) // MIB):
                file.write(bytes(MIB))

    def free(self) -> None:
        """Give the ballast's room back."""
        (self.path / "ballast").unlink()

    def close(self) -> None:
        self._run("umount", "-l", str(self.path))

    def _run(self, *command: str) -> None:
        subprocess.run(command, check=True, capture_output=True)
