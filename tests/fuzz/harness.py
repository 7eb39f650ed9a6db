"""One fuzzer in a process of its own: `python -m tests.fuzz.harness TARGET FOLDER SECONDS [SEED]`.

The project's modules are instrumented while they are imported, so that the fuzzer sees which branches an
input takes and keeps what is new. FOLDER: where the corpus and, if something is found, the input that shows
it are written. The process ends with 0 after SECONDS; otherwise with what libFuzzer says of a finding: an
exception that is no documented refusal, ten seconds for one input, or more memory than ``RSS_MB_MAX``.
"""

import hashlib
import sys
from pathlib import Path
from typing import Final

INSTRUMENTED: Final = ["node", "contracts", "tests.fuzz.planted"]
INPUT_SECONDS_MAX: Final = 10
RSS_MB_MAX: Final = 1_024
CORPUS: Final = "corpus"


def main(name: str, folder: Path, seconds: int, seed: int) -> None:
    """Fuzz one target. Never returns."""
    import atheris

    with atheris.instrument_imports(include=INSTRUMENTED, enable_loader_override=False):
        from tests.fuzz.targets import target_named
    from tests.fuzz.mutation import changed

    target = target_named(name)
    corpus = folder / CORPUS
    corpus.mkdir(parents=True)
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


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]) if len(sys.argv) > 4 else 1)
