"""The way to an ingress controller by its Service's ports, under the names that it serves.

Nobody has to edit a hosts file or to trust less: a proxy for CONNECT leads every name to the controller, clients ask it
because of HTTPS_PROXY, and what they say through it, TLS included, is between them and the controller.
"""

from __future__ import annotations

import contextlib
import select
import socket
import socketserver
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

BUFFER = 256 * 1024


class _Handler(socketserver.StreamRequestHandler):
    """One connection of a client."""

    server: _Server
    rbufsize = 0
    """Unbuffered: what follows the headers belongs to the controller."""

    def handle(self) -> None:
        """Read CONNECT, and pass on what follows."""
        line = self.rfile.readline(8192).decode("latin-1").split()
        while self.rfile.readline(8192).strip():
            pass
        if len(line) != 3 or line[0] != "CONNECT" or not line[1].endswith(":443"):
            self.wfile.write(b"HTTP/1.1 405 CONNECT HOST:443 only\r\nContent-Length: 0\r\n\r\n")
            return
        with socket.create_connection(("127.0.0.1", self.server.target)) as controller:
            self.wfile.write(b"HTTP/1.1 200 Connected\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                _exchange(self.connection, controller)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, target: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = target


def _exchange(client: socket.socket, controller: socket.socket) -> None:
    other = {client: controller, controller: client}
    while True:
        for ready in select.select(list(other), [], [])[0]:
            if not (data := ready.recv(BUFFER)):
                return
            other[ready].sendall(data)


@contextlib.contextmanager
def proxy_to(port: int) -> Iterator[str]:
    """Serve a proxy whose every tunnel to port 443 ends at this loopback port; give its URL."""
    with _Server(port) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
