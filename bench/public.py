"""Public packages through the registry: against mirrors of public indexes, and against going there directly."""

from __future__ import annotations

import contextlib
import re
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urldefrag, urljoin, urlsplit

import requests

import public_files
from dependencies import PROJECTS, RELEASES, plant
from gateway_programs import Gateway, Setup, make_wheel
from line import Line
from load import Load, described
from mirrors import DEVPI, PROXPI, devpi, proxpi, public_index, warm
from programs import PATIENCE, Server, wait_for
from public_pages import PublicProject, index_html, index_json, project_html, project_json
from report import Scale, Section, Target, median, number, spread
from resolving import CLIENTS, command, run_client
from upstream_programs import registry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from public_files import PublicFile

SERVED = 100
"""Projects whose pages and wheels are asked for again and again."""
WHEELS = 4
WHEEL_BYTES = 50_000
SECONDS = 2.0
ROUNDS = 7
MIRROR_ROUNDS = 3
"""Rounds in which the mirrors take part: they are many times slower, so that their figures need not be as exact."""
RESOLVE_ROUNDS = 3
ROUND_TRIP = 0.020
PUBLIC, OWN = "registry, public packages", "registry, own packages"
DIRECTLY, COLD, WARM = "directly", "registry, cold", "registry, warm"
FASTER, NEARLY, COLDER, WARMER = 10.0, 0.8, 1.3, 3.0


def measure(scale: Scale) -> Section:
    """Load the servers in turn; then resolve in turn."""
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        wheels = directory / "wheels"
        wheels.mkdir()
        tree = plant(wheels)
        for project in range(SERVED):
            for release in range(WHEELS):
                make_wheel(wheels, f"served{project:03}", f"1.{release}", bytes(WHEEL_BYTES))
        root = _index(directory / "root", wheels)
        with public_index(directory / "index", root) as upstream:
            rates = _rates(directory, upstream, wheels, min(scale.seconds, SECONDS))
            seconds = _seconds(directory, upstream, tree.top, min(scale.rounds, RESOLVE_ROUNDS))
    return _section(rates, seconds)


def _index(root: Path, wheels: Path) -> Path:
    """Make the pages of an index that has its files beside them."""
    (root / "simple").mkdir(parents=True)
    (root / "files").mkdir()
    projects: dict[str, PublicProject] = {}
    for path in sorted(wheels.iterdir()):
        name, version, *_ = path.name.split("-")
        (root / "files" / path.name).hardlink_to(path)
        file = public_files.existing(path, version)
        (root / "files" / f"{path.name}.metadata").write_bytes(file.metadata or b"")
        projects.setdefault(name, PublicProject(name)).files.append(file)

    def address(file: PublicFile) -> tuple[str, None]:
        return f"../../files/{file.name}", None

    (root / "index.json").write_bytes(index_json(projects))
    (root / "index.html").write_bytes(index_html(projects))
    for name, project in projects.items():
        (root / f"simple/{name}.json").write_bytes(project_json(project, address))
        (root / f"simple/{name}.html").write_bytes(project_html(project, address))
    return root


@contextlib.contextmanager
def _registry(directory: Path, upstream: str) -> Iterator[str]:
    """A pod that leads to the index; gives its index's address."""
    index = {"name": "public", "url": f"{upstream}/simple/", "file_hosts": [], "plain_http": True}
    with registry(directory, indexes=[index], setup=Setup(anonymous=True), cache_bytes=20 * 2**30) as pod:
        yield pod.index_url()


@contextlib.contextmanager
def _own(directory: Path, wheels: Path) -> Iterator[str]:
    """A pod with the same packages on its own volume; gives its index's address."""
    with (
        Server(directory / "server", {"PACKAGES_DIRECTORY": str(wheels)}) as server,
        Gateway(
            directory / "gateway",
            server.port,
            verdicts_port=server.verdicts_port,
            packages=wheels,
            pages=server.pages,
            setup=Setup(anonymous=True),
        ) as gateway,
    ):
        yield f"{gateway.url}/simple/"


def _rates(directory: Path, upstream: str, wheels: Path, seconds: float) -> dict[tuple[str, str], list[float]]:
    rates: dict[tuple[str, str], list[float]] = {}
    with contextlib.ExitStack() as stack:
        indexes = {
            PUBLIC: stack.enter_context(_registry(directory / "public", upstream)),
            OWN: stack.enter_context(_own(directory / "own", wheels)),
            DEVPI: stack.enter_context(devpi(directory / "devpi", upstream)),
            PROXPI: stack.enter_context(proxpi(directory / "proxpi", upstream)),
        }
        loads = {}
        for name, index in indexes.items():
            pages = [f"{index}served{project:03}/" for project in range(SERVED)]
            links = [link for page in pages for link in _links(page)]
            if len(links) != SERVED * WHEELS:
                raise RuntimeError(f"{name} lists {len(links)} wheels")
            warm(pages, links)
            origin = "{0.scheme}://{0.netloc}".format(urlsplit(index))
            loads["page", name] = Load(origin, [urlsplit(page).path for page in pages])
            loads["wheel", name] = Load(origin, [urlsplit(link).path for link in links])
        for round_ in range(ROUNDS):
            for (work, name), load in loads.items():
                if name in {DEVPI, PROXPI} and round_ >= MIRROR_ROUNDS:
                    continue
                rates.setdefault((work, name), []).append(load.run(seconds, directory))
    return rates


