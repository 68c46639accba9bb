"""Platforms without MQTT: does somebody listen, is he believed, can files be put there. No word is said to them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import unquote

from .. import tls
from ..core.errors import LineLost
from ..hand import Hand
from ..uplink.minefiles_places import Sftp
from .disk import room, size
from .finding import Finding, found
from .machine import ENTER, WRITE, Machine, Person, mode

KNOCK = 5.0  # s for TCP
ROOM = 50e6  # bytes that a folder of files should have; project


async def line(name: str, place: tuple[str, int], settings: tls.Secured) -> AsyncIterator[Finding]:
    """A platform behind TCP or TLS."""
    what = f"{name} {place[0]}:{place[1]}"
    hand = Hand("doctor")
    try:
        (await hand.do(socket.create_connection, place, KNOCK)).close()
        yield found("platform reached", what)
        if settings.secured:
            papers = await hand.do(tls.papers, settings, what)
            await hand.do(tls.trial, papers.context, *place)
            yield found("platform believed", what)
    except socket.gaierror as error:
        yield found("platform nameless", what, why=error.strerror or str(error))
    except (tls.Unfit, LineLost) as fault:
        yield found("platform tls", what, why=str(fault))
    except OSError as error:
        yield found("platform away", what, why=error.strerror or str(error) or "no answer")
    finally:
        hand.end()


def folder(machine: Machine, who: Person, name: str, url: str) -> Iterator[Finding]:
    """A folder of this machine that takes files."""
    path = Path(unquote(url.partition("://")[2]))
    what = f"{name} {path}"
    there = machine.stat(path)
    if there is None:
        yield found("platform no-folder", what)
        return
    if not who.may(there, WRITE | ENTER):
        yield found("platform rights", what, user=who.name, mode=mode(there))
        return
    left = room(str(machine.at(path)))
    if left is not None and left.free < ROOM:
        yield found("platform full", what, free=size(left.free))
    else:
        yield found("platform folder", what, user=who.name)


async def sftp(name: str, place: Sftp) -> AsyncIterator[Finding]:
    """A folder of an SFTP server: key of the host, login, and whether the folder is there. Nothing is written."""
    what = f"{name} {place.account.where}"
    try:
        await place.open()
        yield found("platform login", what, folder=place.account.folder or ".")
    except LineLost as fault:
        why = str(fault).partition(": ")[2] or str(fault)
        yield found("platform key" if "not the one that is known" in why else "platform sftp", what, why=why)
    finally:
        place.close()
        await asyncio.sleep(0)
