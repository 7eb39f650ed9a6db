"""The name of a key in a hardware token: a URI of RFC 7512, wherever a key file may be named.

    pkcs11:token=bank;object=sequencer?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/run/pin

``token`` or ``serial``, and ``object`` or ``id`` (percent-encoded bytes), must name one key; ``module-path``
is the vendor's library. The PIN comes from the file of ``pin-source``, or from where a passphrase would;
``pin-value`` is refused, because a reference is no place for a secret.
"""

import re
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote, unquote_to_bytes

from node.keys.keystore import KeystoreError

SCHEME: Final = "pkcs11:"
URI_CHARACTERS_MAX: Final = 1_024
_PATH_NAMES: Final = {"token", "serial", "object", "id", "type"}
_QUERY_NAMES: Final = {"module-path", "pin-source"}

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class TokenRefused(KeystoreError):
    """The URI, the PIN or the key in the token cannot be used; somebody has to put it right."""

    code = "TOKEN_REFUSED"


class TokenUri(NamedTuple):
    """What a URI names. Empty: not named."""

    module: Path
    token: str
    serial: str
    object: str
    id: bytes
    pin_source: Path | None

    def __str__(self) -> str:
        """For people, without the library."""
        return f"key {self.object or self.id.hex()} of token {self.token or self.serial}"


def is_token_uri(reference: Path | str) -> bool:
    """Whether a reference names a key in a token, and not a key file."""
    return str(reference).startswith(SCHEME)


def parse_uri(text: str) -> TokenUri:
    """The parts of a URI (RFC 7512). Raises: TokenRefused; its text quotes names only."""
    if _SURROGATE.search(text):
        raise TokenRefused("the URI is not Unicode")
    if not text.startswith(SCHEME) or len(text) > URI_CHARACTERS_MAX:
        raise TokenRefused(f"a token's key is named by {SCHEME}token=...;object=...?module-path=...")
    path, _, query = text.removeprefix(SCHEME).partition("?")
    named = _attributes(path, ";", _PATH_NAMES) | _attributes(query, "&", _QUERY_NAMES)
    if named.get("type", "private") != "private":
        raise TokenRefused("a signer's URI names a private key: leave type out, or say type=private")
    if "module-path" not in named:
        raise TokenRefused("the URI names no library: add ?module-path=/path/of/the/vendor's/library.so")
    module = Path(unquote(named["module-path"]))
    if not module.is_absolute():
        raise TokenRefused("module-path is an absolute path")
    source = unquote(named.get("pin-source", "")).removeprefix("file:")
    return TokenUri(
        module,
        unquote(named.get("token", "")),
        unquote(named.get("serial", "")),
        unquote(named.get("object", "")),
        unquote_to_bytes(named.get("id", "")),
        Path("/" + source.lstrip("/")) if source else None,
    )


def _attributes(text: str, separator: str, known: set[str]) -> dict[str, str]:
    named: dict[str, str] = {}
    for part in filter(None, text.split(separator)):
        name, sign, value = part.partition("=")
        if name == "pin-value":
            raise TokenRefused("a PIN does not belong into a URI: name its file with pin-source=file:/path")
        if name not in known or not sign or not value or name in named:
            raise TokenRefused(
                f"the URI's attributes are {', '.join(sorted(known))}, each once; {name[:32]!r} is not"
            )
        named[name] = value
    return named
