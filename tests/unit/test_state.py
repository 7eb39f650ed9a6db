"""The overlay of a block over a store: savepoints, scans and the write set; and the keys of typed tables."""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from node.ledger import codec
from node.ledger.contract import Contract, table
from node.ledger.state import Delta, View
from node.ledger.types import AccountId, Hash, MemberId, Record, TimeMs
from node.storage.memory import MemoryReader
from node.storage.memory import Table as Rows


class Note(Record, frozen=True):
    """A record with one field."""

    number: int


class Notes(Contract):
    """Tables with keys of every shape."""

    name = "notes"
    by_text = table(Note, account=AccountId)
    by_two = table(Note, account=AccountId, member=MemberId)
    by_hash = table(Note, account=AccountId, hash=Hash)
    by_time = table(Note, queue=MemberId, time_ms=TimeMs, hash=Hash)


def stored(**notes: int) -> MemoryReader:
    """A reader over ``by_text`` with these notes."""
    return MemoryReader(
        1, Rows({b"notes\0by_text\0" + k.encode() + b"\0": codec.encode(Note(v)) for k, v in notes.items()})
    )


def over(reader: MemoryReader, capacity: int = 100) -> tuple[Delta, Notes]:
    delta, notes = Delta(reader, capacity), Notes()
    notes.bind(delta)
    return delta, notes


def found(notes: Notes, **options: Any) -> list[tuple[Any, int]]:
    return [(parts[0], note.number) for parts, note in notes.by_text.scan(**options)]


def test_a_record_is_read_through_and_a_change_is_seen_at_once() -> None:
    _, notes = over(stored(a=1))
    assert notes.by_text.get("a") == Note(1)
    assert notes.by_text.get("b") is None
    notes.by_text.put(Note(2), "a")
    notes.by_text.put(Note(3), "b")
    assert (notes.by_text.get("a"), notes.by_text.get("b")) == (Note(2), Note(3))
    notes.by_text.delete("a")
    assert notes.by_text.get("a") is None


def test_a_rollback_restores_what_was_read_and_what_was_not() -> None:
    delta, notes = over(stored(a=1, b=2))
    notes.by_text.get("a")
    notes.by_text.put(Note(5), "c")
    mark = delta.savepoint()
    notes.by_text.put(Note(10), "a")
    notes.by_text.put(Note(11), "a")
    notes.by_text.delete("b")  # never read before
    notes.by_text.delete("c")
    notes.by_text.put(Note(4), "d")
    delta.rollback(mark)
    assert found(notes) == [("a", 1), ("b", 2), ("c", 5)]
    assert notes.by_text.get("d") is None
    assert delta.writes() == ((b"notes\0by_text\0c\0", codec.encode(Note(5))),)
    delta.rollback()
    assert delta.writes() == ()
    assert found(notes) == [("a", 1), ("b", 2)]


def test_savepoints_nest() -> None:
    delta, notes = over(stored())
    marks = []
    for number in range(5):
        marks.append(delta.savepoint())
        notes.by_text.put(Note(number), "a")
        notes.by_text.put(Note(number), f"n{number}")
    for number in reversed(range(1, 5)):
        delta.rollback(marks[number])
        assert notes.by_text.get("a") == Note(number - 1)
        assert len(delta.writes()) == number + 1


def test_the_write_set_is_ordered_by_key_and_says_the_last_value() -> None:
    delta, notes = over(stored(b=1))
    for name in ("c", "a", "b", "a"):
        notes.by_text.put(Note(len(delta.writes())), name)
    notes.by_text.delete("c")
    prefix = b"notes\0by_text\0"
    assert delta.writes() == (
        (prefix + b"a\0", codec.encode(Note(3))),
        (prefix + b"b\0", codec.encode(Note(2))),
        (prefix + b"c\0", None),
    )


