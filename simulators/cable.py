"""The uplink as a cable that can be cut: a TCP proxy between a client and a broker."""

from __future__ import annotations

import asyncio

from .port import Port


class Cable(Port):
    """The link between a client and a broker as a TCP proxy that can be cut.

    `cut` breaks the connections and refuses new ones; `cut(silent=True)` leaves them open and moves no
    byte any more, as a dead radio does. `heal` mends either.
    """

    def __init__(self, host: str, port: int) -> None:
        super().__init__()
        self.far = (host, port)
        self._flows = asyncio.Event()
        self._flows.set()

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def whole(self) -> bool:
        return self._server is not None and self._flows.is_set()

    async def cut(self, silent: bool = False) -> None:
        if silent:
            self._flows.clear()
            return
        await self.stop()

    async def heal(self) -> None:
        self._flows.set()
        if self._server is None:
            await self.start()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        try:
            far_reader, far = await asyncio.open_connection(*self.far)
            ends.append(far)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, far))
                both.create_task(self._pump(far_reader, writer))
        except* OSError:
            for end in ends:
                end.close()  # what is on its way still arrives
        finally:
            if not all(end.is_closing() for end in ends):
                for end in ends:
                    end.transport.abort()  # cut: it does not

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self._flows.wait()
            writer.write(data)
            await writer.drain()
        raise ConnectionError("closed")
