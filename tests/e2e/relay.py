"""Pass what comes to port 9000 on to the host and the port of the arguments, and back: a way that can be closed."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

PORT = 9000
CHUNK = 65536


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        there_reader, there_writer = await asyncio.open_connection(sys.argv[1], int(sys.argv[2]))
    except OSError:
        writer.close()
        return
    await asyncio.gather(_pass_on(reader, there_writer), _pass_on(there_reader, writer))


async def main() -> None:
    """Listen, without an end."""
    server = await asyncio.start_server(_serve, "0.0.0.0", PORT)  # noqa: S104 - of a pod
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
