"""The ``vostro`` command, assembled: the global options, the nouns, and how a failure ends it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from node.cli.nouns import NOUNS, command_of
from node.cli.output import EXIT_CODES_TOLD, Failure, Format, Output
from node.cli.session import SECONDS_DEFAULT, Session

GLOBAL: Final = (
    "--config",
    "--node",
    "--member",
    "--key",
    "--tls-ca",
    "--tls-certificate",
    "--tls-key",
    "--seconds",
    "--output",
    "-o",
)
"""Options that every command has and that may stand anywhere on the line; each takes a value."""


def hoisted(arguments: Sequence[str]) -> list[str]:
    """The arguments with the global options in front, where typer expects them. Nothing behind ``--`` is
    moved.
    """
    front: list[str] = []
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            rest += [word, *words]
        elif word in GLOBAL:
            front += [word, *[value for value in [next(words, None)] if value is not None]]
        elif word.partition("=")[0] in GLOBAL or word.startswith("-o"):
            front.append(word)
        else:
            rest.append(word)
    return front + rest


class Root(TyperGroup):
    """Imports no noun but the one asked for, lets global options stand anywhere, and ends every failure with
    its sentence and exit code.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = {name: TyperCommand(name, help=told) for name, (_, told) in NOUNS.items()}

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Global options first."""
        return super().parse_args(ctx, hoisted(args))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The noun itself, where the group holds what the list says of it."""
        name, _listed, rest = super().resolve_command(ctx, args)
        return name, command_of(name) if name else None, rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command; the one place where an exception becomes an exit code."""
        try:
            return super().invoke(ctx)
        except Failure as failure:
            _output(ctx).fail(failure)
        except (typer.Abort, typer.Exit, typer.TyperException):
            raise  # typer's own: help was shown, or the usage was wrong
        except _told() as error:
            from node.cli.exits import failure_of

            _output(ctx).fail(failure_of(error))


def _told() -> tuple[type[Exception], ...]:
    """Imported when something was raised, not before: it knows the errors of every part."""
    from node.cli.exits import TOLD

    return TOLD


def _output(ctx: Any) -> Output:
    session = ctx.obj
    return session.output if isinstance(session, Session) else Output()


def _tell_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"vostro {version('vostro')}")
        raise typer.Exit


app = typer.Typer(
    cls=Root,
    name="vostro",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EXIT_CODES_TOLD,
)


@app.callback()
def root(
    ctx: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            help="The node's configuration; default ./node.toml if there is one.", envvar="VOSTRO_CONFIG"
        ),
    ] = None,
    node: Annotated[
        str, typer.Option(help="host:port of a node; default: what the configuration says.")
    ] = "",
    member: Annotated[str, typer.Option(help="The member that acts.")] = "",
    key: Annotated[
        list[Path] | None, typer.Option(help="A key file that signs; repeat it for several officers.")
    ] = None,
    tls_ca: Annotated[Path | None, typer.Option(help="Mutual TLS: certificates to trust.")] = None,
    tls_certificate: Annotated[Path | None, typer.Option(help="Mutual TLS: our certificate.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Mutual TLS: its key.")] = None,
    seconds: Annotated[float, typer.Option(help="How long to go on trying.", min=0.1)] = SECONDS_DEFAULT,
    output: Annotated[
        Format, typer.Option("--output", "-o", help="table for people, json for programs.")
    ] = Format.TABLE,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_tell_version, is_eager=True, help="Which release this is."),
    ] = False,
) -> None:
    """The ledger that banks run together.

    A first ledger on this machine:

        vostro init first --name "My first ledger"

        vostro --config first/node.toml run

        vostro --config first/node.toml status

    A passphrase is asked for, or read from the file of mode 0600 that VOSTRO_PASSPHRASE_FILE names.

    The options below may stand anywhere on the line. `vostro demo` plays a whole payment day.
    """
    tls = (tls_ca, tls_certificate, tls_key)
    ctx.obj = Session(Output(output), config, node, member, tuple(key or ()), tls, seconds)
