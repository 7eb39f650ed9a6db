"""Fuzzers, each in a process of its own: `python -m tests.fuzz.harness` reads `TARGET FOLDER SECONDS SEED` a
line and answers with the exit code of each, one after the other.

The project's modules are instrumented while they are imported, so that a fuzzer sees which branches an
input takes and keeps what is new. That takes longer than a fuzzer runs, so each runs in a fork of the process
that did it. FOLDER: made here; where the corpus, what the fuzzer says and, if something is found, the input
that shows it are written. A fuzzer ends with 0 after SECONDS; otherwise with what libFuzzer says of a
finding: an exception that is no documented refusal, ten seconds for one input, or more memory than
``RSS_MB_MAX``.
"""

import hashlib
import os
import select
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.fuzz.mutation import changed

if TYPE_CHECKING:
    from tests.fuzz.target import Target

INSTRUMENTED: Final = ["node", "contracts", "tests.fuzz.planted"]
INPUT_SECONDS_MAX: Final = 10
RSS_MB_MAX: Final = 1_024
OVERTIME_SECONDS: Final = 120
CORPUS: Final = "corpus"
SAID: Final = "said"


def main() -> None:
    """Run the fuzzers that are asked for, until stdin ends."""
    import atheris

    with atheris.instrument_imports(include=INSTRUMENTED, enable_loader_override=False):
        from tests.fuzz.targets import target_named
    for line in sys.stdin:
        name, folder, seconds, seed = line.split()
        Path(folder).mkdir(parents=True)
        child = os.fork()
        if child == 0:
            fuzz(target_named(name), Path(folder), int(seconds), int(seed))
        print(_ended(child, int(seconds) + OVERTIME_SECONDS), flush=True)


def fuzz(target: "Target", folder: Path, seconds: int, seed: int) -> None:
    """Fuzz one target. Never returns."""
    import atheris

    said = os.open(folder / SAID, os.O_WRONLY | os.O_CREAT)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(said, stream.fileno())
    corpus = folder / CORPUS
    corpus.mkdir()
    for data in target.seeds():
        (corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)

    def mutate(data: bytes, bytes_max: int, drawn: int) -> bytes:
        return changed(data, target.form, bytes_max, drawn, atheris.Mutate)

    options = (
        f"-max_total_time={seconds}",
        f"-timeout={INPUT_SECONDS_MAX}",
        f"-rss_limit_mb={RSS_MB_MAX}",
        f"-max_len={target.bytes_max}",
        f"-artifact_prefix={folder}/",
        f"-seed={seed}",
        "-len_control=0",
        "-print_final_stats=1",
    )
    atheris.Setup([sys.argv[0], *options, str(corpus)], target.run, custom_mutator=mutate)
    atheris.Fuzz()


def _ended(child: int, seconds: int) -> int:
    """The exit code of a child that has so long to end."""
    handle = os.pidfd_open(child)
    if not select.select([handle], [], [], seconds)[0]:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    os.close(handle)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    main()
