"""A proxy in front of the emulator's Storage Write API: what the service says, and lost answers.

The emulator calls the second commit of a stream ``INVALID_STREAM_STATE``; the service has
``STREAM_ALREADY_COMMITTED`` for it. The proxy can also lose the answers to requests that were
carried out.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
from google.cloud.bigquery_storage_v1 import types

_CODES = types.StorageError.StorageErrorCode


class BigQueryStreamsProxy(grpc.GenericRpcHandler):  # type: ignore[misc]
    """``lose("AppendRows", 2)``: so many answers of that method are lost, after it has run.

    ``calls``: how often each method was called. ``address``: ``host:port``.
    """

    def __init__(self, target: str) -> None:
        self._channel = grpc.insecure_channel(target)
        self._server = grpc.server(futures.ThreadPoolExecutor(8), handlers=[self])
        self._lock = threading.Lock()
        self._losses: Counter[str] = Counter()
        self._committed: set[str] = set()
        self.calls: Counter[str] = Counter()
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self) -> BigQueryStreamsProxy:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None).wait()
        self._channel.close()

    def lose(self, method: str, times: int = 1) -> None:
        """The next answers of a method."""
        with self._lock:
            self._losses[method] += times

    def service(self, handler_call_details: Any) -> Any:
        """Pass a call on, as bytes."""
        path = handler_call_details.method
        method = path.rpartition("/")[2]
        if method == "AppendRows":
            onward = self._channel.stream_stream(path)

            def stream(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
                for answer in onward(requests):
                    self._answered(method, context)
                    yield answer

            return grpc.stream_stream_rpc_method_handler(stream)
        call = self._channel.unary_unary(path)

        def unary(request: bytes, context: Any) -> bytes:
            try:
                answer = call(request)
            except grpc.RpcError as error:
                context.abort(error.code(), error.details())
            if method == "BatchCommitWriteStreams":
                answer = self._as_the_service(request, answer)
            self._answered(method, context)
            return bytes(answer)

        return grpc.unary_unary_rpc_method_handler(unary)

    def _answered(self, method: str, context: Any) -> None:
        with self._lock:
            self.calls[method] += 1
            is_lost = self._losses[method] > 0
            self._losses[method] -= is_lost
        if is_lost:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the connection is gone")

    def _as_the_service(self, request: bytes, answer: bytes) -> bytes:
        streams = types.BatchCommitWriteStreamsRequest.deserialize(request).write_streams
        given = types.BatchCommitWriteStreamsResponse.deserialize(answer)
        with self._lock:
            for error in given.stream_errors:
                if error.entity in self._committed and error.code == _CODES.INVALID_STREAM_STATE:
                    error.code = _CODES.STREAM_ALREADY_COMMITTED
            if not given.stream_errors:
                self._committed.update(streams)
        return bytes(types.BatchCommitWriteStreamsResponse.serialize(given))
