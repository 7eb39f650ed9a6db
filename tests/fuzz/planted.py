"""A decoder with a fault that only coverage leads to, to see the fuzzer find it."""

PATH: bytes = b"\xf7\x01\x99\x42"


def decode(data: bytes) -> int:
    """Fails behind four bytes, each with a branch of its own."""
    if len(data) < len(PATH):
        return 0
    if data[0] == PATH[0]:
        if data[1] == PATH[1]:
            if data[2] == PATH[2]:
                if data[3] == PATH[3]:
                    return 1 // (data[0] - PATH[0])
                return 4
            return 3
        return 2
    return 1


def run(data: bytes) -> None:
    """Try one input."""
    decode(data)
