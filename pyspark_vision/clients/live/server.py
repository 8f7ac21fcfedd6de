"""Serve the live page: a port, an address to print, a browser, and an end at once."""

from __future__ import annotations

import socket
import sys
import threading
import webbrowser

import uvicorn

from pyspark_vision.clients import access, stopping
from pyspark_vision.clients.live.app import live_app
from pyspark_vision.clients.live.guard import Door
from pyspark_vision.clients.live.live import Live, LiveOptions
from pyspark_vision.sinks import terminal

# Near those of Spark's own pages (4040) and Dash (8050), which others have.
DEFAULT_PORT = 8040
# What a page may say: the numbers of cameras that it shows.
_LARGEST_MESSAGE_BYTES = 64 * 1024


def serve(options: LiveOptions, listening: socket.socket, host: str, *, opens: bool) -> int:
    """Serve until Ctrl-C, SIGTERM or a closed terminal; 0."""
    port = listening.getsockname()[1]
    token = access.token_for(host)
    live = Live(options)
    server = uvicorn.Server(server_config(live, Door(host, port, token)))

    def end(number: int) -> None:
        # uvicorn, which hears SIGINT and SIGTERM itself while it serves, looks at it.
        server.should_exit = True

    with stopping.listening(end, stopping.die):
        try:
            live.start()
            address = access.page_url(host, port, token)
            terminal.say(f"live: {address} (Ctrl-C ends it)", sys.stdout)
            if opens and not _open(address):
                terminal.say("live: no browser could be opened; open it yourself", sys.stderr)
            server.run(sockets=[listening])
        finally:
            live.stop()
    return 0


def server_config(live: Live, door: Door) -> uvicorn.Config:
    """How uvicorn serves the page."""
    return uvicorn.Config(
        live_app(live, door),
        log_level="warning",
        access_log=False,
        server_header=False,
        ws="websockets-sansio",
        ws_max_size=_LARGEST_MESSAGE_BYTES,
        ws_per_message_deflate=False,  # pictures are as small as they get
        ws_ping_interval=5.0,
        ws_ping_timeout=10.0,
        # No page is waited for: each would stay open for ever.
        timeout_graceful_shutdown=1,
        lifespan="off",
    )


def _open(address: str) -> bool:
    """Have the desktop's browser show it; not waited for."""
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return False
    threading.Thread(target=browser.open, args=(address,), daemon=True).start()
    return True