@pytest.mark.parametrize("reverse", [False, True])
def test_a_scan_merges_the_store_with_the_changes_of_the_block(reverse: bool) -> None:
    _, notes = over(stored(b=1, d=2, f=3))
    notes.by_text.put(Note(10), "a")
    notes.by_text.put(Note(11), "e")
    notes.by_text.put(Note(12), "f")
    notes.by_text.delete("b")
    notes.by_two.put(Note(99), "a", "x")  # another table
    everything = [("a", 10), ("d", 2), ("e", 11), ("f", 12)]
    assert found(notes, reverse=reverse) == (everything[::-1] if reverse else everything)
    from_d = [("d", 2), ("a", 10)] if reverse else [("d", 2), ("e", 11), ("f", 12)]
    assert found(notes, start=("d",), reverse=reverse) == from_d
    between = [("d", 2), ("a", 10)] if reverse else [("d", 2), ("e", 11), ("f", 12)]
    assert found(notes, start=("d",), reverse=reverse) == between


def test_records_may_be_deleted_while_they_are_scanned() -> None:
    delta, notes = over(stored(a=1, b=2, c=3))
    notes.by_text.put(Note(4), "bb")
    seen = []
    for parts, _ in notes.by_text.scan():
        seen.append(parts[0])
        notes.by_text.delete(str(parts[0]))
    assert seen == ["a", "b", "bb", "c"]
    assert found(notes) == []
    assert [value for _, value in delta.writes()] == [None] * 4


def test_a_scan_by_leading_parts_stays_within_them() -> None:
    _, notes = over(stored())
    for account, member in (("A", "X"), ("A", "Y"), ("AB", "X"), ("B", "X")):
        notes.by_two.put(Note(1), account, member)
    assert [parts for parts, _ in notes.by_two.scan("A")] == [("A", "X"), ("A", "Y")]
    assert [parts for parts, _ in notes.by_two.scan("A", start=("A", "Y"))] == [("A", "Y")]


@pytest.mark.parametrize("capacity", [0, 1, 3, 100])
def test_what_the_cache_forgets_is_read_again(capacity: int) -> None:
    rows = Rows()
    reader = MemoryReader(0, rows)
    delta, notes = over(reader, capacity)
    for block in range(20):
        for name in range(block % 7):
            notes.by_text.put(Note(block), f"n{name}")
        rows.put(delta.writes())
        delta.settle()
        assert len(delta._records) <= capacity
        assert delta.writes() == ()
    expected = {f"n{name}": max(b for b in range(20) if b % 7 > name) for name in range(6)}
    assert dict(found(notes)) == expected
    assert {name: notes.by_text.get(name).number for name in expected} == expected  # type: ignore[union-attr]


