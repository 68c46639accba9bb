"""Where a mine's files are put: a folder of this machine, or one of an SFTP server.

A file is written under a temporary name beside its own, brought to the disk, and renamed: whoever collects it finds all
of it or nothing, and whoever was told that it is there finds it after a power cut. Of an SFTP server the disk is synced
where it can be asked to (`fsync@openssh.com`); `posix-rename@openssh.com` replaces what is there in one step.

The host key is compared with a known one, always; there is no way to trust the first that comes.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from .. import durable, secret
from ..core.errors import LineLost
from ..hand import Hand
from ..peer import tune

TEMPORARY = ".new"  # behind the name until the file is whole
CONNECT = 10.0  # s for TCP
LOGIN = 20.0  # s for keys and authentication
ALIVE = 10.0  # s of silence before the server is asked whether it is there; three times


class Place(Protocol):
    """Somewhere that files can be put."""

    lost: str  # why it is gone; empty while it is there

    async def open(self) -> None:
        """Reach it. Raises `LineLost`."""

    async def put(self, name: str, data: bytes) -> None:
        """Have the file there, whole and lasting. Raises `LineLost`; then it is there or not, but never in part."""

    async def tidy(self, name: str) -> None:
        """Remove what a write that was broken off left of this name, if anything."""

    def close(self) -> None:
        """Leave it."""


class Folder:
    """A folder of this machine."""

    def __init__(self, path: str, mode: int) -> None:
        self.path, self.mode = Path(path), mode
        self.lost = ""
        self._hand = Hand("files")

    async def open(self) -> None:
        try:
            await self._hand.do(durable.sync, self.path)
        except OSError as error:
            raise LineLost(f"files in {self.path}: {error}") from error

    async def put(self, name: str, data: bytes) -> None:
        try:
            await self._hand.do(durable.replace, self.path / name, data, self.mode)
        except OSError as error:
            await self.tidy(name)  # room for others, if that was what lacked
            raise LineLost(f"write {name} in {self.path}: {error}") from error

    async def tidy(self, name: str) -> None:
        try:
            await self._hand.do((self.path / (name + TEMPORARY)).unlink, True)
        except OSError:
            pass

    def close(self) -> None:
        self._hand.end()


class Account(NamedTuple):
    """An SFTP server, and how to be let in."""

    host: str
    port: int
    user: str
    folder: str  # empty: where the server begins
    known_hosts: str  # file
    fingerprint: str  # SHA256:... of the host key, in its place
    key: str  # file
    passphrase: str  # of it, by reference
    password: str  # by reference

    @property
    def where(self) -> str:
        return f"sftp://{self.user}@{self.host}:{self.port}"


class Sftp:
    """A folder of an SFTP server."""

    def __init__(self, account: Account, wake: Callable[[], None]) -> None:
        self.account = account
        self.lost = ""
        self._wake = wake
        self._connection: Any = None
        self._client: Any = None
        self._syncs = True  # it can be asked to
        self._replaces = True

    async def open(self) -> None:
        account = self.account
        try:
            import asyncssh
        except ImportError as error:
            raise LineLost(f"connect {account.where}: {error}; install vedette[sftp]") from error
        logging.getLogger("asyncssh").setLevel(logging.WARNING)
        hand = Hand("connect")  # names block
        place = self
        known: Any = ([], [], [])

        class Watcher(asyncssh.SSHClient):  # type: ignore[misc]
            def validate_host_public_key(self, host: str, addr: str, port: int, key: Any) -> bool:
                return bool(account.fingerprint) and key.get_fingerprint() == account.fingerprint

            def connection_lost(self, exc: Exception | None) -> None:
                place.lost = place.lost or (str(exc) if exc is not None else "the server closed the connection")
                place._wake()

        sock = None
        try:
            sock = await hand.do(socket.create_connection, (account.host, account.port), CONNECT)
            sock.setblocking(False)
            tune(sock)
            known = str(secret.place(account.known_hosts)) if account.known_hosts else known
            keys = await hand.do(self._keys, asyncssh)
            password = secret.read(account.password, f"connect {account.where}") if account.password else None
            async with asyncio.timeout(LOGIN):
                self._connection = await asyncssh.connect(
                    account.host, account.port, sock=sock, client_factory=Watcher, username=account.user,
                    password=password, client_keys=keys, known_hosts=known, config=None, agent_path=None,
                    x509_trusted_certs=None, gss_auth=False, gss_kex=False, keepalive_interval=ALIVE,
                )  # fmt: skip
                self._client = await self._connection.start_sftp_client()
                if account.folder:
                    await self._client.chdir(account.folder)
        except TimeoutError as error:
            raise LineLost(f"connect {account.where}: no answer in time") from error
        except asyncssh.HostKeyNotVerifiable as error:
            hint = (
                "compare its key with known_hosts or fingerprint, by a way that you trust (ssh-keyscan alone is none)"
            )
            raise LineLost(
                f"connect {account.where}: the server is not the one that is known: {error}; {hint}"
            ) from error
        except (OSError, ValueError, asyncssh.Error) as error:
            raise LineLost(f"connect {account.where}: {error}") from error
        finally:
            hand.end()
            if self._connection is None and sock is not None:
                sock.close()

    def _keys(self, asyncssh: Any) -> list[Any]:
        account = self.account
        if not account.key:
            return []
        what = f"connect {account.where}"
        passphrase = secret.read(account.passphrase, what, "passphrase") if account.passphrase else None
        try:
            return [asyncssh.read_private_key(str(secret.place(account.key)), passphrase)]
        except (OSError, ValueError) as error:
            raise LineLost(f"{what}: key {account.key}: {error}") from error

    async def put(self, name: str, data: bytes) -> None:
        import asyncssh

        new = name + TEMPORARY
        try:
            async with self._client.open(new, "wb") as file:
                await file.write(data)
                if self._syncs:
                    try:
                        await file.fsync()
                    except asyncssh.SFTPOpUnsupported:
                        self._syncs = False
            await self._rename(asyncssh, new, name)
        except (OSError, ValueError, asyncssh.Error) as error:
            raise LineLost(f"write {name} at {self.account.where}: {error or type(error).__name__}") from error

    async def _rename(self, asyncssh: Any, new: str, name: str) -> None:
        if self._replaces:
            try:
                await self._client.posix_rename(new, name)
                return
            except asyncssh.SFTPOpUnsupported:
                self._replaces = False
        try:
            await self._client.rename(new, name)
        except asyncssh.SFTPError:  # this server renames onto nothing that is there
            await self._client.remove(name)
            await self._client.rename(new, name)

    async def tidy(self, name: str) -> None:
        import asyncssh

        try:
            await self._client.remove(name + TEMPORARY)
        except (OSError, asyncssh.Error):
            pass

    def close(self) -> None:
        if self._connection is not None:
            self._connection.abort()


def readable(path: str) -> bool:
    """Whether a file is there for this process."""
    try:
        return os.access(secret.place(path), os.R_OK)
    except OSError:
        return False
