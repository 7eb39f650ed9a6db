"""The ``vostro`` command, assembled: the global options, every noun, and what an exception means for the
exit code.
"""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from node.cli import (
    accounts,
    approvals,
    assets,
    audit,
    backup,
    blacklist,
    blocks,
    ca,
    clearing,
    consortium,
    custody,
    cycles,
    deals,
    doctor,
    engine,
    exchange,
    files,
    governance,
    holds,
    initialise,
    keys,
    members,
    network,
    offers,
    offsets,
    payday,
    policy,
    receipt,
    reconcile,
    register,
    reshard,
    run,
    servicing,
    snapshot,
    status,
    support,
    transfer,
    trust,
    validator,
    validators,
    vault,
    verify,
)
from node.cli.output import EXIT_CODES_TOLD, Exit, Failure, Format, Output
from node.cli.session import SECONDS_DEFAULT, Session
from node.client import Declined, Refused, Unknown, Unreachable, WrongChain
from node.config import ConfigError
from node.genesis_file import GenesisRefused
from node.keys.audit import AuditDamaged
from node.keys.custody_policy import PolicyRefused
from node.keys.custody_queue import QueueDamaged
from node.keys.keystore import KeystoreError
from node.keys.unsound import UnsoundLibrary
from node.ledger.errors import InvariantViolated, StoreFailed

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
    """Lets global options stand anywhere, and ends every failure with its sentence and exit code."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Global options first."""
        return super().parse_args(ctx, hoisted(args))

    def invoke(self, ctx: Any) -> Any:
        """Run the command; the one place where an exception becomes an exit code."""
        try:
            return super().invoke(ctx)
        except Failure as failure:
            _output(ctx).fail(failure)
        except Refused as refused:
            _output(ctx).fail(_refusal(refused))
        except (Unknown, Unreachable) as error:
            fields = {"tx_id": error.tx_id} if isinstance(error, Unknown) else {}
            _output(ctx).fail(Failure(Exit.UNAVAILABLE, str(error), **fields))
        except (InvariantViolated, AuditDamaged, QueueDamaged) as error:
            _output(ctx).fail(Failure(Exit.UNVERIFIED, str(error)))
        except (
            ConfigError,
            GenesisRefused,
            KeystoreError,
            PolicyRefused,
            StoreFailed,
            UnsoundLibrary,
            WrongChain,
            OSError,
        ) as error:
            _output(ctx).fail(Failure(Exit.LOCAL, str(error)))


def _refusal(refused: Refused) -> Failure:
    fields: dict[str, object] = {
        "code": refused.code,
        "decided": not isinstance(refused, Declined),
        "details": refused.details,
    }
    if refused.tx_id:
        fields["tx_id"] = refused.tx_id
    if refused.receipt is not None:
        fields["height"] = refused.receipt.height
    return Failure(Exit.REFUSED, str(refused), **fields)


def _output(ctx: Any) -> Output:
    session = ctx.obj
    return session.output if isinstance(session, Session) else Output()


def _tell_version(asked: bool) -> None:
    if asked:
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


app.command("init")(initialise.init)
app.command("run")(run.run)
app.command("status")(status.status)
app.add_typer(payday.app, name="demo")
for name, noun in (
    ("keys", keys),
    ("ca", ca),
    ("validator", validator),
    ("members", members),
    ("governance", governance),
    ("approvals", approvals),
    ("custody", custody),
    ("policy", policy),
    ("audit", audit),
    ("assets", assets),
    ("accounts", accounts),
    ("transfer", transfer),
    ("holds", holds),
    ("register", register),
    ("servicing", servicing),
    ("offers", offers),
    ("deals", deals),
    ("cycles", cycles),
    ("offsets", offsets),
    ("exchange", exchange),
    ("reconcile", reconcile),
    ("clearing", clearing),
    ("blacklist", blacklist),
    ("vault", vault),
    ("blocks", blocks),
    ("receipt", receipt),
    ("backup", backup),
    ("engine", engine),
    ("consortium", consortium),
    ("network", network),
    ("snapshot", snapshot),
):
    app.add_typer(noun.app, name=name)
app.command("validators")(validators.validators)
app.command("trust")(trust.trust)
app.command("import")(files.import_)
app.command("export")(files.export)
app.command("verify")(verify.verify)
app.command("reshard")(reshard.reshard)
app.command("prune")(snapshot.prune)
app.command("doctor")(doctor.doctor)
app.command("support-bundle")(support.support_bundle)
