"""Users of a service that speaks auth_request: a real nginx with passwords of its own, over HTTPS."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
import requests

from certificates import Authority, Pair
from gateway_programs import Registry, make_wheel, multipart, nginx, registry, run, twine_upload
from programs import PATIENCE, Server, free_port, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Self

    from requests import Response

RITA, PAUL, ULF = ("rita", "reads"), ("paul", "publishes"), ("ulf", "neither")
GROUPS = {"rita": "guests,developers", "paul": "release managers", "ulf": "guests"}
CONFIGURATION = """
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 64; }}
http {{
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  access_log {directory}/access.log;
  map $remote_user $groups {{
    {groups}
  }}
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {directory}/tls.crt;
    ssl_certificate_key {directory}/tls.key;
    location = /auth {{
      auth_basic users;
      auth_basic_user_file {directory}/users;
      try_files /-/none @yes;
    }}
    location @yes {{
      add_header Remote-User $remote_user;
      add_header Remote-Groups $groups;
      return 204;
    }}
  }}
}}
"""


class Service:
    """The nginx that judges."""

    def __init__(self, directory: Path, pair: Pair) -> None:
        self.directory = directory
        self.port = free_port()
        directory.mkdir()
        (directory / "tls.crt").write_bytes(pair.certificate)
        (directory / "tls.key").write_bytes(pair.key)
        (directory / "users").write_text("".join(f"{user}:{{PLAIN}}{word}\n" for user, word in (RITA, PAUL, ULF)))
        groups = "\n    ".join(f'{user} "{of}";' for user, of in GROUPS.items())
        text = CONFIGURATION.format(directory=directory, port=self.port, groups=groups)
        if os.getuid() == 0:
            text = f"user root;\n{text}"
        (directory / "nginx.conf").write_text(text)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}/auth"

    def asked(self) -> int:
        """How many questions it was asked with credentials that it knows."""
        lines = (self.directory / "access.log").read_text().splitlines()
        return sum(" - - [" not in line for line in lines)

    def start(self) -> Self:
        command = [nginx(), "-e", str(self.directory / "error.log"), "-c", str(self.directory / "nginx.conf")]
        self._process = subprocess.Popen(command)

        def answers() -> bool:
            try:
                return requests.get(self.url, verify=False, timeout=PATIENCE).status_code == 401  # noqa: S501
            except requests.ConnectionError:
                return False

        wait_for(answers, self.url)
        return self

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait(PATIENCE)


pytestmark = pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def service(tmp_path: Path, authority: Authority) -> Iterator[Service]:
    made = Service(tmp_path / "service", authority.issue()).start()
    yield made
    made.stop()


@pytest.fixture
def started(tmp_path: Path, service: Service, authority: Authority) -> Iterator[Registry]:
    # Users of the service alone.
    server = Server(tmp_path / "server")
    (server.credentials / "publishers").unlink()
    environment = {
        "EXTERNAL_AUTH_URL": service.url,
        "EXTERNAL_AUTH_USER_HEADER": "Remote-User",
        "EXTERNAL_AUTH_GROUPS_HEADER": "Remote-Groups",
        "EXTERNAL_AUTH_READERS": "developers\nothers",
        "EXTERNAL_AUTH_PUBLISHERS": "release managers",
        "EXTERNAL_AUTH_CERTIFICATES": str(authority.path),
        "DIRECTORY_SECONDS": "1",
        "AUDIT": "log",
    }
    with registry(tmp_path, environment=environment) as found:
        yield found


def publish(found: Registry, wheel: Path, who: tuple[str, str], **headers: str) -> Response:
    body, kind = multipart(wheel)
    return found.gateway.request("POST", "/", *who, data=body, headers={"Content-Type": kind, **headers})


def test_who_may_what(started: Registry, service: Service, tmp_path: Path) -> None:
    done = twine_upload(tmp_path, started.gateway.url, make_wheel(tmp_path, "outside", "1.0"), credentials=PAUL)
    assert done.returncode == 0, done.stdout
    address = started.gateway.url.replace("://", "://rita:reads@") + "/simple/"
    install = ("uv", "pip", "install", "--no-cache", "--target", "x", "--default-index", address, "outside")
    done = run(tmp_path, *install)
    assert done.returncode == 0, done.stdout
    refused = publish(started, make_wheel(tmp_path, "refused", "1.0"), RITA)
    assert refused.status_code == 403
    assert started.gateway.get("/simple/", *ULF).status_code == 403
    for user in ("rita", "paul", "nobody", "publisher"):
        assert started.gateway.get("/simple/", user, "wrong").status_code == 401
    assert '"right":"directory"' in started.server.log
    # Names of the Secret are judged by it alone.
    before = service.asked()
    assert started.gateway.get("/simple/", "reader", "reader-password").ok
    assert started.gateway.get("/simple/", "reader", "wrong").status_code == 401
    assert service.asked() == before


def test_a_client_s_own_headers_say_nothing(started: Registry, tmp_path: Path) -> None:
    forged = {"Remote-User": "paul", "Remote-Groups": "release managers", "X-Who": "{}", "X-Right": "directory"}
    for who in (RITA, ("rita", "wrong"), ("nobody", "nothing")):
        refused = publish(started, make_wheel(tmp_path, "forged", "1.0"), who, **forged)
        assert refused.status_code == (403 if who == RITA else 401)
        assert started.gateway.get("/simple/", *who, **forged).ok is (who == RITA)


def test_while_it_is_away_nobody_of_it_gets_in(started: Registry, service: Service, tmp_path: Path) -> None:
    service.stop()
    refused = publish(started, make_wheel(tmp_path, "away", "1.0"), PAUL)
    assert refused.status_code == 503
    assert refused.reason.startswith("The directory of users does not answer")
    assert started.gateway.get("/simple/", *RITA).status_code == 503
    assert started.gateway.get("/simple/", "reader", "reader-password").ok
    service.start()
    wait_for(lambda: started.gateway.get("/simple/", *RITA).ok, "its answer")


def test_a_certificate_of_somebody_else_lets_nobody_in(started: Registry, service: Service, tmp_path: Path) -> None:
    service.stop()
    (tmp_path / "other").mkdir()
    pair = Authority(tmp_path / "other").issue()
    (service.directory / "tls.crt").write_bytes(pair.certificate)
    (service.directory / "tls.key").write_bytes(pair.key)
    service.start()
    assert started.gateway.get("/simple/", *RITA).status_code == 503
    assert "CERTIFICATE_VERIFY_FAILED" in started.server.log
