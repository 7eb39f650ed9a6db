"""What one run of the command knows: the global options, and from them the node, the member, its keys and
the chain.

A secret is typed at a prompt or read from a file of mode 0600 that the environment names; no option ever
takes one, or its file's name.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from node.cli.output import Exit, Failure, Output, usage
from node.config import (
    OTHER_PASSPHRASE_FILE,
    PASSPHRASE_FILE,
    NodeConfig,
    load_config,
    other_passphrase_file,
    passphrase_file,
)
from node.ledger.hashing import INTERNATIONAL, SUITES, Suite
from node.ledger.types import Operation, Receipt

if TYPE_CHECKING:
    from node.client import BlockingClient, Outcome, Tls
    from node.keys.signer import Signer

CONFIG_DEFAULT: Final = Path("node.toml")
NODE_DEFAULT: Final = "127.0.0.1:7600"
SECONDS_DEFAULT: Final = 30.0

SuiteOption = Annotated[
    str,
    typer.Option(help="The chain's cryptography: international (SHA-256, Ed25519) or guomi (SM3, SM2, SM4)."),
]


@dataclass
class Session:
    """The global options; the rest follows from them when it is needed."""

    output: Output
    config_path: Path | None = None
    node: str = ""
    member_id: str = ""
    key_paths: Sequence[Path] = ()
    tls_paths: tuple[Path | None, Path | None, Path | None] = (None, None, None)
    seconds: float = SECONDS_DEFAULT
    _decimals: dict[str, int] = field(default_factory=dict)

    # --- where the node is --------------------------------------------------------------------------------

    @cached_property
    def config(self) -> NodeConfig:
        """The node's configuration. Raises ConfigError where there is none."""
        return load_config(self.config_path or CONFIG_DEFAULT)

    @property
    def has_config(self) -> bool:
        """Whether a configuration is named or lies here."""
        return self.config_path is not None or CONFIG_DEFAULT.is_file()

    @property
    def target(self) -> str:
        """``--node``; else what the configuration says; else the default port on this machine."""
        if self.node:
            return self.node
        return self.config.listen if self.has_config else NODE_DEFAULT

    @property
    def tls(self) -> "Tls | None":
        """The three files of mutual TLS, or None."""
        ca, certificate, key = self.tls_paths
        if not any(self.tls_paths):
            if self.node or not self.has_config:
                return None
            config = self.config
            ca, certificate, key = config.tls_ca, config.operator_certificate, config.operator_key
            if ca is None:
                return None
            if not (certificate and key):
                raise usage(
                    "the node asks for certificates: give --tls-ca, --tls-certificate and --tls-key, "
                    "or set operator_certificate and operator_key in its configuration"
                )
        if ca and certificate and key:
            from node.client import Tls

            return Tls(ca, certificate, key)
        if ca or certificate or key:
            raise usage("mutual TLS takes all three of --tls-ca, --tls-certificate and --tls-key")
        return None

    @contextmanager
    def client(self) -> "Iterator[BlockingClient]":
        """A connection; pinned to the chain of the configuration's genesis where there is one."""
        from node.client import BlockingClient

        chain = b""
        if not self.node and self.has_config and self.config.genesis.is_file():
            chain = pinned_chain(self.config)
        with BlockingClient.connect(
            self.target, tls=self.tls, chain_id=chain, seconds=self.seconds
        ) as client:
            yield client

    @property
    def suite(self) -> Suite:
        """Of the chain whose genesis the configuration names; ``international`` where none is at hand."""
        if not self.has_config or not self.config.genesis.is_file():
            return INTERNATIONAL
        from node.genesis_file import load_genesis
        from node.ledger.genesis import suite_of

        return suite_of(load_genesis(self.config.genesis))

    # --- who signs ----------------------------------------------------------------------------------------

    @property
    def member(self) -> str:
        """``--member``. Raises Failure where it was not given."""
        if not self.member_id:
            raise usage("name the member that acts with --member, for example --member PA")
        return self.member_id

    @cached_property
    def signers(self) -> "list[Signer]":
        """The officers' keys of ``--key``; asks for a passphrase where no file gives it."""
        if not self.key_paths:
            raise usage("name the key that signs with --key FILE (several officers: --key FILE --key FILE)")
        return [self._signer(path) for path in self.key_paths]

    def _signer(self, path: Path) -> "Signer":
        """A token with a ``pin-source`` asks nobody."""
        from node.keys.loader import load_signer

        return load_signer(path, lambda: self.passphrase_bytes(f"Passphrase of {path}"))

    def passphrase_bytes(self, prompt: str, *, confirm: bool = False) -> bytes:
        """From the file of ``VOSTRO_PASSPHRASE_FILE``, or typed. Raises KeystoreError, Failure."""
        return self._secret(passphrase_file(), prompt, confirm=confirm)

    def other_passphrase_bytes(self, prompt: str, *, confirm: bool = False) -> bytes:
        """As above, where a command takes a second one: ``VOSTRO_OTHER_PASSPHRASE_FILE``."""
        return self._secret(other_passphrase_file(), prompt, confirm=confirm)

    def _secret(self, file: Path | None, prompt: str, *, confirm: bool) -> bytes:
        if not file:
            return self.typed(prompt, confirm=confirm)
        from node.keys.keystore import read_passphrase

        return read_passphrase(file)

    def typed(self, prompt: str, *, confirm: bool = False) -> bytes:
        """A secret typed at the terminal. Raises Failure where nobody can type."""
        if not sys.stdin.isatty():
            raise usage(
                "there is no terminal to ask for a passphrase: name a file of mode 0600 that holds it with "
                f"{PASSPHRASE_FILE}, for a second one with {OTHER_PASSPHRASE_FILE}"
            )
        typed: str = typer.prompt(prompt, hide_input=True, confirmation_prompt=confirm, err=True)
        return typed.encode()

    # --- acting -------------------------------------------------------------------------------------------

    def act(self, client: "BlockingClient", contract: str, method: str, *arguments: Any) -> Receipt:
        """Sign one operation, send it, wait for the decision and show it. Raises what the client raises."""
        from node.client.signing import operation

        return self.act_many(client, [operation(contract, method, *arguments)])

    def act_many(self, client: "BlockingClient", operations: Sequence[Operation]) -> Receipt:
        """As ``act``, with operations that are applied together or not at all."""
        receipt = self.submit(client, operations)
        self.output.record("Applied", told_receipt(receipt))
        return receipt

    def submit(self, client: "BlockingClient", operations: Sequence[Operation]) -> Receipt:
        """As ``act_many``, and shows nothing: for a command that has more to show."""
        signed = client.sign(self.member, operations, self.signers)
        return client.submit(signed.raw, seconds=self.seconds)

    def decimals(self, client: "BlockingClient", asset: str) -> int:
        """How many decimals an asset has."""
        if asset not in self._decimals:
            self._decimals[asset] = client.query("assets", "get_asset", asset).decimals
        return self._decimals[asset]

    def amount(self, client: "BlockingClient", asset: str, text: str) -> int:
        """Minor units of an amount as typed. Raises Failure."""
        from node.client.amounts import BadAmount, parse_amount

        try:
            return parse_amount(text, self.decimals(client, asset))
        except BadAmount as error:
            raise usage(str(error)) from error

    def told_amount(self, client: "BlockingClient", asset: str, minor: int) -> str:
        """An amount as people and programs read it."""
        from node.client.amounts import format_amount

        return format_amount(minor, self.decimals(client, asset))


