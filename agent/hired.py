"""`python -m agent.hired`: a process that systemd starts when the agent wants one for pictures (`child.py`).

It has the limits and the devices of `vedette-video@.service`, learns from whoever called which of three programs it is,
and is that program from then on.
"""

from __future__ import annotations

import runpy
import sys

from . import child

PROGRAMS = frozenset({"agent.vision", "drivers.clip", "drivers.video_child"})


def main() -> int:
    """Become what is wanted."""
    post = child.hire()
    try:
        if post.module not in PROGRAMS:
            print(f"vedette: `{post.module}` is no program for pictures", file=sys.stderr)
            return 1
        runpy.run_module(post.module, run_name="__main__", alter_sys=True)
        return 0
    finally:
        child.goodbye()


if __name__ == "__main__":
    sys.exit(main())
