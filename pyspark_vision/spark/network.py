"""Whether something listens at an address, seen from this process."""

from __future__ import annotations

import socket

TIMEOUT_S = 3.0


def refusal(address: str) -> str | None:
    """Why nothing answers at ``host:port``; ``None`` if something does."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        return "it is not HOST:PORT"
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=TIMEOUT_S).close()
    except (socket.gaierror, UnicodeError):  # the second: no name can be so, as `a..b`
        return f"the name {host} is not known"
    except TimeoutError:
        return f"no answer in {TIMEOUT_S:g} s"
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return None
