"""Resolving a tree of dependencies with pip and uv: the registry against pypi-server."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import requests

from dependencies import BASES, DECILES, PROJECTS, RELEASES, plant
from gateway_programs import Gateway, Setup
from line import Line
from programs import PATIENCE, Server, htpasswd_line
from report import Scale, Section, Target, median, number, spread
from servers import seed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dependencies import Tree
    from line import Transfer

ROUNDS = 5
ROUND_TRIP = 0.010
BANDWIDTH = 100e6 / 8
LINES = {
    "loopback": (0.0, 0.0),
    f"{ROUND_TRIP * 1000:g} ms, {BANDWIDTH * 8 / 1e6:g} Mbit/s": (ROUND_TRIP, BANDWIDTH),
}
CLIENTS = ("pip", "uv")
REGISTRY, SEED, NONE = "registry", "pypi-server", "no server"
ENOUGH = 3
"""How many times faster it has to be."""


def measure(scale: Scale) -> Section:
    """Let the clients resolve in turn; then let them install, to see what they fetch in vain."""
    rounds = min(scale.rounds, ROUNDS)
    seconds: dict[tuple[str, str, str], list[float]] = {}
    asked: dict[tuple[str, str], list[Transfer]] = {}
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as stack:
        directory = Path(temporary)
        packages = directory / "packages"
        packages.mkdir()
        tree = plant(packages)
        ports = stack.enter_context(_servers(directory, packages, tree))

        def run(client: str, server: str, line: tuple[float, float], target: Path | None = None) -> list[Transfer]:
            round_trip, bandwidth = line
            with Line(ports[server], round_trip=round_trip, bandwidth=bandwidth).opened() as opened:
                index = ("--index-url", f"http://127.0.0.1:{opened.port}/simple/")
                run_client(command(client, index, tree.top, target), directory)
            return opened.transfers

        for _ in range(rounds + 1):  # the first counts for nothing
            for client in CLIENTS:
                begun = time.perf_counter()
                run_client(command(client, ("--no-index", "--find-links", str(packages)), tree.top), directory)
                seconds.setdefault((client, "", NONE), []).append(time.perf_counter() - begun)
                for name, line in LINES.items():
                    for server in ports:
                        begun = time.perf_counter()
                        asked[client, server] = run(client, server, line)
                        seconds.setdefault((client, name, server), []).append(time.perf_counter() - begun)
        vain = {
            (client, server): _in_vain(run(client, server, LINES["loopback"], directory / client / server), tree)
            for client in CLIENTS
            for server in ports
        }
    return _section(rounds, {key: times[1:] for key, times in seconds.items()}, asked, vain)


@contextlib.contextmanager
def _servers(directory: Path, packages: Path, tree: Tree) -> Iterator[dict[str, int]]:
    """Start the servers and ask each for every page once; gives their ports."""
    passwords = directory / "htpasswd"
    passwords.write_text(htpasswd_line("publisher", "publisher-password"), "utf-8")
    with (
        Server(directory / "server", {"PACKAGES_DIRECTORY": str(packages)}) as server,
        Gateway(
            directory / "gateway",
            server.port,
            verdicts_port=server.verdicts_port,
            packages=packages,
            pages=server.pages,
            setup=Setup(anonymous=True),
        ) as gateway,
        seed(directory, packages, passwords, "update") as url,
    ):
        for project in tree.solution:
            for each in (gateway.url, url):
                requests.get(f"{each}/simple/{project}/", timeout=PATIENCE).raise_for_status()
        yield {REGISTRY: gateway.port, SEED: int(url.rpartition(":")[2])}


def command(client: str, index: Sequence[str], requirement: str, target: Path | None = None) -> list[str]:
    """Resolve with nothing cached; with `target` install there too."""
    if client == "pip":
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-cache-dir"]
        command += ["--target", str(target)] if target else ["--ignore-installed", "--dry-run"]
    else:
        uv = str(Path(sys.executable).with_name("uv"))
        command = [uv, "pip", "install", "--no-cache", "--python", sys.executable]
        command += ["--target", str(target)] if target else ["--target", "nothing", "--dry-run"]
    return [*command, "--quiet", *index, requirement]


def run_client(command: Sequence[str], directory: Path) -> None:
    """Run it in a home directory of its own."""
    home = directory / "home"
    home.mkdir(exist_ok=True)
    # Nobody's configuration: an index or a proxy in it would be asked instead.
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1"}
    subprocess.run(command, check=True, cwd=directory, env=environment)


def _in_vain(transfers: Sequence[Transfer], tree: Tree) -> tuple[int, int]:
    """How many wheels came, whole or in part, that are not installed, and how many bytes of them."""
    wheels = [each for each in transfers if each.path.endswith(".whl")]
    others = [each for each in wheels if each.path.rpartition("/")[2] not in tree.files]
    return len({each.path for each in others}), sum(each.size for each in others)


def _section(
    rounds: int,
    seconds: Mapping[tuple[str, str, str], list[float]],
    asked: Mapping[tuple[str, str], list[Transfer]],
    vain: Mapping[tuple[str, str], tuple[int, int]],
) -> Section:
    section = Section(
        "Resolving",
        f"`pip install --dry-run` and `uv pip install --dry-run` with nothing cached, seconds, medians of {rounds} "
        "rounds in which the servers take turns after one that does not count. The registry is nginx and gunicorn with "
        "the shipped files, reads open; pypi-server is `pypi-server run -a update` with waitress and its cached back "
        "end; both were asked once for every page before. Between client and server stands a proxy, on loopback as it "
        "is or with a round-trip time and a bandwidth (no slow start, no loss). No server: the same wheels in a local "
        "folder, `--no-index --find-links`: what the client needs for itself.\n\n"
        f"The tree: {PROJECTS} projects with {RELEASES} releases each, PyPI's average, which need 1.4 others each. "
        "Sizes and METADATA are like those of the wheels in constraints.txt, without the six above 5 MB: "
        f"{number(DECILES[0] / 1000)} kB to {number(DECILES[-1] / 1e6)} MB, half of them below "
        f"{number(DECILES[5] / 1000)} kB. {BASES} projects are needed by many, of whom one wants an old release and "
        "another one a new one, so that a resolver has to go back.",
        ["", REGISTRY, "range", SEED, "range", NONE],
    )
    for client in CLIENTS:
        for line in LINES:
            ours, theirs = seconds[client, line, REGISTRY], seconds[client, line, SEED]
            alone = number(median(seconds[client, "", NONE]))
            cells = [number(median(ours)), spread(ours), number(median(theirs)), spread(theirs), alone]
            section.rows.append([f"{client}, {line}", *cells])
            section.targets.append(
                Target(f"{client}, {line}, against pypi-server", median(theirs) / median(ours), ENOUGH, at_least=True)
            )
    for client in CLIENTS:
        wheels, _ = vain[client, REGISTRY]
        section.targets.append(Target(f"wheels that {client} downloads and does not install", wheels, 0, unit="wheels"))
        many, size = vain[client, SEED]
        section.notes.append(
            f"From pypi-server {client} downloads {number(size / 1e6)} MB of {many} wheels that it does not install."
        )
        section.notes.append(
            f"{client} asks the registry for {_asked(asked[client, REGISTRY])}; "
            f"pypi-server for {_asked(asked[client, SEED])}."
        )
    return section


def _asked(transfers: Sequence[Transfer]) -> str:
    """What was asked for while resolving, in words."""
    kinds = {"pages": "/", "METADATA files": ".metadata", "times a wheel": ".whl"}
    counts = {kind: [each.size for each in transfers if each.path.endswith(end)] for kind, end in kinds.items()}
    return ", ".join(f"{len(sizes)} {kind} ({number(sum(sizes) / 1e6)} MB)" for kind, sizes in counts.items() if sizes)
