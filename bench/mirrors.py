"""The mirrors of public indexes that the registry is compared with, each in an environment of its own."""

from __future__ import annotations

import base64
import contextlib
import functools
import subprocess
import sys
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

import requests

from gateway_programs import nginx
from processes import ROOT
from programs import PATIENCE, free_port, wait_for
from servers import running

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DEVPI, PROXPI, GUNICORN = "devpi-server==6.20.3", "proxpi==1.3.1", "gunicorn==25.3.0"
PASSWORD = "of-root"  # noqa: S105 - of a server that is gone in a moment
NGINX = """
worker_processes 2;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log {directory}/access.log;
  sendfile on;
  tcp_nopush on;
  types {{ text/html html; application/vnd.pypi.simple.v1+json json; }}
  default_type application/octet-stream;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
{servers}
}}
"""
STATIC = """
  map $http_accept $form {{
    "~vnd.pypi.simple.v1.json" json;
    default html;
  }}
  server {{
    listen 127.0.0.1:{port};
    root {root};
    gzip on;
    gzip_types application/vnd.pypi.simple.v1+json;
    location = /simple/ {{
      add_header Vary Accept;
      try_files /index.$form =404;
    }}
    location ~ "^/simple/(?<project>[a-z0-9-]+)/$" {{
      add_header Vary Accept;
      try_files /simple/$project.$form =404;
    }}
  }}
"""


@contextlib.contextmanager
def public_index(directory: Path, root: Path) -> Iterator[str]:
    """A public index that has nothing to think about: an nginx with pages and files; gives its address."""
    port = free_port()
    with _nginx(directory, STATIC.format(port=port, root=root), port) as url:
        yield url


@contextlib.contextmanager
def devpi(directory: Path, upstream: str) -> Iterator[str]:
    """A mirror index of devpi-server behind nginx, as devpi-gen-config describes it; gives the index's address."""
    programs = environment(DEVPI)
    state, behind, port = directory / "state", free_port(), free_port()
    directory.mkdir()
    init = ["--serverdir", str(state), "--no-root-pypi", "--root-passwd", PASSWORD]
    subprocess.run([str(programs / "devpi-init"), *init], check=True, cwd=directory, capture_output=True)
    described = ["--port", str(behind), "--outside-url", f"http://127.0.0.1:{port}"]
    command = [str(programs / "devpi-gen-config"), "--serverdir", str(state), *described]
    subprocess.run(command, check=True, cwd=directory, capture_output=True)
    servers = (directory / "gen-config/nginx-devpi.conf").read_text("utf-8")
    server = [str(programs / "devpi-server"), "--serverdir", str(state), "--port", str(behind)]
    address = f"http://127.0.0.1:{behind}"
    with running(server, directory, address), _nginx(directory / "nginx", servers, port) as url:
        login = {"user": "root", "password": PASSWORD}
        token = requests.post(f"{address}/+login", json=login, timeout=PATIENCE).json()["result"]["password"]
        header = {"X-Devpi-Auth": base64.b64encode(f"root:{token}".encode()).decode()}
        index = {"type": "mirror", "mirror_url": f"{upstream}/simple/", "volatile": True}
        requests.put(f"{address}/root/mirror", json=index, headers=header, timeout=PATIENCE).raise_for_status()
        yield f"{url}/root/mirror/+simple/"


@contextlib.contextmanager
def proxpi(directory: Path, upstream: str) -> Iterator[str]:
    """A proxpi as its image runs it, with gunicorn; gives the index's address."""
    programs = environment(PROXPI, GUNICORN)
    (directory / "cache").mkdir(parents=True)
    port = free_port()
    variables = [f"PROXPI_INDEX_URL={upstream}/simple/", f"PROXPI_CACHE_DIR={directory / 'cache'}"]
    server = [
        str(programs / "gunicorn"),
        "--bind",
        f"127.0.0.1:{port}",
        "--workers",
        "2",
        "--threads",
        "4",
        "--preload",
    ]
    command = ["env", *variables, "PROXPI_LOGGING_LEVEL=WARNING", *server, "proxpi.server:app"]
    with running(command, directory, f"http://127.0.0.1:{port}") as url:
        yield f"{url}/index/"


def environment(*requirements: str) -> Path:
    """The programs of an environment with these, made if there is none."""
    # Not with a "=": env(1) would take a program's path for a variable.
    programs = ROOT / ".venv" / requirements[0].replace("==", "-") / "bin"
    if not programs.exists():
        uv = str(Path(sys.executable).with_name("uv"))
        folder = str(programs.parent)
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
        packages = ["--compile-bytecode", "--python", str(programs / "python"), *requirements, "setuptools<81"]
        subprocess.run([uv, "pip", "install", "--quiet", *packages], check=True)
    return programs


@contextlib.contextmanager
def _nginx(directory: Path, servers: str, port: int) -> Iterator[str]:
    directory.mkdir(parents=True)
    # Its workers may be another user's.
    for folder in (directory, *directory.parents):
        if folder.stat().st_mode & 0o077 == 0:
            folder.chmod(0o755)
    (directory / "nginx.conf").write_text(NGINX.format(directory=directory, servers=servers), "utf-8")
    command = [nginx(), "-p", str(directory), "-c", str(directory / "nginx.conf"), "-g", "daemon off;"]
    with running(command, directory, f"http://127.0.0.1:{port}") as url:
        yield url


def warm(pages: Sequence[str], files: Sequence[str]) -> None:
    """Ask for all of it until a mirror has it itself."""
    with requests.Session() as session:
        for url in pages:
            session.get(url, timeout=PATIENCE).raise_for_status()

        def is_sent(url: str) -> bool:
            # proxpi sends clients to the index for what it does not have yet.
            return session.get(url, timeout=PATIENCE, allow_redirects=False).status_code == HTTPStatus.OK

        for url in files:
            wait_for(functools.partial(is_sent, url), url)
