"""What storage can refuse or report, each with one sentence that says what an operator does about it.

Nothing above storage sees an error of LevelDB: it is translated once, in database.py, with its cause
attached.
"""

from typing import Final

from node.ledger.errors import Category, ErrorCode, StoreFailed


class StorageCode:
    """The codes of storage. They are permanent; a new meaning gets a new number."""

    codespace: Final = "storage"

    DIRECTORY_IN_USE = ErrorCode(
        1,
        Category.UNAVAILABLE,
        "Another process has this data directory open: stop it, or use another directory.",
    )
    VERSION_UNKNOWN = ErrorCode(
        2,
        Category.UNIMPLEMENTED,
        "This is no data directory that this release can read: use the release that wrote it.",
    )
    NOT_EMPTY = ErrorCode(
        3, Category.ALREADY_EXISTS, "The directory is not empty: name one that is new or empty."
    )
    LOG_DAMAGED = ErrorCode(
        4,
        Category.CORRUPTED,
        "The block log is damaged: keep a copy, then restore a backup into a new one.",
    )
    LOST_TAIL = ErrorCode(
        5,
        Category.CORRUPTED,
        "The block log lacks blocks that were durable: put back the newer log, or restore a newer backup.",
    )
    SHARD_DAMAGED = ErrorCode(
        6,
        Category.CORRUPTED,
        "A state shard is damaged: stop the node and start it again; it rebuilds the shard from the log.",
    )
    SPENT_DAMAGED = ErrorCode(
        7,
        Category.CORRUPTED,
        "The spent ids are damaged: stop the node and start it again; it rebuilds them from the log.",
    )
    INDEX_DAMAGED = ErrorCode(
        8,
        Category.CORRUPTED,
        "The index is damaged: stop the node and start it again; it rebuilds the index from the log.",
    )
    DISK_LOW = ErrorCode(
        9, Category.UNAVAILABLE, "The disk is nearly full: free space; reads go on, new work is refused."
    )
    STOPPED = ErrorCode(
        10,
        Category.UNAVAILABLE,
        "Writing failed and was stopped; reads go on: mend the disk, then start the node again.",
    )
    IO_FAILED = ErrorCode(
        11,
        Category.UNAVAILABLE,
        "The disk refused to read or write: look at the cause, mend it, start again.",
    )
    BACKUP_DAMAGED = ErrorCode(
        12, Category.CORRUPTED, "The backup is cut short or altered: use another copy, or make a new backup."
    )
    OUT_OF_ORDER = ErrorCode(13, Category.INTERNAL, "A block was staged that does not follow the last one.")
    MISSING = ErrorCode(
        14, Category.NOT_FOUND, "There is no data directory here: check data_dir; `vostro run` makes one."
    )
    PRUNED = ErrorCode(
        15,
        Category.OUT_OF_RANGE,
        "This node no longer keeps blocks so old: ask another node; receipt files of that time still verify.",
    )
    SNAPSHOT_DAMAGED = ErrorCode(
        16, Category.CORRUPTED, "A snapshot is damaged: delete its folder and make another."
    )
    NO_SNAPSHOT = ErrorCode(
        17,
        Category.CORRUPTED,
        "The log does not reach genesis and no snapshot is here to rebuild from: restore a backup.",
    )
    BEGUN = ErrorCode(
        18,
        Category.PRECONDITION,
        "A snapshot is taken in only where no block is: use a new data directory.",
    )
    NOT_PRUNABLE = ErrorCode(
        19,
        Category.PRECONDITION,
        "Blocks are dropped only up to a snapshot that is here: make one first, or keep more.",
    )
    CHUNK_TOO_LARGE = ErrorCode(
        20, Category.OVERLOADED, "A block or a part of the state is too large for a chunk of a snapshot."
    )


class StorageError(StoreFailed):
    """Storage cannot go on as asked. ``error.category`` tells damage (CORRUPTED) from circumstances
    (UNAVAILABLE).
    """

    def __init__(self, error: ErrorCode, **details: str | int) -> None:
        super().__init__(error, details)
        self.error = error
        self.details = details
        self.absent = error is StorageCode.PRUNED

    def __str__(self) -> str:
        told = ", ".join(f"{name} {value}" for name, value in self.details.items())
        return f"{self.error}: {self.error.sentence}" + (f" ({told})" if told else "")
