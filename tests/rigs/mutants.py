"""Ten small mistakes that somebody could make in the product; the models and the simulation must find every one.

Each is a name and replacements as in `tests/rigs/sabotage.py`, told as a change of the source text: where the text is
no longer there, making the mutant fails, loudly.
"""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Callable
from typing import Any

Replacement = tuple[str, str, Callable[[Any], Any]]


def rewritten(before: str, after: str) -> Callable[[Any], Any]:
    """What makes of a function the same one with `before` replaced by `after` in its text."""

    def change(old: Any) -> Any:
        function = inspect.unwrap(getattr(old, "__func__", old))
        text = textwrap.dedent(inspect.getsource(function))
        if text.count(before) != 1:
            raise LookupError(
                f"{function.__qualname__}: {text.count(before)} times {before!r}; the mutant is out of date"
            )
        space: dict[str, Any] = {}
        # The annotations stay text, as they are in the module.
        code = compile(
            f"from __future__ import annotations\n{text.replace(before, after)}", inspect.getfile(function), "exec"
        )
        exec(code, vars(sys.modules[function.__module__]), space)
        return space[function.__name__]

    return change


MUTANTS: dict[str, tuple[Replacement, ...]] = {
    "delay-beyond": (  # an alarm waits for longer than its delay
        ("agent.core.core", "Core._judge", rewritten("(now - since >= bench.delay)", "(now - since > bench.delay)")),
    ),
    "bad-clears": (  # a value that is not GOOD clears
        ("agent.core.core", "Core._judge", rewritten("& (quality == GOOD) & ~over", "& ~over")),
    ),
    "edge-not-counted": (  # a clear has the number of the edge before it
        ("agent.core.core", "Core._clear", rewritten("edge=last.edge + 1", "edge=last.edge")),
    ),
    "recall-skipped": (  # a restart forgets what was open
        (
            "agent.core.core",
            "Core.recall",
            rewritten("self.adopt(self.start(boot, at), open, at)", "self.adopt(self.start(boot, at), (), at)"),
        ),
    ),
    "promised-early": (  # an alarm counts as stored before it is
        (
            "agent.outbox",
            "Outbox._promise",
            rewritten(
                "return self._stored",
                "said = asyncio.get_running_loop().create_future()\n    said.set_result(True)\n    return said",
            ),
        ),
    ),
    "end-not-held": (  # the platform hears of an end before the disk
        ("agent.outbox", "Outbox._must_wait", rewritten("return body.event not in WORSE or", "return False and")),
    ),
    "gap-not-told": (  # what the caps dropped is counted and not said
        (
            "agent.outbox",
            "Outbox._tell_gaps",
            rewritten(
                'self.tell("gap", text, uplink=gap.uplink, reason=gap.reason, **facts)', "dict(text=text, **facts)"
            ),
        ),
    ),
    "settle-forgets-live": (  # what is in flight when it is committed is not owed after a kill
        ("agent.feed", "Feed.settle", rewritten("in sorted(row for row, _ in self.live)", "in ()")),
    ),
    "resent-not-marked": (  # what was sent before comes as if it were new
        ("agent.feed", "Feed.again", rewritten("structs.replace(item, resent=True)", "item")),
    ),
    "order-not-retried": (  # an order that failed is not tried again
        (
            "agent.orders",
            "OrderBox.settle",
            rewritten("wanted.due = False, self._now() + RETRY", "wanted.due = False, None"),
        ),
    ),
}
