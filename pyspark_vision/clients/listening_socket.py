"""The socket that a page or an API is served at, and what is said where it cannot be had."""

from __future__ import annotations

import errno
import socket

from pyspark_vision.errors import InvalidOptionError

# From a command's usual port on, if nobody asked for one.
_TRIED_PORTS = 50


def listen(host: str, port: int | None, usual_port: int, *, backlog: int = 128) -> socket.socket:
    """A socket that listens at ``port``; ``None``: at the usual one, or the next that is free.

    ``port`` 0 is any that is free. ``backlog``: connections that wait to be taken. Raises
    :class:`InvalidOptionError`.
    """
    if port is not None:
        tried = [port]
    else:
        tried = [*range(usual_port, min(usual_port + _TRIED_PORTS, 65_536)), 0]
    for number in tried:
        try:
            return _bound(host, number, backlog)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and port is None:
                continue
            raise InvalidOptionError(_why(host, number, error)) from None
        except UnicodeError:  # no name can be so: an empty part, or one of more than 63 letters
            raise InvalidOptionError(f"--host {host}: it is no address of this machine") from None
    raise InvalidOptionError(f"--host {host}: it has no free port")


def _bound(host: str, port: int, backlog: int) -> socket.socket:
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    return socket.create_server((host, port), family=family, backlog=backlog)


def _why(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"--port {port}: another program has it; choose another (0: any that is free)"
    if error.errno == errno.EACCES:
        return f"--port {port}: this user may not have it (most systems keep those below 1024)"
    # `create_server` adds the address, in a bracket of its own.
    reason = str(error.strerror or error).partition(" (while")[0]
    return f"--host {host}: it is no address of this machine ({reason})"
