"""Writes requirements.lock anew from the ranges in pyproject.toml: exact versions and hashes, no addresses.

`python3 scripts/lock.py` keeps what is locked where the ranges allow it; `--upgrade` takes the newest of
everything. One lock serves users, developers and CI, on CPython 3.11 and later: all run the same bytes.
"""

import argparse
import subprocess
import sys

import environment


def main() -> int:
    """Resolve and write. Returns the exit code of the resolver."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upgrade", action="store_true", help="take the newest that the ranges allow")
    options = parser.parse_args()
    command = [
        *(sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", "--extra", "dev", "--quiet"),
        *("--extra", "oracles"),
        *("--universal", "--python-version", "3.11", "--generate-hashes"),
        *("--no-header", "--no-annotate", "--no-emit-index-url", "--output-file", environment.LOCK),
        *(["--upgrade"] if options.upgrade else []),
    ]
    return subprocess.run(command, cwd=environment.ROOT, check=False).returncode


if __name__ == "__main__":
    environment.enter()
    sys.exit(main())
