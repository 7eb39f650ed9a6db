"""What ``:86:`` says of an entry, in the ways in which banks write it.

Sub-fields (``166?00CREDIT?20EREF+..?30BIC?31IBAN?32NAME``, after any separator: Germany, Austria, Czechia,
Poland, Hungary), words between slashes (``/EREF/../IBAN/../NAME/..``: the Netherlands, Scandinavia, and ours)
and words with a plus (``EREF+..SVWZ+..``). A text of no such form stays a text. Lines are wrapped where they
are full, so they are joined without a blank.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from node.adapters.records import EntryDetail, Party, References

SAYS_NOTHING: Final = frozenset(
    {"NONREF", "NOTPROVIDED", "NOTAVAILABLE", "NOREF", "EREF", "KREF", "MREF", "MARF", "PREF", "CREF"}
)
"""References that are none: fillers, and words that say where the reference stands."""
REFERENCE_MAX: Final = 35
SUBFIELD_CHARACTERS: Final = 27
"""So many a sub-field of purpose holds; one that is full goes on in the next."""

PURPOSE: Final = frozenset(str(number) for number in (*range(20, 30), *range(60, 64)))
"""The sub-fields that carry it."""

_SUBFIELDS: Final = re.compile(r"(?:[0-9]{3})?([^\w\s/:.,()'-])(?:00|10|2[0-9])")
_PLUS: Final = re.compile(r"(EREF|KREF|MREF|CRED|DEBT|COAM|OAMT|SVWZ|ABWA|ABWE|PURP)(?:[+]|: )")
_SLASH: Final = re.compile(
    r"/(EREF|PREF|IREF|KREF|MARF|CSID|TRTP|TRCD|REMI|USTD|STRD|PURP|IBAN|BIC|NAME|ORDP|BENM|CNTP|ADDR|ISDT"
    r"|RTRN|ULTD|ULTB|ULTC|CDTRREFTP|CDTRREF|OCMT|EXCH|CHGS|ROC|RFB|INS|PY)/"
)


@dataclass(slots=True)
class _Said:
    """What was found so far."""

    end_to_end_id: str = ""
    instruction_id: str = ""
    name: str = ""
    account: str = ""
    agent: str = ""
    purpose: str = ""
    remittance: str = ""

    def take(self, word: str, value: str) -> None:
        """Understand a word; the first of each counts."""
        value = value.strip(" /") if word not in {"SVWZ", "REMI", "USTD"} else value.strip().strip("/")
        match word:
            case "EREF" | "ROC":
                self.end_to_end_id = self.end_to_end_id or reference(value)
            case "KREF" | "PREF" | "IREF":
                self.instruction_id = self.instruction_id or reference(value)
            case "NAME" | "ORDP" | "BENM":
                self.name = self.name or value
            case "IBAN":
                self.account = self.account or value
            case "BIC":
                self.agent = self.agent or value
            case "CNTP":
                account, agent, name = [*value.split("/"), "", ""][:3]
                self.account, self.agent = self.account or account, self.agent or agent
                self.name = self.name or name
            case "PURP":
                self.purpose = self.purpose or value
            case "SVWZ" | "REMI" | "USTD":
                self.remittance = self.remittance or value.removeprefix("USTD//")
            case _:
                pass

    def detail(self) -> EntryDetail:
        """As a record."""
        return EntryDetail(
            References(self.end_to_end_id, self.instruction_id),
            None,
            Party(self.name, self.account, agent=self.agent),
            self.purpose,
            (self.remittance,) if self.remittance else (),
        )


def reference(text: str) -> str:
    """A reference as a bank writes it; empty where it says nothing."""
    found = text.strip()
    if len(found) > REFERENCE_MAX:
        found = found.split()[0][:REFERENCE_MAX]
    return "" if found.rstrip("+").replace(" ", "").upper() in SAYS_NOTHING else found


def information_of(lines: Iterable[str]) -> EntryDetail:
    """What one ``:86:`` says; an empty detail where its form is none of these."""
    text = "".join(lines)
    said = _Said()
    found = _SUBFIELDS.match(text.lstrip())
    if found:
        _read_subfields(text, found[1], said)
    else:
        for pattern in (_SLASH, _PLUS):
            for word, value in _words(pattern, text):
                said.take(word, value)
    return said.detail()


def _words(pattern: "re.Pattern[str]", text: str) -> Iterator[tuple[str, str]]:
    """Every word with what stands behind it, up to the next."""
    parts = pattern.split(text)
    yield from zip(parts[1::2], parts[2::2], strict=True)


def _read_subfields(text: str, mark: str, said: _Said) -> None:
    """Bank, account and name of the other side, and the purpose: words with a plus where there are any."""
    parts = re.split(re.escape(mark) + r" ?([0-9]{2})", text)
    fields = list(zip(parts[1::2], parts[2::2], strict=True))
    told: dict[str, str] = {}
    for number, value in fields:
        told[number] = told.get(number, "") + value
    said.agent, said.account = told.get("30", "").strip(), (told.get("38") or told.get("31", "")).strip()
    said.name = (told.get("32", "") + told.get("33", "")).strip()
    purpose, is_full = "", True
    for number, value in fields:
        if number in PURPOSE:
            purpose += value if is_full else f"\n{value}"
            is_full = len(value) >= SUBFIELD_CHARACTERS
    free = [_PLUS.split(purpose)[0]]
    for word, value in _words(_PLUS, purpose):
        own, _, after = (value, "", "") if word == "SVWZ" else value.partition("\n")
        said.take(word, own.replace("\n", " "))
        free.append(after)
    left = " ".join(" ".join(free).split())
    said.remittance = said.remittance or left
