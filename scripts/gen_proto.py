"""Generates node/pb from proto/: `python3 scripts/gen_proto.py`; `--check` only says what differs.

protoc writes imports as if proto/ were on the import path; here they are moved under node.pb, so that the
distribution owns no top-level name but its own. google.protobuf stays where it is. Output depends on the
proto files and on the locked version of grpcio-tools, on nothing else.
"""

import argparse
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import environment

PROTO: Final = environment.ROOT / "proto"
OUTPUT: Final = environment.ROOT / "node" / "pb"
PACKAGE: Final = "node.pb"
DOCSTRING: Final = '"""Generated from proto/ by scripts/gen_proto.py; do not edit."""\n'


class ProtocFailed(Exception):
    """protoc refused the sources; it has said why on stderr."""


def main(arguments: Sequence[str]) -> int:
    """Write node/pb, or compare it. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail and name files that differ")
    parser.add_argument("--proto", type=Path, default=PROTO, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, default=OUTPUT, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    try:
        wanted = generate(options.proto)
    except ProtocFailed as failure:
        print(failure, file=sys.stderr)
        return 1
    stale = differences(wanted, options.output)
    if options.check:
        for name in stale:
            print(f"{options.output / name} is not what proto/ generates")
        return int(bool(stale))
    write(wanted, stale, options.output)
    print(f"{len(wanted)} files, {len(stale)} changed")
    return 0


def generate(proto: Path) -> dict[str, str]:
    """File name below node/pb -> text, for every .proto file below the folder. Raises ProtocFailed."""
    sources = sorted(str(path.relative_to(proto)) for path in proto.rglob("*.proto"))
    if not sources:
        return {}
    with tempfile.TemporaryDirectory(prefix="vostro-proto-") as scratch:
        run_protoc(proto, sources, Path(scratch))
        roots = sorted({Path(source).parts[0].removesuffix(".proto") for source in sources})
        texts = {
            str(path.relative_to(scratch)): move_imports(path.read_text(encoding="utf-8"), roots)
            for path in Path(scratch).rglob("*.py*")
        }
    folders = {"."} | {str(parent) for name in texts for parent in Path(name).parents}
    packages = {str(Path(folder) / "__init__.py"): DOCSTRING for folder in folders}
    return dict(sorted((texts | packages).items()))


def run_protoc(proto: Path, sources: Sequence[str], output: Path) -> None:
    """Messages with their .pyi, and services. Raises ProtocFailed."""
    protoc = import_module("grpc_tools.protoc")
    bundled = Path(str(protoc.__file__)).parent / "_proto"
    google_rpc = find_spec("google.rpc")
    locations = list(google_rpc.submodule_search_locations or []) if google_rpc else []
    includes = [proto, bundled, *(Path(location).parent.parent for location in locations)]
    code = protoc.main(
        [
            "protoc",
            *(f"-I{include}" for include in includes),
            *(f"--{kind}_out={output}" for kind in ("python", "pyi", "grpc_python")),
            *sources,
        ]
    )
    if code != 0:
        raise ProtocFailed(f"protoc ended with {code}")


def move_imports(text: str, roots: Sequence[str]) -> str:
    """Put imports of our own generated modules, and the modules' own names, under node.pb."""
    names = "|".join(re.escape(root) for root in roots)
    text = re.sub(rf"^from (?=(?:{names})[. ])", f"from {PACKAGE}.", text, flags=re.MULTILINE)
    text = re.sub(rf"^import (?=(?:{names})_pb2\b)", f"from {PACKAGE} import ", text, flags=re.MULTILINE)
    return re.sub(
        rf"(BuildTopDescriptorsAndMessages\(DESCRIPTOR, ')(?=(?:{names})[._])", rf"\g<1>{PACKAGE}.", text
    )


def differences(wanted: dict[str, str], output: Path) -> list[str]:
    """Names below the folder that are missing, differ, or should not be there."""
    present = {
        str(path.relative_to(output)): path.read_text(encoding="utf-8")
        for path in output.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    return sorted(n for n in wanted.keys() | present.keys() if wanted.get(n) != present.get(n))


def write(wanted: dict[str, str], stale: Sequence[str], output: Path) -> None:
    """Make the folder what is wanted, touching only what differs."""
    for name in stale:
        path = output / name
        if name in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[name], encoding="utf-8")
        else:
            path.unlink()
    for folder in sorted((p for p in output.rglob("*") if p.is_dir()), reverse=True):
        if not any(p.is_file() and p.suffix != ".pyc" for p in folder.rglob("*")):
            shutil.rmtree(folder)


if __name__ == "__main__":
    environment.enter()
    sys.exit(main(sys.argv[1:]))
