"""Load for a web API from one process: the same request over many connections, as cheap as it gets.

    python -m benchmarks.http_load PORT CONNECTIONS SECONDS WARM_UP_SECONDS [RATE]

Each connection is kept and sends a request when the one before has its answer; with RATE, all of
them together send no more than so many a second. What came after the warm-up is printed as JSON:
``statuses``, ``seconds`` (of each answer) and ``cpu_s`` (of this process).

It reads sockets that have something and nothing else: asyncio's streams took as much of a core as
the API that they asked.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
from collections import Counter, deque
from dataclasses import dataclass

# As curl sends it.
REQUEST = (
    b"GET /purchase_a_sword HTTP/1.1\r\nHost: 127.0.0.1:5000\r\nUser-Agent: curl/7.88.1\r\n"
    b"Accept: */*\r\n\r\n"
)
_LENGTH = b"content-length: "
_END = b"\r\n\r\n"
# The longest wait for a socket, so that the end and the rate are kept to.
_TICK_S = 0.005


@dataclass(frozen=True)
class Came:
    """``seconds`` of each answer; ``cpu_s`` of this process."""

    statuses: Counter[int]
    seconds: list[float]
    cpu_s: float


class _Connection:
    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.asked_at = 0.0
        self._read = b""

    def ask(self) -> None:
        self.asked_at = time.perf_counter()
        self.socket.sendall(REQUEST)

    def answer(self) -> int | None:
        """The status, once the whole answer is there."""
        came = self.socket.recv(65_536)
        if not came:
            raise ConnectionError("the API has closed a connection")
        self._read += came
        head = self._read.find(_END)
        if head < 0:
            return None
        at = self._read.find(_LENGTH, 0, head) + len(_LENGTH)
        if len(self._read) < head + len(_END) + int(self._read[at : self._read.find(b"\r", at)]):
            return None
        status = int(self._read[9:12])
        self._read = b""
        return status


def load(port: int, connections: int, seconds: float, warm_up_s: float, rate: float | None) -> Came:
    """What came back in ``seconds`` after the warm-up."""
    statuses: Counter[int] = Counter()
    taken_s: list[float] = []
    with selectors.DefaultSelector() as ready:
        idle = deque(_Connection(port) for _ in range(connections))
        for connection in idle:
            ready.register(connection.socket, selectors.EVENT_READ, connection)
        began = time.perf_counter()
        counts_from, ends_at = began + warm_up_s, began + warm_up_s + seconds
        cpu_before = time.process_time()
        asked = 0
        is_warm = False
        while (now := time.perf_counter()) < ends_at:
            if not is_warm and now >= counts_from:
                is_warm, cpu_before = True, time.process_time()
                statuses.clear()
                taken_s.clear()
            due = len(idle) if rate is None else int((now - began) * rate) - asked
            for _ in range(min(due, len(idle))):
                idle.popleft().ask()
                asked += 1
            for key, _ in ready.select(_TICK_S):
                connection = key.data
                status = connection.answer()
                if status is not None:
                    taken_s.append(time.perf_counter() - connection.asked_at)
                    statuses[status] += 1
                    idle.append(connection)
        cpu_s = time.process_time() - cpu_before
        for key in list(ready.get_map().values()):
            key.data.socket.close()
    return Came(statuses, taken_s, cpu_s)


if __name__ == "__main__":
    _, port, connections, seconds, warm_up_s, *rate = sys.argv
    came = load(
        int(port),
        int(connections),
        float(seconds),
        float(warm_up_s),
        float(rate[0]) if rate else None,
    )
    json.dump(vars(came), sys.stdout)
