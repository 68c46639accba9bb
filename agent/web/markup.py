"""HTML as values. Text becomes HTML only through `tag`, which escapes it: nothing can be injected.

>>> tag("b", "1 < 2", title='"x"')
'<b title="&quot;x&quot;">1 &lt; 2</b>'
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any, TypeAlias

VOID = {"br", "hr", "img", "input", "link", "meta", "wbr", "source"}


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


Child: TypeAlias = "str | int | float | Iterable[Child] | None"


def join(*children: Child) -> Html:
    """Children one after the other: HTML as it is, text escaped, None left out."""
    out: list[str] = []
    _into(out, children)
    return Html("".join(out))


def _into(out: list[str], children: Iterable[Any]) -> None:
    for child in children:
        if isinstance(child, Html):
            out.append(child)
        elif isinstance(child, str):
            out.append(_plain(child))
        elif child is None:
            continue
        elif isinstance(child, int | float):
            out.append(str(child))
        else:
            _into(out, child)


def _plain(text: str, quote: bool = False) -> str:
    """Text as HTML, without the two characters that have a meaning of our own."""
    return escape(text, quote).replace("\0", "").replace("\1", "")


def tag(name: str, /, *children: Child, **attributes: Any) -> Html:
    """An element. `class_` and `for_` lose their line, others get dashes; True is bare, None and False are left out."""
    out = [f"<{name}"]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        out.append(f" {key}" if value is True else f' {key}="{_plain(str(value), True)}"')
    out.append(">")
    if name not in VOID:
        _into(out, children)
        out.append(f"</{name}>")
    return Html("".join(out))


HOLE = "\0"  # begins and ends the place of a part in the text of another; text never holds one


class Sheet:
    """A page while it is written: its live parts by id, each with holes where other parts go.

    `live` gives an element whose inside is a part; `whole` fills all holes.
    `gone`: what the page is about is there no longer.
    """

    def __init__(self) -> None:
        self.parts: dict[str, str] = {}
        self.gone = False

    def live(self, id: str, *children: Child, as_: str = "div", **attributes: Any) -> Html:
        self.parts[id] = join(*children)
        return Html(tag(as_, Html(f"{HOLE}{id}{HOLE}"), id=id, data_live=True, **attributes))

    def whole(self, text: str) -> str:
        """The text with every part in its place."""
        pieces = text.split(HOLE)
        for i in range(1, len(pieces), 2):
            pieces[i] = self.whole(self.parts[pieces[i]])
        return "".join(pieces)


def changed(before: dict[str, str], now: Sheet) -> dict[str, str]:
    """The parts that differ from those of `before`, whole, outermost only: what is in one of them goes with it."""
    found: dict[str, str] = {}
    inside: set[str] = set()
    for id, text in now.parts.items():
        if id in before and before[id] != text:
            found[id] = text
    for text in found.values():
        inside |= _within(text, now.parts)
    return {id: now.whole(text) for id, text in found.items() if id not in inside}


def _within(text: str, parts: dict[str, str]) -> set[str]:
    ids = set(text.split(HOLE)[1::2])
    return ids.union(*(_within(parts[id], parts) for id in ids))
