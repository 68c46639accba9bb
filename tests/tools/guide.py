"""What the guide shows of site files: the TOML of a README and its chapters, in the order in which one reads them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
LANGUAGES = ("en", "zh")


def pages(language: str) -> list[Path]:
    """The README, then its chapters."""
    end = ".zh-CN.md" if language == "zh" else ".md"
    chapters = (path for path in (ROOT / "docs").glob("*.md") if path.name.endswith(".zh-CN.md") == (language == "zh"))
    return [ROOT / f"README{end}", *sorted(chapters)]


def blocks(language: str) -> list[str]:
    """Each block of TOML."""
    text = "\n".join(page.read_text("utf-8") for page in pages(language))
    return re.findall(r"```toml\n(.*?)```", text, re.S)
