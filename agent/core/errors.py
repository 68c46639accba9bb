"""What can go wrong, split by guilt.

    Fault
    |- ConfigFault        the configuration is wrong: tell every complaint with its line, stop (exit 78)
    `- WorldFault         the world is wrong: `keep` retries
       |- LineLost        cannot connect, or the line went away
       |- NoReply         nothing came back in time
       |- BadReply        something came back that does not fit what was asked
       |- Refused         the other side understood and said no (Modbus exception, MQTT reason code)
       |- NetFault        a net that looks at pictures is not here, is not what its manifest says, or does not run
       `- StoreFault      the disk does not take or give what it should

Anything else that is raised is our own mistake and ends the process; systemd starts it again.
Bad data is not an exception: it is a `Quality`.
"""

from __future__ import annotations


class Fault(Exception):
    """Root of every error that this program raises on purpose."""


class ConfigFault(Fault):
    """The configuration is wrong. `complaints`: one line of text for each fault found; `outcome`: what came of it."""

    def __init__(self, complaints: list[str], outcome: str = "nothing was started") -> None:
        super().__init__("\n".join(complaints))
        self.complaints, self.outcome = complaints, outcome


class WorldFault(Fault):
    """The world is wrong; trying again later may help. The text says operation, place and hint."""


class LineLost(WorldFault):
    """No connection, or the connection ended."""


class NoReply(WorldFault):
    """Nothing came back within the time allowed."""


class BadReply(WorldFault):
    """A reply came that does not fit the open request; it was thrown away."""


class Refused(WorldFault):
    """The other side answered with a refusal. `code` is the protocol's own number."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


class NetFault(WorldFault):
    """A net is missing, is not the one of its manifest, or does not run; whoever needs it makes an alarm of it."""


class StoreFault(WorldFault):
    """The store could not be read or written."""
