"""What a check says: a row of `words.WORDS`, about something, with the facts that fill it."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from ..core.words import Language
from ..web.texts import TEXTS
from . import words

Level = Literal["ok", "unknown", "advice", "warning", "fault"]
LEVELS: tuple[Level, ...] = ("ok", "unknown", "advice", "warning", "fault")  # the worst last
WRONG = ("warning", "fault")


class Finding(NamedTuple):
    """One thing that was looked at. `key` is `<theme> <word>`, a row of the table."""

    key: str
    what: str  # what was looked at: a path, a device, an uplink
    facts: dict[str, Any] = {}  # noqa: RUF012 never changed

    @property
    def theme(self) -> str:
        return self.key.partition(" ")[0]

    @property
    def level(self) -> Level:
        return words.WORDS[self.key].level

    def text(self, language: Language) -> str:
        """What was found."""
        row = words.WORDS[self.key]
        return (row.zh if language == "zh" else row.en).format(**self._filled(language))

    def do(self, language: Language) -> str:
        """What to do about it; empty where there is nothing to be done."""
        row = words.WORDS[self.key]
        return (row.do_zh if language == "zh" else row.do_en).format(**self._filled(language))

    def _filled(self, language: Language) -> dict[str, Any]:
        """The facts, where `hint` is the key of a sentence of the local page."""
        hint = self.facts.get("hint")
        return self.facts if hint is None else {**self.facts, "hint": TEXTS[hint][language == "zh"]}


def found(key: str, what: str, **facts: Any) -> Finding:
    """
    >>> found("clock synced", "clock", source="chronyd").level
    'ok'
    """
    return Finding(key, what, facts)
