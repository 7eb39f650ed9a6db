"""What a person has to put right when banks found a network."""

from enum import StrEnum


class Code(StrEnum):
    """Permanent names of refusals, for programs and for the telephone."""

    MALFORMED = "ENTRY_MALFORMED"
    SIGNATURE = "ENTRY_SIGNATURE"
    KEY = "ENTRY_KEY"
    KEY_TWICE = "ENTRY_KEY_TWICE"
    MEMBER_TWICE = "ENTRY_MEMBER_TWICE"
    ADDRESS_TWICE = "ENTRY_ADDRESS_TWICE"
    OTHER_NETWORK = "ENTRY_OTHER_NETWORK"
    OTHER_SUITE = "ENTRY_OTHER_SUITE"
    NO_VALIDATOR = "ENTRY_NO_VALIDATOR"
    FOUNDATION = "FOUNDATION_REFUSED"
    DIRECTORY = "DIRECTORY_REFUSED"
    PROCESS = "PROCESS_REFUSED"


class NetworkRefused(Exception):
    """The text begins with the code and says what to do."""

    def __init__(self, code: Code, sentence: str) -> None:
        super().__init__(f"{code.value}: {sentence}")
        self.code = code
