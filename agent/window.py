"""What a site file says of the local page: `[web]`. Settings only, so that whoever reads a site needs no web server."""

from __future__ import annotations

import importlib.util
import ipaddress
from typing import Annotated, Literal

from msgspec import Meta, Struct

from .core.words import Language

NEEDED = ("starlette", "uvicorn", "argon2")  # of the extra `web`


class Web(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The page that shows this site to whoever stands before it, `/metrics`, `/healthz` and `/readyz`."""

    listen: str = "127.0.0.1:8080"  # ADDRESS:PORT; an address of the network lets others look, too
    language: Language | Literal[""] = ""  # where a browser does not say; empty: that of the site
    certificate: str = ""  # PEM file with the chain; with `key`: TLS
    key: str = ""  # PEM file
    hosts: list[str] = []  # names under which browsers may ask, beside addresses, localhost and the machine's own
    plain: bool = False  # people may log in without TLS from other machines: their passwords cross the network bare
    pictures: Literal["all", "login"] = "all"  # who sees stills and clips
    streams: Annotated[int, Meta(ge=1, le=256)] = 16  # pages that are live at a time
    trend_mb: Annotated[float, Meta(ge=0)] = 16.0  # MB of memory for trends; 9 kB are needed for a channel

    @property
    def address(self) -> tuple[str, int]:
        """Host and port. Raises `ValueError` in words."""
        host, _, port = self.listen.rpartition(":")
        host = host.strip("[]")
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise ValueError(f"`{self.listen}` is no place to listen at; 127.0.0.1:8080 or [::]:8080 is") from None
        if not port.isdigit() or not 0 <= int(port) <= 65535:
            raise ValueError(f"`{self.listen}`: a port is a number up to 65535")
        return host, int(port)

    @property
    def is_local(self) -> bool:
        """Whether only this machine can ask."""
        return ipaddress.ip_address(self.address[0]).is_loopback

    @property
    def may_log_in(self) -> bool:
        """Whether a password would not cross a network bare."""
        return self.is_local or bool(self.certificate) or self.plain

    def faults(self) -> list[str]:
        """What is wrong with the whole, each with what to do."""
        found = []
        try:
            self.address  # noqa: B018
        except ValueError as error:
            found.append(f"listen: {error}")
        if bool(self.certificate) != bool(self.key):
            found.append("certificate and key belong together: give both, or none")
        if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
            found.append(f'the page needs {", ".join(missing)}, not installed: pip install "vedette[web]"')
        return found
