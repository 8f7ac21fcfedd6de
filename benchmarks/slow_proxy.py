"""A TCP proxy that holds each request back, as a store far away would."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_CHUNK_BYTES = 256 * 1024


@contextmanager
def delayed(host: str, port: int, delay_s: float) -> Iterator[str]:
    """The URL that leads to ``host:port``, ``delay_s`` later for each request.

    What a client sends in one piece counts as one request: true of GETs, which have no body. The
    bytes are left alone, so that signatures hold; many requests wait side by side.
    """
    loop = asyncio.new_event_loop()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(host, port)
        await asyncio.gather(_copy(reader, back, delay_s), _copy(there, writer, 0.0))

    server = loop.run_until_complete(
        asyncio.start_server(serve, "127.0.0.1", 0, limit=_CHUNK_BYTES)
    )
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float) -> None:
    try:
        while piece := await reader.read(_CHUNK_BYTES):
            if delay_s:
                await asyncio.sleep(delay_s)
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()
