"""One parser of `tests/rigs/parsers.py` under atheris, led by coverage.

python -m tests.rigs.guided NAME RUNS SECONDS FOLDER        exit status 0: no promise broken
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["drivers", "agent", "simulators"]):
    from tests.rigs.parsers import parsers


def main(name: str, runs: str, seconds: str, folder: str) -> None:
    home = Path(folder)
    parser = next(one for one in parsers(home) if one.name == name)
    corpus = home / "corpus"
    corpus.mkdir()
    for which, seed in enumerate(parser.seeds):
        (corpus / f"{which}").write_bytes(bytes([which]) + seed)

    def one(data: bytes) -> None:
        """The first byte chooses the seed that the rest is read as."""
        if data:
            parser.read(data[1:], data[0] % len(parser.seeds))

    limits = [f"-runs={runs}", f"-max_total_time={seconds}", "-max_len=600", f"-artifact_prefix={home}/"]
    atheris.Setup([sys.argv[0], *limits, "-print_final_stats=0", "-verbosity=1", str(corpus)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