def session_of(ctx: typer.Context) -> Session:
    """The session that main.py put into the context."""
    session = ctx.find_root().obj
    if not isinstance(session, Session):
        raise TypeError("the command was called without its root")
    return session


def suite_named(name: str) -> Suite:
    """A suite by its name. Raises Failure where this release has none of that name."""
    if name not in SUITES:
        raise usage(f"--suite is one of {', '.join(SUITES)}")
    return SUITES[name]


def pinned_chain(config: NodeConfig) -> bytes:
    """The identity of the chain whose genesis lies beside the configuration. Raises GenesisRefused."""
    from node.genesis_file import load_genesis
    from node.ledger.genesis import chain_id

    return chain_id(load_genesis(config.genesis))


def told_receipt(receipt: Receipt) -> dict[str, object]:
    """A receipt's fields under their stable names."""
    from node.client.describe import event_fields

    return {
        "tx_id": receipt.tx_id,
        "outcome": "applied" if receipt.code == 0 else "refused",
        "height": receipt.height,
        "index": receipt.index,
        "codespace": receipt.codespace,
        "code": receipt.code,
        "failed_operation": receipt.failed_operation,
        "events": [event_fields(event) for event in receipt.events],
    }


def told_outcome(outcome: "Outcome") -> dict[str, object]:
    """An outcome's fields under their stable names."""
    fields: dict[str, object] = {"tx_id": outcome.tx_id, "outcome": outcome.word}
    if outcome.receipt is not None:
        fields |= {"height": outcome.receipt.height, "index": outcome.receipt.index}
    if outcome.refusal is not None:
        fields |= {
            "code": outcome.refusal.code,
            "sentence": outcome.refusal.sentence,
            "decided": outcome.decided,
        }
    return fields


def unverified(sentence: str) -> Failure:
    """Something that should verify does not."""
    return Failure(Exit.UNVERIFIED, sentence)
