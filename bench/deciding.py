"""Reads by project: against open ones, and what a decision takes that is not remembered."""

from __future__ import annotations

import contextlib
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import bcrypt
import requests

from cdk8s_pypiserver.access.permission_rules import PermissionGroupSpec, PermissionRuleSpec
from cdk8s_pypiserver.access.permissions import PermissionsSpec
from gateway_programs import Gateway, Setup, basic
from load import Load, described
from programs import PATIENCE, Server, wait_for
from report import Scale, Section, Target, median, number, spread
from serving import COST, PAGES, READER, WHEELS, fill

if TYPE_CHECKING:
    from collections.abc import Mapping

FEW, MANY = 10, 1_000
"""Rules."""
USERS_OF_A_GROUP = 100
GROUPS = 100
QUESTIONS = 500
ROUNDS = 7
SECONDS = 3.0
"""Of one load: many short ones in turn tell more than a few long ones."""
WARMING_SECONDS = 2.0
OPEN, PRIVATE, BY_PROJECT = "open", "private", "by project"
WORK: Mapping[str, list[str]] = {"project page": PAGES, "wheel": WHEELS}


def measure(scale: Scale) -> Section:
    """Load gateways in turn that judge otherwise, and ask servers of few and of many rules."""
    seconds = min(scale.seconds, SECONDS)
    rates: dict[tuple[str, str], list[float]] = {}
    times: dict[int, list[float]] = {}
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as stack:
        directory = Path(temporary)
        # Each has a volume of its own, which it has for one.
        servers = {rules: stack.enter_context(_server(directory, rules)) for rules in (FEW, MANY)}
        setups = {
            OPEN: Setup(anonymous=True),
            PRIVATE: Setup(),
            BY_PROJECT: Setup(permissions=True),
        }
        server = servers[MANY]
        fill(server.packages)
        urls = {}
        for name, setup in setups.items():
            gateway = Gateway(
                directory / name.replace(" ", "-"),
                server.port,
                verdicts_port=server.verdicts_port,
                packages=server.packages,
                pages=server.pages,
                setup=setup,
            )
            urls[name] = stack.enter_context(gateway).url
        listed = f"http://127.0.0.1:{server.port}{PAGES[-1]}"
        wait_for(lambda: requests.get(listed, timeout=PATIENCE).ok, "what was put there", 120)
        # Makes the page files.
        with requests.Session() as session:
            for path in PAGES:
                session.get(urls[OPEN] + path, timeout=PATIENCE).raise_for_status()
        for _ in range(ROUNDS):
            for work, paths in WORK.items():
                for name, url in urls.items():
                    load = Load(url, paths, "" if name == OPEN else basic(*READER))
                    # Verdicts end after 30 s, while the others have their turn.
                    load.run(WARMING_SECONDS, directory)
                    rates.setdefault((work, name), []).append(load.run(seconds, directory))
        for round_ in range(QUESTIONS):
            for rules, each in servers.items():
                times.setdefault(rules, []).append(_decision(each, f"team-{round_ % GROUPS}-{round_}-lib"))
    return _section(rates, times, seconds)


def _server(directory: Path, rules: int) -> Server:
    permissions = directory / f"permissions-{rules}.json"
    permissions.write_text(_permissions(rules).text)
    server = Server(directory / f"server-{rules}", {"PERMISSIONS": str(permissions), "RESCAN_SECONDS": "1"})
    line = f"{READER[0]}:{bcrypt.hashpw(READER[1].encode(), bcrypt.gensalt(COST)).decode()}\n"
    for role in ("readers", "publishers"):
        (server.credentials / role).write_text(line, "utf-8")
    return server


def _permissions(rules: int) -> PermissionsSpec:
    """So many rules, for ten thousand users where they are many; the last one is about what is read here."""
    groups = min(GROUPS, rules - 1)
    users = [[f"user-{group}-{number}" for number in range(USERS_OF_A_GROUP)] for group in range(groups)]
    others = [
        PermissionRuleSpec(projects=[f"team-{number % groups}-{number}-*"], publish=[f"@team-{number % groups}"])
        for number in range(rules - 1)
    ]
    return PermissionsSpec(
        groups=[PermissionGroupSpec(name=f"team-{number}", users=each) for number, each in enumerate(users)],
        rules=[*others, PermissionRuleSpec(projects=["project-*"], read=[READER[0]])],
    )


def _decision(server: Server, project: str) -> float:
    headers = {"Authorization": basic(*READER), "X-Project": project, "X-Forwarded-For": "192.0.2.1"}
    begun = time.perf_counter()
    answer = requests.get(f"http://127.0.0.1:{server.verdicts_port}/-/auth/reading", headers=headers, timeout=PATIENCE)
    taken = time.perf_counter() - begun
    if answer.status_code != requests.codes.forbidden:
        raise RuntimeError(f"{project}: {answer.status_code}")
    return taken


def _section(rates: Mapping[tuple[str, str], list[float]], times: Mapping[int, list[float]], seconds: float) -> Section:
    few, many = (median(times[rules]) * 1000 for rules in (FEW, MANY))
    section = Section(
        "Reads by project",
        f"{len(PAGES)} projects and {len(WHEELS)} wheels; {described()}; {ROUNDS} rounds of {seconds:g} s in which "
        f"three gateways of one server with {MANY:,} rules and {GROUPS * USERS_OF_A_GROUP:,} users take turns; "
        "medians, requests a second, with verdicts that are remembered. A decision that is not is a question to the "
        f"server about another project, with a connection of its own: {QUESTIONS} in turn to servers of {FEW} and of "
        f"{MANY:,} rules.",
        ["", OPEN, PRIVATE, BY_PROJECT],
    )
    for work in WORK:
        section.rows.append([work, *(number(median(rates[work, name])) for name in (OPEN, PRIVATE, BY_PROJECT))])
        ratios = [one / other for one, other in zip(rates[work, BY_PROJECT], rates[work, OPEN], strict=True)]
        section.targets.append(Target(f"{work}, by project against open", median(ratios), 0.8, at_least=True))
        section.notes.append(f"In single rounds, {work}: {spread(ratios)}.")
    section.targets.append(Target(f"a decision that is not remembered, {MANY:,} rules", many, 20, unit="ms"))
    section.targets.append(Target(f"the same against {FEW} rules", many / few, 1.5))
    return section
