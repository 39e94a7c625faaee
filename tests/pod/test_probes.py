"""The probes of the server's container: by its own programs, whatever is in front of it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from cases import CASES
from cdk8s_pypiserver.pod.server import PORT
from manifests import pod_of, synthesize
from programs import RUNTIME, Server, free_port

PROGRAMS = [command for command in ("busybox wget", "wget") if shutil.which(command.split()[0])]
"""What answers to the name: that of the image is busybox's."""


def ask(command: list[str]) -> int:
    """Run a probe's command where the environment names a proxy that is not there; returns the exit code."""
    program = shutil.which(command[0])
    assert program
    environment = {"http_proxy": f"http://127.0.0.1:{free_port()}"}
    return subprocess.run([program, *command[1:]], check=False, env=environment, timeout=20).returncode


@pytest.mark.parametrize("name", ["startupProbe", "livenessProbe"])
def test_a_server_without_a_gateway_lives_until_it_is_killed(tmp_path: Path, name: str) -> None:
    containers = {each["name"]: each for each in pod_of(synthesize(CASES["defaults"]))["containers"]}
    wget, *options, url = containers["pypiserver"][name]["exec"]["command"]
    assert (wget, url) == ("wget", f"http://127.0.0.1:{PORT}/health")
    assert f'"127.0.0.1:{PORT}"' in (RUNTIME / "server/pod/gunicorn.conf.py").read_text()
    assert PROGRAMS
    with Server(tmp_path) as server:
        commands = [[*program.split(), *options, f"{server.url}/health"] for program in PROGRAMS]
        assert [ask(command) for command in commands] == [0] * len(commands)
        server.kill()
        assert all(ask(command) for command in commands)
