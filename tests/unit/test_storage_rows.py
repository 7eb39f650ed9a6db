"""What is read of a LevelDB is whole and right, or an error: damage is never taken for the end of a range,
passed over, or answered from a cache.
"""

import shutil
from pathlib import Path
from typing import Any

import plyvel
import pytest

from node.ledger.hashing import INTERNATIONAL
from node.ledger.snapshot import Records
from node.ledger.state_tree import pairs_of
from node.storage import layout
from node.storage.database import Part, rows_of
from node.storage.errors import StorageCode, StorageError
from node.storage.install import Filler
from node.storage.log import Base, BlockLog
from tests.storage_blocks import Chain

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


def test_a_bit_flipped_in_the_manifest_of_a_shard_filled_from_a_snapshot_leaves_no_hole(
    tmp_path: Path,
) -> None:
    """The manifest's last records go without a word where a length is damaged: whole tables with them."""
    path = tmp_path / "shard"
    small: dict[str, Any] = {"cache_bytes": 1 << 16, "write_buffer_bytes": 1 << 16}
    part = Part.create(path, StorageCode.SHARD_DAMAGED, **small)
    filler, wanted = Filler([part], 1, synced=False), 0
    for chunk in range(12):
        records = [(b"%02d-%03d" % (chunk, number), bytes(400)) for number in range(100)]
        pairs = b"".join(k + (v or b"") for k, v in pairs_of(INTERNATIONAL, records))
        filler.add(Records(tuple(part for row in records for part in row), pairs))
        wanted += len(records)
    part.commit({}, 7)
    part.close()
    (manifest,) = path.glob("MANIFEST*")
    content, tried, refused, whole = manifest.read_bytes(), 0, 0, 0
    for at in range(len(content)):
        damaged = tmp_path / "damaged"
        shutil.copytree(path, damaged)
        (damaged / manifest.name).write_bytes(
            content[:at] + bytes((content[at] ^ 1 << at % 8,)) + content[at + 1 :]
        )
        tried += 1
        try:
            found = Part.open(damaged, StorageCode.SHARD_DAMAGED, **small)
        except StorageError as error:
            refused += error.error is StorageCode.SHARD_DAMAGED
        else:
            rows = len(list(rows_of(found.db, layout.RECORD, layout.successor(layout.RECORD) or b"")))
            whole += (found.position, rows) in ((7, wanted), (0, rows))
            found.close()
        shutil.rmtree(damaged)
    print(f"manifests: {tried} damaged, {refused} refused, {whole} whole or begun anew")
    assert refused + whole == tried
    assert refused


def test_pruning_puts_nothing_unchecked_where_later_reads_find_it(tmp_path: Path) -> None:
    options = {"cache_bytes": 1 << 20, "write_buffer_bytes": 1 << 20}
    chain, path = Chain(seed=1), tmp_path / "log"
    log = BlockLog(path, create=True, **options)
    for position in range(30):
        log.append(chain.next(transactions=3, writes=1), position, synced=False)
    log._source.compact_range()
    log.close()
    kept = chain.blocks[12]
    (table,) = [file for file in path.glob("*.ldb") if kept.leaves[0] in file.read_bytes()]
    content = table.read_bytes()
    at = content.index(kept.leaves[0]) + 5
    table.write_bytes(content[:at] + bytes((content[at] ^ 1,)) + content[at + 1 :])
    log = BlockLog(path, create=False, **options)
    log.base = Base(10, chain.blocks[10].height, 20, chain.blocks[20].height)
    with pytest.raises(plyvel.CorruptionError):
        list(log._surplus(log.base))
    with pytest.raises(StorageError) as caught:
        log.leaves(kept.height)
    assert caught.value.error is StorageCode.LOG_DAMAGED
    log.close()
