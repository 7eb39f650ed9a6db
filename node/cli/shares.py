"""``vostro keys backup``, ``restore`` and ``drill``: a key in n shares, of which any k restore it.

Shares come from share files, or are typed at a hidden prompt; none is ever printed.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from node.cli.output import local, usage
from node.cli.session import Session, session_of
from node.keys import keystore
from node.keys.loader import read_public
from node.keys.token_uri import is_token_uri

Shares = Annotated[
    list[Path] | None, typer.Argument(help="Share files; none: their words are asked for, hidden.")
]
Algorithm = Annotated[
    str, typer.Option(help="Of the key, where words are typed; default: the usual one of the chain's suite.")
]
SHARE_NAME = "share-{number}-of-{shares}.json"


class _Given(NamedTuple):
    words: list[str]
    algorithm: str
    public_key: bytes | None
    label: str


def backup(
    ctx: typer.Context,
    path: Annotated[Path, typer.Argument(help="The key file.")],
    into: Annotated[Path, typer.Option(help="A directory for the share files; made where it is missing.")],
    shares: Annotated[int, typer.Option(help="How many shares.", min=2, max=16)] = 5,
    threshold: Annotated[int, typer.Option(help="How many of them restore the key.", min=2, max=16)] = 3,
) -> None:
    """Split a key into share files, one for each custodian (SLIP-39). Fewer than the threshold tell nothing.

    Give each file to one person, on a medium of its own, and delete it here. Then hold a drill.

    Example: `vostro keys backup keys/issuing.json --into shares --shares 5 --threshold 3`
    """
    from node.keys.shares import save_share, split

    session = session_of(ctx)
    if is_token_uri(path):
        raise local("a key in a token does not leave it: back the token up as its vendor says")
    label = keystore.read_metadata(path).label
    signer = keystore.load_signer(path, session.passphrase_bytes(f"Passphrase of {path}"))
    made = split(signer, threshold, shares, label=label)
    into.mkdir(parents=True, exist_ok=True, mode=0o700)
    files = [into / SHARE_NAME.format(number=share.share, shares=shares) for share in made]
    if taken := [str(file) for file in files if file.exists()]:
        raise local(f"{', '.join(taken)} exist already: name an empty directory")
    for file, share in zip(files, made, strict=True):
        save_share(file, share)
    session.output.record(
        "Backup",
        {"key_id": signer.key_id, "threshold": threshold, "shares": [str(file) for file in files]},
    )


def restore(
    ctx: typer.Context,
    path: Annotated[Path, typer.Option("--to", help="The new key file.")],
    shares: Shares = None,
    algorithm: Algorithm = "",
) -> None:
    """Make the key file again from enough shares.

    Example: `vostro keys restore --to keys/issuing.json a.json b.json c.json`
    """
    from node.keys.shares import restore as restored

    session = session_of(ctx)
    given = _given(session, shares or [], algorithm)
    signer = restored(given.words, given.algorithm, given.public_key)
    secret = session.passphrase_bytes(f"Passphrase for {path}", confirm=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    saved = keystore.save_signer(path, signer, secret, label=given.label)
    session.output.record("Key", saved._asdict() | {"path": str(path)})


def drill(
    ctx: typer.Context,
    shares: Shares = None,
    key: Annotated[
        str, typer.Option(help="The key file, or a pkcs11: URI, whose public half must come out.")
    ] = "",
    algorithm: Algorithm = "",
) -> None:
    """Prove that shares restore a key, in memory: nothing is written, and no secret is shown.

    With more shares than needed, each of them is tried. Name the key with --key, so that the shares are not
    their own witness.

    Example: `vostro keys drill a.json b.json c.json --key keys/issuing.json`
    """
    from node.keys.shares import drill as drilled

    session = session_of(ctx)
    given = _given(session, shares or [], algorithm)
    public_key = read_public(key).public_key if key else given.public_key
    if public_key is None:
        raise usage("name the key that must come out with --key FILE")
    drilled(given.words, given.algorithm, public_key)
    session.output.record(
        "Drill",
        {
            "restores": True,
            "public_key": public_key,
            "shares_tried": len(given.words),
            "compared_with": key or "the public key in the share files",
        },
    )


def _given(session: Session, paths: Sequence[Path], algorithm: str) -> _Given:
    from node.keys.shares import SHARES_MAX, SharesRefused, load_share, needed

    if paths:
        loaded = [load_share(path) for path in paths]
        keys = {(share.algorithm, share.public_key) for share in loaded}
        if len(keys) != 1:
            raise SharesRefused("the share files are of different keys")
        ((algorithm, public_key),) = keys
        return _Given(
            [share.words for share in loaded], algorithm, bytes.fromhex(public_key), loaded[0].label
        )
    algorithm = algorithm or session.suite.algorithms[0]
    words = [session.typed("Words of share 1").decode()]
    while len(words) < min(needed(words[0]), SHARES_MAX):
        words.append(session.typed(f"Words of share {len(words) + 1}").decode())
    return _Given(words, algorithm, None, "")
