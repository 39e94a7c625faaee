"""The server of a pod that is told to end waits for the gateway, as long as there is one."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from cdk8s_pypiserver import PyPIServerSpec
from gateway_programs import basic, make_wheel, multipart, read_answer, registry
from manifests import pod_of, synthesize
from programs import PATIENCE, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway_programs import Gateway

PUBLISHER = ("publisher", "publisher-password")


@contextlib.contextmanager
def hook(gateway: Gateway) -> Iterator[subprocess.Popen[bytes]]:
    """Run the preStop hook of the server beside this gateway, looking more often."""
    (server,) = (each for each in pod_of(synthesize(PyPIServerSpec()))["containers"] if each["name"] == "pypiserver")
    *shell, script = server["lifecycle"]["preStop"]["exec"]["command"]
    replacements = {
        "/run/pypiserver/gateway.pid": str(gateway.pid_file),
        "/run/pypiserver/stopping": str(gateway.directory / "stopping"),
        f"{8080:04X}": f"{gateway.port:04X}",
        "sleep 1": "sleep 0.1",
    }
    for old, new in replacements.items():
        assert old in script
        script = script.replace(old, new)
    process = subprocess.Popen([*shell, script])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_the_server_waits_for_what_the_gateway_has_begun(tmp_path: Path) -> None:
    with registry(tmp_path) as running:
        gateway = running.gateway
        body, content_type = multipart(make_wheel(tmp_path, "slowly", "1.0", padding=os.urandom(1_000_000)))
        with gateway.connect() as upload:
            upload.sendall(
                f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: {basic(*PUBLISHER)}\r\nContent-Type: {content_type}\r\n"
                f"Content-Length: {len(body)}\r\n\r\n".encode()
                + body[:-1]
            )
            wait_for(running.received, "the body of the upload")
            gateway.quit()
            wait_for(lambda: not gateway.accepts(), "the end of accepting")
            with hook(gateway) as process:
                children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
                wait_for(lambda: sleeps(children), "a look at the gateway")
                upload.sendall(body[-1:])
                assert read_answer(upload)[0] == 200
                assert process.wait(PATIENCE) == 0
        assert not gateway.pid_file.exists()


def test_the_server_does_not_wait_for_a_gateway_that_was_killed(tmp_path: Path) -> None:
    with registry(tmp_path) as running:
        identity = running.gateway.pid_file.read_text()
        running.gateway.kill()
        running.gateway.pid_file.write_text(identity)
        with hook(running.gateway) as process:
            assert process.wait(PATIENCE) == 0


def sleeps(children: Path) -> bool:
    """Whether the hook has decided to wait."""
    with contextlib.suppress(FileNotFoundError):
        return any(Path(f"/proc/{child}/comm").read_text() == "sleep\n" for child in children.read_text().split())
    return False
