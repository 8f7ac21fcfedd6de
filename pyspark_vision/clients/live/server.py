"""Serve the live page: a port, an address to print, a browser, and an end at once."""

from __future__ import annotations

import errno
import signal
import socket
import sys
import threading
import webbrowser

import uvicorn

from pyspark_vision.clients import access
from pyspark_vision.clients.live.app import live_app
from pyspark_vision.clients.live.guard import Door
from pyspark_vision.clients.live.live import Live, LiveOptions
from pyspark_vision.errors import InvalidOptionError

# Near those of Spark's own pages (4040) and Dash (8050), which others have.
DEFAULT_PORT = 8040
_TRIES = 50
# What a page may say: the numbers of cameras that it shows.
_LARGEST_MESSAGE_BYTES = 64 * 1024


def listen(host: str, port: int | None) -> socket.socket:
    """A socket that listens; ``None``: the default port, or the next one that is free.

    Raises :class:`InvalidOptionError`.
    """
    tries = [port] if port is not None else [*range(DEFAULT_PORT, DEFAULT_PORT + _TRIES), 0]
    for number in tries:
        try:
            return _bound(host, number)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and port is None:
                continue
            raise InvalidOptionError(_why(host, number, error)) from None
    raise InvalidOptionError(f"--host {host}: it has no free port")


def serve(options: LiveOptions, listening: socket.socket, host: str, *, opens: bool) -> int:
    """Serve until SIGINT or SIGTERM; 0."""
    port = listening.getsockname()[1]
    token = access.token_for(host)
    live = Live(options)
    config = server_config(live, Door(host, port, token))
    # uvicorn ends well at these, and then raises them again.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        live.start()
        address = access.page_url(host, port, token)
        print(f"live: {address} (Ctrl-C ends it)", flush=True)
        if opens and not _open(address):
            print("live: no browser could be opened; open the address yourself", file=sys.stderr)
        uvicorn.Server(config).run(sockets=[listening])
    except KeyboardInterrupt:
        pass
    finally:
        live.stop()
    return 0


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


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


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(128)
    except BaseException:
        made.close()
        raise
    return made


def _why(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"--port {port}: another program has it; choose another one, or leave --port out for "
            "the next that is free"
        )
    if error.errno == errno.EACCES:
        return f"--port {port}: this user may not have it (most systems keep those below 1024)"
    return f"--host {host}: it is no address of this machine ({(error.strerror or error)})"