def _links(page: str) -> list[str]:
    answer = requests.get(page, timeout=PATIENCE)
    answer.raise_for_status()
    links = re.findall(r'<a [^>]*?href="([^"]+)"', answer.text)
    return [urldefrag(urljoin(answer.url, link)).url for link in links if ".whl" in link]


def _seconds(directory: Path, upstream: str, top: str, rounds: int) -> dict[tuple[str, str, str], list[float]]:
    seconds: dict[tuple[str, str, str], list[float]] = {}
    port = urlsplit(upstream).port or 0
    for round_ in range(rounds + 1):  # the first counts for nothing
        for line, round_trip in {"loopback": 0.0, f"{ROUND_TRIP * 1000:g} ms": ROUND_TRIP}.items():
            with Line(port, round_trip=round_trip).opened() as opened:
                near = f"http://127.0.0.1:{opened.port}"
                for client in CLIENTS:
                    home = directory / f"{client}-{round_trip:g}-{round_}"
                    with _registry(home, near) as index:
                        for how, address in {DIRECTLY: f"{near}/simple/", COLD: index, WARM: index}.items():
                            begun = time.perf_counter()
                            run_client(command(client, ("--index-url", address), top), directory)
                            seconds.setdefault((client, line, how), []).append(time.perf_counter() - begun)
                            if how == COLD:
                                _rest(home)
    return {key: times[1:] for key, times in seconds.items()}


def _rest(directory: Path) -> None:
    """Wait until what the first resolve has begun is in the cache."""
    unfinished = directory / "gateway/cache/unfinished"
    wait_for(lambda: not list(unfinished.iterdir()), "the cache to rest")


def _section(
    rates: Mapping[tuple[str, str], list[float]], seconds: Mapping[tuple[str, str, str], list[float]]
) -> Section:
    names = [PUBLIC, OWN, DEVPI, PROXPI]
    section = Section(
        "Public packages",
        f"The public index is an nginx with static pages and files. Pages and wheels that are kept already: {SERVED} "
        f"projects with {WHEELS} wheels of {WHEEL_BYTES:,} bytes; {described()}; {ROUNDS} rounds ({MIRROR_ROUNDS} for "
        "the mirrors) in which the servers take turns; medians, requests a second. The registry is nginx and gunicorn "
        "with the shipped files, reads open; own packages are the same wheels on its package volume. devpi-server is a "
        "mirror index behind nginx with the configuration that devpi-gen-config makes, which sends kept wheels itself; "
        "proxpi runs in gunicorn with two workers.\n\n"
        f"Resolving: `pip install --dry-run` and `uv pip install --dry-run` of the tree of the section Resolving "
        f"({PROJECTS} projects with {RELEASES} releases each), nothing cached at the client, seconds; between the "
        "index and whoever asks it stands a proxy, on loopback as it is or with a round-trip time. Cold: the first "
        "time that anything is asked of this registry; warm: the second time.",
        ["", *names],
    )
    for work in ("page", "wheel"):
        section.rows.append([f"kept {work}", *(number(median(rates[work, name])) for name in names)])
    for work in ("page", "wheel"):
        for other, limit in {DEVPI: FASTER, PROXPI: FASTER, OWN: NEARLY}.items():
            ratios = [ours / theirs for ours, theirs in zip(rates[work, PUBLIC], rates[work, other], strict=False)]
            section.targets.append(Target(f"kept {work} against {other}", median(ratios), limit, at_least=True))
            section.notes.append(f"In single rounds, kept {work} against {other}: {spread(ratios)}.")
    for client, line in dict.fromkeys((client, line) for client, line, _ in seconds):
        direct, cold, again = (seconds[client, line, how] for how in (DIRECTLY, COLD, WARM))
        section.notes.append(
            f"{client}, {line}: directly {number(median(direct))} s ({spread(direct)}), "
            f"cold {number(median(cold))} s ({spread(cold)}), warm {number(median(again))} s ({spread(again)})."
        )
        ratio = median([one / other for one, other in zip(cold, direct, strict=True)])
        section.targets.append(Target(f"{client}, {line}, cold against directly", ratio, COLDER))
        if line != "loopback":
            ratio = median([other / one for one, other in zip(again, direct, strict=True)])
            section.targets.append(Target(f"{client}, {line}, warm against directly", ratio, WARMER, at_least=True))
    return section
