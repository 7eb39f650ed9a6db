"""A range of rows is whole or an error: no damaged block of a table is taken for the end."""

import shutil
from pathlib import Path

import plyvel
import pytest

from node.storage.database import rows_of

ROWS = 400


def key(number: int) -> bytes:
    return b"k%05d" % number


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A closed database whose rows are in one table of small blocks."""
    path = tmp_path / "table"
    database = plyvel.DB(str(path), create_if_missing=True, compression=None, block_size=1024)
    for number in range(ROWS):
        database.put(key(number), b"v" * 60)
    database.compact_range()
    database.close()
    return path


@pytest.mark.parametrize("reverse", [False, True])
def test_a_flipped_bit_anywhere_in_a_table_never_shortens_a_range(table: Path, *, reverse: bool) -> None:
    (file,) = table.glob("*.ldb")
    content = file.read_bytes()
    tried = silent = refused = 0
    for at in [*range(0, len(content) - 2_000, 1_900), *range(len(content) - 2_000, len(content) - 48, 61)]:
        damaged = table.with_name("damaged")
        shutil.copytree(table, damaged)
        broken = bytearray(content)
        broken[at] ^= 4
        (damaged / file.name).write_bytes(broken)
        tried += 1
        try:
            database = plyvel.DB(str(damaged), paranoid_checks=True)
            row = min(at * ROWS // len(content), ROWS - 1)
            for low, high in ((row, row + 1), (max(row - 8, 0), min(row + 20, ROWS)), (0, ROWS)):
                found = [each for each, _ in rows_of(database, key(low), key(high), reverse=reverse)]
                wanted = [key(number) for number in range(low, high)]
                silent += found != (wanted[::-1] if reverse else wanted)
            database.close()
        except plyvel.Error:
            refused += 1
        shutil.rmtree(damaged)
    print(f"flipped bits: {tried} tried, {tried - silent} held, {refused} told")
    assert refused > tried // 2
    assert silent == 0
