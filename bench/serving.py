"""Index pages and downloads: the registry against the seed's command line and against a bare nginx."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import bcrypt
import requests

from gateway_programs import Gateway, Setup, basic, nginx
from load import Load, described
from processes import children, cpu_seconds
from programs import PATIENCE, Server, free_port, wait_for
from report import Scale, Section, Target, median, number, spread
from servers import running, seed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PROJECTS = 500
RELEASES = 4
WHEEL_BYTES = 50_000
COST = 12
"""Of the bcrypt hashes."""
READER = ("reader", "reader-password")
ROUNDS = 9
SECONDS = 2.0
"""Of one load: many short ones in turn tell more on a busy machine than a few long ones."""
SEED_ROUNDS = 3
"""Rounds in which pypi-server takes part: it is many times slower, so that its figures need not be as exact."""
REGISTRY, PRIVATE, BARE_NGINX = "registry, reads open", "registry, reads private", "bare nginx"
SEED, SEED_PRIVATE = "pypi-server, reads open", "pypi-server, reads private"
RATIOS = {
    "{work}, open, against pypi-server": (REGISTRY, SEED, 50.0),
    "{work}, private against open": (PRIVATE, REGISTRY, 0.85),
    "{work}, open, against the bare nginx": (REGISTRY, BARE_NGINX, 0.8),
}
"""What is compared with what, and how many times as fast it has to be."""

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
    seconds = min(scale.seconds, SECONDS)
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as stack:
        directory = Path(temporary)
        packages = fill(directory / "packages")
        line = f"{READER[0]}:{bcrypt.hashpw(READER[1].encode(), bcrypt.gensalt(COST)).decode()}\n"
        passwords = directory / "htpasswd"
        passwords.write_text(line, "utf-8")
        server = Server(directory / "server", {"PACKAGES_DIRECTORY": str(packages)})
        for role in ("readers", "publishers"):
            (server.credentials / role).write_text(line, "utf-8")
        stack.enter_context(server)

        def gateway(name: str, setup: Setup) -> str:
            home = directory / name
            started = Gateway(
                home,
                server.port,
                verdicts_port=server.verdicts_port,
                packages=packages,
                pages=server.pages,
                setup=setup,
            )
            return stack.enter_context(started).url

        urls = {
            REGISTRY: gateway("open", Setup(anonymous=True)),
            PRIVATE: gateway("private", Setup()),
            BARE_NGINX: "",
            SEED: stack.enter_context(seed(directory, packages, passwords, "update")),
            SEED_PRIVATE: stack.enter_context(seed(directory, packages, passwords, "update,download,list")),
        }
        # Makes the page files, and fills the cache of pypi-server.
        for path in (*PAGES, "/simple/"):
            for name in (REGISTRY, SEED):
                requests.get(urls[name] + path, timeout=PATIENCE).raise_for_status()
        urls[BARE_NGINX] = stack.enter_context(_bare(directory / "bare", packages, server.pages))
        _same(urls)
        for round_ in range(ROUNDS):
            for work, paths in WORK.items():
                for name, url in urls.items():
                    if name in {SEED, SEED_PRIVATE} and round_ >= SEED_ROUNDS:
                        continue
                    authorization = basic(*READER) if name.endswith("private") else ""
                    rate = Load(url, paths, authorization).run(seconds, directory)
                    rates.setdefault((work, name), []).append(rate)
                    if name in {SEED, SEED_PRIVATE}:
                        _settle()
    return _section(seconds, list(urls), rates)


def _settle() -> None:
    """Wait until the servers have finished what the load left in their queues: waitress goes on for seconds."""

    def rest() -> bool:
        # Those that the servers started in turn have no such queues.
        before = cpu_seconds(children(os.getpid()))
        time.sleep(0.2)
        return cpu_seconds(children(os.getpid())) - before <= 0.01  # noqa: PLR2004 - one tick of the kernel

    wait_for(rest, "the servers to come to rest")


def fill(packages: Path) -> Path:
    """Write the wheels."""
    packages.mkdir(exist_ok=True)
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
    reference = urls[REGISTRY]
    for path in (PAGES[0], WHEELS[0], "/simple/"):
        wanted = _words(requests.get(reference + path, timeout=PATIENCE).content, path)
        for name, url in urls.items():
            answer = requests.get(url + path, auth=READER, timeout=PATIENCE)
            answer.raise_for_status()
            if _words(answer.content, path) != wanted:
                raise RuntimeError(f"{name} answers {path} differently")


def _words(content: bytes, path: str) -> list[bytes]:
    """What an answer says: pypi-server sorts what it lists in another way, and its links begin with a slash."""
    links = re.sub(rb'(?<=href=")[^"]+', lambda link: urljoin(path, link[0].decode()).encode(), content)
    return sorted(links.split())


def _section(seconds: float, names: list[str], rates: Mapping[tuple[str, str], list[float]]) -> Section:
    section = Section(
        "Index pages and downloads",
        f"{PROJECTS} projects with {RELEASES} wheels of {WHEEL_BYTES:,} bytes; {described()}, which ask for all pages "
        f"or all wheels in turn; {ROUNDS} rounds ({SEED_ROUNDS} for pypi-server) of {seconds:g} s in which the servers "
        "take turns; medians, requests a second. A ratio is the median of those of the single rounds, since both sides "
        "of one saw the same machine.\n\n"
        "The registry is nginx and gunicorn with the shipped files, its access log written to a file. pypi-server is "
        "`pypi-server run -a update -P htpasswd /packages` (private: `-a update,download,list`) with waitress and its "
        "cached back end, asked once for every page before. The bare nginx serves the same bytes as static files, with "
        "sendfile and nginx's default access log. Private reads send Basic credentials; the htpasswd file has a bcrypt "
        f"hash of cost {COST}.",
        ["", *names],
    )
    for work in WORK:
        section.rows.append([work, *(number(median(rates[work, name])) for name in names)])
    for what, (one, other, limit) in RATIOS.items():
        ranges = []
        for work in WORK:
            # pypi-server has not taken part in all rounds.
            ratios = [ours / theirs for ours, theirs in zip(rates[work, one], rates[work, other], strict=False)]
            section.targets.append(Target(what.format(work=work), median(ratios), limit, at_least=True))
            ranges.append(f"{work} {spread(ratios)}")
        section.notes.append(f"In single rounds, {what.removeprefix('{work}, ')}: {', '.join(ranges)}.")
    return section