class Counted(MemoryReader):
    """A reader that counts the scans it is asked for."""

    scans = 0

    def scan(
        self, prefix: bytes, start: bytes = b"", *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """As MemoryReader."""
        self.scans += 1
        return super().scan(prefix, start, reverse=reverse)


def test_where_a_queue_begins_is_read_again_only_after_a_block_wrote_there() -> None:
    rows = Rows()
    reader = Counted(0, rows)
    delta, notes = over(reader)

    def block(*changes: tuple[str, int]) -> list[tuple[Any, int]]:
        begins = found(notes)[:1]
        for name, number in changes:
            notes.by_text.put(Note(number), name)
        notes.by_two.put(Note(0), "a", "x")  # another table
        rows.put(delta.writes())
        delta.settle()
        return begins

    assert [block() for _ in range(3)] == [[], [], []]
    assert reader.scans == 1
    notes.by_text.put(Note(9), "a")
    assert found(notes) == [("a", 9)]
    delta.rollback()
    assert block(("b", 2)) == []
    assert reader.scans == 1, "what was undone was never there"
    assert block(("a", 1)) == [("b", 2)]
    assert block() == [("a", 1)]
    notes.by_text.delete("a")
    rows.put(delta.writes())
    delta.settle()
    assert block() == [("b", 2)]
    delta.forget()
    assert block() == [("b", 2)]


def test_blocks_of_random_changes_scan_like_a_dictionary() -> None:
    chance = random.Random(11)
    rows, model = Rows(), dict[str, int]()
    delta, notes = over(MemoryReader(0, rows), 3)
    for _ in range(400):
        before = dict(model)
        for _ in range(chance.randrange(3)):
            assert found(notes) == sorted(model.items())
            name = f"k{chance.randrange(4)}"
            if chance.random() < 0.5:
                model[name] = chance.randrange(100)
                notes.by_text.put(Note(model[name]), name)
            else:
                model.pop(name, None)
                notes.by_text.delete(name)
        if chance.random() < 0.3:
            delta.rollback()
            model = before
        rows.put(delta.writes())
        delta.settle()


def test_random_changes_answer_like_a_dictionary_that_is_copied_at_savepoints() -> None:
    chance = random.Random(7)
    rollbacks = 0
    for _ in range(60):
        base = {f"k{n}": n for n in range(6)}
        delta, notes = over(stored(**base), chance.choice((0, 2, 100)))
        model, marks = dict(base), []
        for _ in range(60):
            key, dice = f"k{chance.randrange(10)}", chance.random()
            if dice < 0.35:
                model[key] = number = chance.randrange(100)
                notes.by_text.put(Note(number), key)
            elif dice < 0.55:
                model.pop(key, None)
                notes.by_text.delete(key)
            elif dice < 0.7:
                marks.append((delta.savepoint(), dict(model)))
            elif dice < 0.8 and marks:
                at = chance.randrange(len(marks))
                mark, model = marks[at]
                model = dict(model)
                del marks[at:]
                delta.rollback(mark)
                rollbacks += 1
            note = notes.by_text.get(key)
            assert (note.number if note else None) == model.get(key)
            reverse = dice < 0.5
            assert found(notes, reverse=reverse) == sorted(model.items(), reverse=reverse)
    assert rollbacks > 50


@pytest.mark.parametrize("shape", ["by_two", "by_hash", "by_time"])
def test_a_key_splits_into_its_parts_and_orders_like_them(shape: str) -> None:
    parts: dict[str, list[tuple[Any, ...]]] = {
        "by_two": [("A", "X"), ("A", "XY"), ("A-", "X"), ("AB", "B"), ("Ä", "X"), ("€", "X")],
        "by_hash": [("A", bytes(32)), ("A", b"\0" * 31 + b"\1"), ("A", b"\xff" * 32), ("AB", bytes(32))],
        "by_time": [
            ("q", 0, bytes(32)),
            ("q", 255, b"\1" * 32),
            ("q", 256, bytes(32)),
            ("q", 2**63 - 1, bytes(32)),
        ],
    }
    declared = Notes.tables[shape]
    keys = [declared.key(*each) for each in parts[shape]]
    assert [declared.split(key) for key in keys] == parts[shape]
    assert keys == sorted(keys)
    assert all(key.startswith(f"notes\0{shape}\0".encode()) for key in keys)
    assert [declared.stem(*each) for each in parts[shape]] == keys


def test_a_key_is_spelled_as_the_formats_say() -> None:
    hash_ = b"\xaa" * 32
    assert Notes.by_time.key("q", 258, hash_) == b"notes\0by_time\0q\0" + b"\0\0\0\0\0\0\1\2" + hash_


def test_a_key_of_floats_or_of_bytes_without_a_length_cannot_be_declared() -> None:
    for annotation in (float, bytes, tuple[str, ...]):
        with pytest.raises(TypeError):
            table(Note, part=annotation)


def test_a_view_reads_and_refuses_to_write() -> None:
    view, notes = View(stored(a=1)), Notes()
    notes.bind(view)
    assert (notes.by_text.get("a"), notes.by_text.get("b")) == (Note(1), None)
    assert found(notes, reverse=True) == [("a", 1)]
    with pytest.raises(TypeError):
        notes.by_text.put(Note(2), "a")
    view.move(stored(a=2, b=3))
    assert (notes.by_text.get("a"), notes.by_text.get("b")) == (Note(2), Note(3))


def test_a_view_forgets_rather_than_grow() -> None:
    view, notes = View(stored(a=1)), Notes()
    view.RECORDS_MAX = 10
    notes.bind(view)
    for number in range(100):
        notes.by_text.get(f"n{number}")
    assert len(view._records) <= 10
    assert notes.by_text.get("a") == Note(1)


def test_a_view_that_moves_while_it_reads_keeps_nothing_of_the_old_height() -> None:
    notes = Notes()

    class MovesMeanwhile(MemoryReader):
        """A reader during whose answer another thread publishes the next height."""

        def get(self, key: bytes) -> bytes | None:
            view.move(stored(a=2))
            return super().get(key)

    view = View(MovesMeanwhile(1, stored(a=1)._state))
    notes.bind(view)
    assert notes.by_text.get("a") == Note(1)
    assert notes.by_text.get("a") == Note(2)
