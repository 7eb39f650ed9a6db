"""The second implementation of the formats for the suite guomi: independent.py once more, with the hash and
the signatures of section 2's other row, both GmSSL's. Imports nothing of the product.
"""

import importlib.util
from pathlib import Path
from typing import Any, Final

import gmssl_pyx

P: Final = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
B: Final = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93


def sm3(data: bytes) -> bytes:
    """H of the suite ``guomi``."""
    digest: bytes = gmssl_pyx.sm3_hash(data)
    return digest


def is_signed(algorithm: str, public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the key signed the message: r || s and a compressed point, as the document has them."""
    if algorithm != "sm2" or len(public_key) != 33 or public_key[0] not in (2, 3) or len(signature) != 64:
        return False
    x = int.from_bytes(public_key[1:], "big")
    square = (x**3 - 3 * x + B) % P
    y = pow(square, (P + 1) // 4, P)
    if x >= P or y * y % P != square:
        return False
    if y & 1 != public_key[0] & 1:
        y = P - y
    point = x.to_bytes(32, "big") + y.to_bytes(32, "big")
    numbers = _integer(signature[:32]) + _integer(signature[32:])
    try:
        return bool(gmssl_pyx.sm2_verify(point, message, b"\x30" + bytes([len(numbers)]) + numbers))
    except gmssl_pyx.GmsslInnerError:  # r or s beyond the order
        return False


def _integer(data: bytes) -> bytes:
    """A positive integer in DER."""
    short = data.lstrip(b"\0") or b"\0"
    padded = b"\0" + short if short[0] & 0x80 else short
    return b"\x02" + bytes([len(padded)]) + padded


def _loaded(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"{name}_of_guomi", Path(__file__).with_name(f"{name}.py"))
    if spec is None or spec.loader is None:
        raise ImportError(name)
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _with_guomi() -> tuple[Any, Any]:
    formats, receipts = _loaded("independent"), _loaded("independent_receipts")
    formats.SUITE, formats.sha, formats.is_signed = "guomi", sm3, is_signed
    for name, value in vars(formats).items():
        if name in vars(receipts) and not name.startswith("__"):
            setattr(receipts, name, value)
    return formats, receipts


guomi, guomi_receipts = _with_guomi()
"""The functions of independent.py and of independent_receipts.py, for chains of the suite guomi."""
