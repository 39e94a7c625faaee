"""The files of the server: what is shipped is what is needed."""

from pathlib import Path

import cdk8s
import pytest
import requests

from cases import CASES
from cdk8s_pypiserver import PyPIServerChart
from cdk8s_pypiserver.pod.server import ROOMS
from manifests import pod_of, synthesize
from programs import PATIENCE, Server, upload


@pytest.mark.parametrize(
    ("case", "further"),
    [("defaults", set()), ("backup", set()), ("object-store", {"store"}), ("upstream", {"upstream"})],
)
def test_what_a_concern_runs_is_shipped_where_it_is(case: str, further: set[str]) -> None:
    manifests = synthesize(CASES[case])
    (server,) = (each for each in pod_of(manifests)["containers"] if each["name"] == "pypiserver")
    volumes = {each["name"] for each in pod_of(manifests)["volumes"]}
    mounts = {each["name"]: each["mountPath"] for each in server["volumeMounts"]}
    shipped = {name.removeprefix("server-") for name in mounts if name.startswith("server-") and name in volumes}
    assert shipped == {*ROOMS, *further} | {"tmp"}
    assert mounts["server-pod"] == "/etc/pypiserver/server/pod"


def test_the_server_runs_on_the_files_that_are_shipped_for_a_volume(tmp_path: Path) -> None:
    rooms = PyPIServerChart(cdk8s.App(), "chart").registry.server.files
    for room, shipped in rooms.items():
        (tmp_path / "server" / room).mkdir(parents=True)
        for name, text in shipped.files.items():
            (tmp_path / "server" / room / name).write_text(text)
    server = Server(tmp_path / "pod")
    server.program = tmp_path
    with server:
        assert upload(server.url, "one-1.0.tar.gz", user=("publisher", "publisher-password")).ok
        assert "one-1.0.tar.gz" in requests.get(f"{server.url}/simple/one/", timeout=PATIENCE).text
