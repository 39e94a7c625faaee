"""A name server as a cluster has one: it knows the addresses of Services, and nothing else."""

from __future__ import annotations

import socket
import struct
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from programs import PATIENCE

if TYPE_CHECKING:
    from typing import Self

_A, _NO_SUCH_NAME = 1, 3


@dataclass
class NameServer:
    """Answers over UDP; `addresses` may be changed at any time."""

    addresses: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join(PATIENCE)
        self._socket.close()

    def _run(self) -> None:
        while True:
            question, client = self._socket.recvfrom(512)
            if not question:
                return
            self._socket.sendto(self._answer(question), client)

    def _answer(self, question: bytes) -> bytes:
        labels, at = [], 12
        while length := question[at]:
            labels.append(question[at + 1 : at + 1 + length].decode())
            at += 1 + length
        name = ".".join(labels)
        self.asked.append(name)
        (kind,) = struct.unpack_from(">H", question, at + 1)
        address = self.addresses.get(name)
        # The name is where the question has it.
        record = struct.pack(">HHHIH", 0xC00C, _A, 1, 1, 4) + socket.inet_aton(address) if address else b""
        found = [record] if record and kind == _A else []
        flags = 0x8180 | (0 if address else _NO_SUCH_NAME)
        return (
            question[:2] + struct.pack(">HHHHH", flags, 1, len(found), 0, 0) + question[12 : at + 5] + b"".join(found)
        )
