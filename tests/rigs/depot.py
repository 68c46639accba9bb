"""Where a mine's files go by SFTP, on asyncssh, and what it does wrong: it refuses, it is full, it cuts a file in half
and hangs up, it renames nothing.
"""

from __future__ import annotations

import os
import random
import socket
import time
from pathlib import Path
from typing import Any

import asyncssh
from msgspec import Struct

from .hosts import collected

WORD = "123456"  # the password of the account `mine`


class Faults(Struct):
    """What it does wrong; may be changed while it runs. Shares are of files."""

    refuse: float = 0.0  # nothing may be opened
    full: float = 0.0  # nothing can be written
    torn: float = 0.0  # half is written, and the connection ends
    fixed: float = 0.0  # nothing is renamed


class Depot:
    """A server on a free port, and the files that it has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.faults = Faults()
        self.chance = random.Random(1201)
        self.links: list[Any] = []
        self.did = 0  # wrong
        self.filed = 0.0  # monotonic s of the last file that got its name
        self._server: Any = None

    async def start(self, listener: socket.socket | None = None) -> None:
        """Serve on a socket that somebody else has bound, or on a free port of the loopback."""
        depot = self

        class Door(asyncssh.SSHServer):  # type: ignore[misc]
            def connection_made(self, conn: Any) -> None:
                depot.links.append(conn)

            def password_auth_supported(self) -> bool:
                return True

            def validate_password(self, username: str, password: str) -> bool:
                return (username, password) == ("mine", WORD)

        class Shelf(asyncssh.SFTPServer):  # type: ignore[misc]
            def _fails(self, share: float) -> bool:
                wrong = depot.chance.random() < share
                depot.did += wrong
                return wrong

            def open(self, path: bytes, pflags: int, attrs: Any) -> object:
                if self._fails(depot.faults.refuse):
                    raise asyncssh.SFTPPermissionDenied("not today")
                return super().open(path, pflags, attrs)

            def write(self, file_obj: Any, offset: int, data: bytes) -> int:
                if self._fails(depot.faults.full):
                    raise asyncssh.SFTPFailure("no space left")
                if self._fails(depot.faults.torn):
                    super().write(file_obj, offset, data[: len(data) // 2])
                    depot.drop()
                    raise asyncssh.SFTPConnectionLost("torn")
                return int(super().write(file_obj, offset, data))

            def fsync(self, file_obj: Any) -> None:
                """The disk is not its subject, and would hold up all else that lives in this loop."""

            def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
                if self._fails(depot.faults.fixed):
                    raise asyncssh.SFTPFailure("no")
                super().posix_rename(oldpath, newpath)
                depot.filed = time.monotonic()

        key = asyncssh.generate_private_key("ssh-ed25519")
        self.fingerprint = key.get_fingerprint()
        home = os.fspath(self.folder)
        where = {"sock": listener} if listener is not None else {"host": "127.0.0.1", "port": 0}
        self._server = await asyncssh.create_server(
            Door, **where, server_host_keys=[key], sftp_factory=lambda chan: Shelf(chan, chroot=home)
        )
        self.host, self.port = self._server.sockets[0].getsockname()

    @property
    def url(self) -> str:
        return f"sftp://mine@{self.host}:{self.port}/"

    def rows(self) -> tuple[list[list[str]], list[str]]:
        """Of alarms; and files that are not whole."""
        rows, partly = collected(self.folder)
        return rows.get("YCBJ", []), partly

    def drop(self) -> None:
        """Every connection ends."""
        for link in self.links:
            link.abort()
        self.links.clear()

    async def stop(self) -> None:
        self._server.close()
        self.drop()
        await self._server.wait_closed()
