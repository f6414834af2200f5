"""A Milvus server for tests: Milvus Lite in this process, which may ask for a token and speak TLS; or one
that runs already, which ``FACEKD_TEST_MILVUS=http://localhost:PORT`` names and which asks for no token."""

from __future__ import annotations

import base64
import importlib.util
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facekd.gallery.milvus.connecting import library

#: what a test is skipped for, which the end of a run counts
NO_CLIENT = "pymilvus is not installed (the extra milvus)"
NO_SERVER = "no Milvus server here (pip install milvus-lite)"


def why_not() -> str | None:
    """Why tests with a server are impossible here; `None` if they are possible."""
    if importlib.util.find_spec("pymilvus") is None:
        return NO_CLIENT
    return None if importlib.util.find_spec("milvus_lite") else NO_SERVER


@dataclass(frozen=True)
class GivenServer:
    """A server that these tests do not start, and that they leave as it was."""

    uri: str


def given_server() -> GivenServer | None:
    """The one that the environment names."""
    uri = os.environ.get("FACEKD_TEST_MILVUS")
    return GivenServer(uri) if uri and importlib.util.find_spec("pymilvus") else None


class MilvusServer:
    """A server on a loopback port, which stays the same when it is stopped and started again. With a
    ``token`` it answers nobody else; with ``tls``, a key and a certificate in PEM, it is encrypted."""

    def __init__(self, token: str | None = None, tls: tuple[bytes, bytes] | None = None) -> None:
        self._token, self._tls = token, tls
        self._folder = tempfile.TemporaryDirectory(prefix="facekd-milvus-")
        self._port = 0
        #: what was sent as authorization
        self.tokens: list[str] = []
        self.start()

    @property
    def uri(self) -> str:
        return f"http{'s' if self._tls else ''}://localhost:{self._port}"

    def start(self) -> None:
        library()  # quietly, before Milvus Lite imports pymilvus
        import grpc
        from milvus_lite.adapter.grpc.servicer import MilvusServicer
        from milvus_lite.db import MilvusLite
        from pymilvus.grpc_gen import milvus_pb2_grpc

        self._database = MilvusLite(str(Path(self._folder.name) / "data"))
        self._server = grpc.server(
            ThreadPoolExecutor(4),
            interceptors=[_gate(self)],
            options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1)],
        )
        milvus_pb2_grpc.add_MilvusServiceServicer_to_server(MilvusServicer(self._database), self._server)
        place = f"localhost:{self._port}"
        if self._tls:
            self._port = self._server.add_secure_port(place, grpc.ssl_server_credentials([self._tls]))
        else:
            self._port = self._server.add_insecure_port(place)
        self._server.start()

    def stop(self) -> None:
        self._server.stop(0).wait()
        self._database.close()

    def close(self) -> None:
        self.stop()
        self._folder.cleanup()

    def lets_in(self, authorization: str) -> bool:
        token = base64.b64decode(authorization).decode()
        self.tokens.append(token)
        return self._token is None or token == self._token


def _gate(server: MilvusServer) -> Any:
    """Checks the token of every request, and answers a wrong one as Milvus does."""
    import grpc

    def refuse(_: object, context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "auth check failure, please check api key is correct")

    class Gate(grpc.ServerInterceptor):
        def intercept_service(self, continuation: Any, details: Any) -> Any:
            sent = dict(details.invocation_metadata).get("authorization", "")
            return (
                continuation(details) if server.lets_in(sent) else grpc.unary_unary_rpc_method_handler(refuse)
            )

    return Gate()
