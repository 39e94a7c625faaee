"""A line between a client and a server: a TCP proxy with a round-trip time and a bandwidth, which counts."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHUNK = 16 * 1024
BACKLOG_SECONDS = 0.02
"""How much of what the server sends waits in front of the line: as in a router, so that no download holds up all."""
_REQUEST = re.compile(rb"[A-Z]+ ([^ ?]+)[^ ]* HTTP/1\.1\r\n")


@dataclass
class Transfer:
    """One request, and what came back for it."""

    path: str
    size: int = 0
    """Bytes of the answer with its headers."""


class Line:
    """The proxy; every client has to send one request after the other on a connection, as pip and uv do."""

    def __init__(
        self, server_port: int, *, round_trip: float = 0.0, bandwidth: float = 0.0, sending: float = 0.0
    ) -> None:
        """Lead to a loopback port.

        Args:
            server_port: Where the server listens.
            round_trip: Seconds that a request and the first byte of its answer need on the way together.
            bandwidth: Bytes that come back each second, over all connections; 0 for as many as there are.
            sending: Bytes that go there each second, in the same way.
        """
        self.port = 0
        self.transfers: list[Transfer] = []
        self._server_port = server_port
        self._one_way = round_trip / 2
        self._bandwidth = bandwidth
        self._sending = sending
        self._free = self._free_to_send = 0.0
        self._loop = asyncio.new_event_loop()

    @contextlib.contextmanager
    def opened(self) -> Iterator[Line]:
        """Serve until the end of the block."""
        thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        thread.start()
        listener = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._connection, "127.0.0.1", 0), self._loop
        ).result()
        self.port = listener.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(self._close(listener), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.close()

    async def _close(self, listener: asyncio.Server) -> None:
        listener.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _connection(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
        # The kernel has answered the client already: what it says waits for the handshake too.
        handshake = self._loop.time() + 2 * self._one_way
        current = Transfer("")

        def asked(data: bytes) -> float:
            nonlocal current
            if match := _REQUEST.match(data):
                current = Transfer(match[1].decode())
                self.transfers.append(current)
            begin = max(self._loop.time(), handshake)
            if self._sending:
                begin = max(begin, self._free_to_send)
                self._free_to_send = begin = begin + len(data) / self._sending
            return begin + self._one_way

        def answered(data: bytes) -> float:
            current.size += len(data)
            begin = max(self._loop.time(), self._free)
            self._free = begin + (len(data) / self._bandwidth if self._bandwidth else 0.0)
            return self._free + self._one_way

        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(
                self._carry(from_client, to_server, asked),
                self._carry(from_server, to_client, answered),
            )

    async def _carry(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, due: Callable[[bytes], float]
    ) -> None:
        """Carry bytes in one direction; each chunk arrives when `due` says."""
        underway: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        arriving = asyncio.ensure_future(self._arrive(underway, target))
        with contextlib.suppress(ConnectionError):
            while data := await source.read(CHUNK):
                underway.put_nowait((due(data), data))
                free = max(self._free, self._free_to_send)
                await asyncio.sleep(max(0.0, free - self._loop.time() - BACKLOG_SECONDS))
        underway.put_nowait((due(b""), b""))
        await arriving

    async def _arrive(self, underway: asyncio.Queue[tuple[float, bytes]], target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                moment, data = await underway.get()
                if (wait := moment - self._loop.time()) > 0:
                    await asyncio.sleep(wait)
                if not data:
                    break
                target.write(data)
                await target.drain()
        target.close()
