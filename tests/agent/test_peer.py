"""Whether the other end still acknowledges: between two network namespaces, with a link that is dead without a word."""

from __future__ import annotations

import socket
import time

import pytest

from agent import peer
from tests.rigs.namespace import FAR, Link
from tests.rigs.trial import Skip


@pytest.fixture
def link():
    try:
        with Link() as made:
            yield made
    except Skip as why:
        pytest.skip(str(why))


def test_who_owes_an_answer_and_gives_none_is_gone_and_who_owes_none_is_not(link, monkeypatch):
    monkeypatch.setattr(peer, "GRACE", 0.1)
    patience = 0.2 + 0.1  # s

    def watched(seconds):
        """s until it is gone; infinity where it is not."""
        begun = time.monotonic()
        while time.monotonic() - begun < seconds:
            if other.is_gone(time.monotonic()):
                return time.monotonic() - begun
            time.sleep(0.02)
        return float("inf")

    with link.far(lambda: socket.create_server((FAR, 0))) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
        with near, far:
            peer.tune(near)
            other = peer.Peer(near)
            monkeypatch.setattr(peer, "USER_TIMEOUT", 200)  # the kernel keeps its five seconds
            near.sendall(b"who is there?")
            assert far.recv(100) == b"who is there?"
            assert watched(2 * patience) == float("inf")  # silent for long, and owes nothing
            link.drop()
            assert watched(2 * patience) == float("inf")
            near.sendall(b"and now?")
            assert patience - 0.05 <= watched(4.0) < 4.0  # before the kernel
            assert near.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
            link.heal()
            assert far.recv(100) == b"and now?"
            while other.is_gone(time.monotonic()):  # until the acknowledgement is here, too
                time.sleep(0.01)
            monkeypatch.setattr(peer, "USER_TIMEOUT", 0)
            link.drop()
            near.sendall(b"again")
            assert watched(2 * patience) == float("inf")  # the kernel's own patience
    assert other.is_gone(time.monotonic()) is False  # closed: that is told another way
