"""``vostro vault get`` writes what it opened where it was told, and nowhere else."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from node.cli import vault
from node.cli.output import Failure


@pytest.fixture
def got(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, Callable[[], object]], None]:
    """Get a document to a path; the second argument runs while it comes in."""

    def get(path: Path, meanwhile: Callable[[], object]) -> None:
        def content(*_: Any) -> Iterator[bytes]:
            yield b"in "
            meanwhile()
            yield b"clear"

        session = SimpleNamespace(client=nullcontext, output=SimpleNamespace(record=lambda *_: None))
        monkeypatch.setattr(vault, "session_of", lambda _: session)
        monkeypatch.setattr(vault, "_content", content)
        ctx: Any = None
        vault.get(ctx, "00" * 32, path, path)

    return get


def test_a_link_that_lies_in_wait_is_not_written_through(
    tmp_path: Path, got: Callable[[Path, Callable[[], object]], None]
) -> None:
    victim, path = tmp_path / "victim", tmp_path / "terms.pdf"
    victim.write_bytes(b"another's")
    (tmp_path / "terms.pdf.part").symlink_to(victim)
    got(path, lambda: None)
    assert (victim.read_bytes(), path.read_bytes()) == (b"another's", b"in clear")
    assert not path.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(list(tmp_path.iterdir())) == 3


def test_a_file_that_came_meanwhile_is_not_replaced(
    tmp_path: Path, got: Callable[[Path, Callable[[], object]], None]
) -> None:
    path = tmp_path / "terms.pdf"
    with pytest.raises(Failure, match="exists already"):
        got(path, lambda: path.write_bytes(b"came first"))
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"came first"]
