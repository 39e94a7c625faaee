"""Index pages and downloads: the registry against the seed's command line and against a bare nginx."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import bcrypt
import requests

from gateway_programs import Gateway, Setup, basic, nginx
from load import Load, described
from programs import PATIENCE, Server, free_port, wait_for
from report import Scale, Section, Target, median, number
from servers import running, seed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PROJECTS = 500
RELEASES = 4
WHEEL_BYTES = 50_000
COST = 10
"""Of the bcrypt hashes."""
READER = ("reader", "reader-password")
ROUNDS = 3

BARE = """
worker_processes 2;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log {directory}/access.log;
  sendfile on;
  tcp_nopush on;
  types {{ text/html html; }}
  default_type application/octet-stream;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  server {{
    listen 127.0.0.1:{port};
    root {directory}/root;
  }}
}}
"""


def wheel(project: int, release: int) -> str:
    """The name of a wheel."""
    return f"project_{project:03}-1.{release}-py3-none-any.whl"


WHEELS = [f"/packages/{wheel(project, release)}" for project in range(PROJECTS) for release in range(RELEASES)]
PAGES = [f"/simple/project-{project:03}/" for project in range(PROJECTS)]
WORK: Mapping[str, list[str]] = {"project page": PAGES, "project list": ["/simple/"], "wheel": WHEELS}


def measure(scale: Scale) -> Section:
    """Load all servers in turn."""
    rates: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as stack:
        directory = Path(temporary)
        packages = _fill(directory / "packages")
        line = f"{READER[0]}:{bcrypt.hashpw(READER[1].encode(), bcrypt.gensalt(COST)).decode()}\n"
        passwords = directory / "htpasswd"
        passwords.write_text(line, "utf-8")
        server = Server(directory / "server", {"PACKAGES_DIRECTORY": str(packages)})
        for role in ("readers", "publishers"):
            (server.credentials / role).write_text(line, "utf-8")
        stack.enter_context(server)

        def gateway(name: str, setup: Setup) -> str:
            home = directory / name
            started = Gateway(home, server.port, packages=packages, pages=server.pages, setup=setup)
            return stack.enter_context(started).url

        urls = {
            "registry, reads open": gateway("open", Setup(anonymous=True)),
            "registry, reads private": gateway("private", Setup()),
            "bare nginx": "",
            "pypi-server, reads open": stack.enter_context(seed(directory, packages, passwords, "update")),
            "pypi-server, reads private": stack.enter_context(
                seed(directory, packages, passwords, "update,download,list")
            ),
        }
        # Makes the page files, and fills the cache of pypi-server.
        for path in (*PAGES, "/simple/"):
            for name in ("registry, reads open", "pypi-server, reads open"):
                requests.get(urls[name] + path, timeout=PATIENCE).raise_for_status()
        urls["bare nginx"] = stack.enter_context(_bare(directory / "bare", packages, server.pages))
        _same(urls)
        for _ in range(ROUNDS):
            for work, paths in WORK.items():
                for name, url in urls.items():
                    authorization = basic(*READER) if name.endswith("private") else ""
                    rate = Load(url, paths, authorization).run(scale.seconds, directory)
                    rates.setdefault((work, name), []).append(rate)
                    _settle()
    return _section(scale, list(urls), {key: median(values) for key, values in rates.items()})


def _settle() -> None:
    """Wait until the servers have finished what the load left in their queues: waitress goes on for seconds."""

    def rest() -> bool:
        before = _child_seconds()
        time.sleep(0.2)
        return _child_seconds() - before <= 0.01  # noqa: PLR2004 - one tick of the kernel

    wait_for(rest, "the servers to come to rest")


def _child_seconds() -> float:
    """The CPU time of all programs that this one has started; those that they started in turn have no such queues."""
    ticks = 0
    for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text("utf-8").split():
        ticks += sum(map(int, Path(f"/proc/{child}/stat").read_text("utf-8").rpartition(")")[2].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _fill(packages: Path) -> Path:
    packages.mkdir()
    for each in WHEELS:
        name = each.rpartition("/")[2]
        (packages / name).write_bytes(name.encode() + bytes(WHEEL_BYTES - len(name)))
    return packages


@contextlib.contextmanager
def _bare(directory: Path, packages: Path, pages: Path) -> Iterator[str]:
    """An nginx without any feature over the same files: what the machine can do."""
    root = directory / "root"
    for path in PAGES:
        folder = root / path.strip("/")
        folder.mkdir(parents=True)
        (folder / "index.html").hardlink_to(pages / "projects" / f"{folder.name}.html")
    (root / "simple/index.html").hardlink_to(pages / "index.html")
    (root / "packages").symlink_to(packages)
    # Its workers may be another user's.
    for folder in (directory, *directory.parents):
        if folder.stat().st_mode & 0o077 == 0:
            folder.chmod(0o755)
    port = free_port()
    (directory / "nginx.conf").write_text(BARE.format(directory=directory, port=port), "utf-8")
    command = [nginx(), "-p", str(directory), "-c", str(directory / "nginx.conf"), "-g", "daemon off;"]
    with running(command, directory, f"http://127.0.0.1:{port}") as url:
        yield url


def _same(urls: Mapping[str, str]) -> None:
    """Make sure that the servers answer the same."""
    reference = urls["registry, reads open"]
    for path in (PAGES[0], WHEELS[0], "/simple/"):
        wanted = requests.get(reference + path, timeout=PATIENCE).content
        for name, url in urls.items():
            answer = requests.get(url + path, auth=READER, timeout=PATIENCE)
            answer.raise_for_status()
            # pypi-server sorts what it lists in another way.
            if sorted(answer.content.split()) != sorted(wanted.split()):
                raise RuntimeError(f"{name} answers {path} differently")


def _section(scale: Scale, names: list[str], rates: Mapping[tuple[str, str], float]) -> Section:
    section = Section(
        "Index pages and downloads",
        f"{PROJECTS} projects with {RELEASES} wheels of {WHEEL_BYTES:,} bytes; {described()}, which ask for all pages "
        f"or all wheels in turn; {ROUNDS} rounds of {scale.seconds:g} s in which the servers take turns; medians, "
        "requests a second.\n\n"
        "The registry is nginx and gunicorn with the shipped files, its access log written to a file. pypi-server is "
        "`pypi-server run -a update -P htpasswd /packages` (private: `-a update,download,list`) with waitress and its "
        "cached back end, asked once for every page before. The bare nginx serves the same bytes as static files, with "
        "sendfile and nginx's default access log. Private reads send Basic credentials; the htpasswd file has a bcrypt "
        f"hash of cost {COST}.",
        ["", *names],
    )
    for work in WORK:
        section.rows.append([work, *(number(rates[work, name]) for name in names)])
    ratios = [
        ("{work}, open, against pypi-server", "registry, reads open", "pypi-server, reads open", 50),
        ("{work}, private against open", "registry, reads private", "registry, reads open", 0.8),
        ("{work}, open, against the bare nginx", "registry, reads open", "bare nginx", 0.8),
    ]
    for what, one, other, limit in ratios:
        for work in WORK:
            ratio = rates[work, one] / rates[work, other]
            section.targets.append(Target(what.format(work=work), ratio, limit, at_least=True))
    return section
