"""Reads by project: against open ones, of a directory's users too, and what a decision takes that is not remembered."""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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
from server.access import token_lines
from server.access.token_lines import Token
from serving import COST, PAGES, READER, WHEELS, fill

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FEW, MANY = 10, 1_000
"""Rules."""
TOKENS = {FEW: 10, MANY: 500}
"""Of a server with so many rules."""
USERS_OF_A_GROUP = 100
GROUPS = 100
QUESTIONS = 500
ROUNDS = 7
SECONDS = 3.0
"""Of one load: many short ones in turn tell more than a few long ones."""
WARMING_SECONDS = 2.0
OPEN, PRIVATE, BY_PROJECT, OF_DIRECTORY = "open", "private", "by project", "by project, LDAP"
MEMBER = ("member", "member-password")
"""Whom the directory alone knows."""
CREDENTIALS = {OPEN: "", PRIVATE: basic(*READER), BY_PROJECT: basic(*READER), OF_DIRECTORY: basic(*MEMBER)}
PASSWORD, TOKEN = "a password", "a token"
WORK: Mapping[str, list[str]] = {"project page": PAGES, "wheel": WHEELS}


def measure(scale: Scale) -> Section:
    """Load gateways in turn that judge otherwise, and ask servers of few and of many rules."""
    seconds = min(scale.seconds, SECONDS)
    rates: dict[tuple[str, str], list[float]] = {}
    times: dict[tuple[str, int], list[float]] = {}
    with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as stack:
        directory = Path(temporary)
        # Each has a volume of its own, which it has for one.
        port = stack.enter_context(_directory())
        servers, tokens = {}, {}
        for rules in (FEW, MANY):
            server, tokens[rules] = _server(directory, rules, directory_port=port)
            servers[rules] = stack.enter_context(server)
        setups = {
            OPEN: Setup(anonymous=True),
            PRIVATE: Setup(),
            BY_PROJECT: Setup(permissions=True),
            OF_DIRECTORY: Setup(permissions=True),
        }
        server = servers[MANY]
        fill(server.packages)
        urls = {}
        for name, setup in setups.items():
            gateway = Gateway(
                directory / name.replace(", ", "-").replace(" ", "-"),
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
                    load = Load(url, paths, CREDENTIALS[name])
                    # Verdicts end after 30 s, while the others have their turn.
                    load.run(WARMING_SECONDS, directory)
                    rates.setdefault((work, name), []).append(load.run(seconds, directory))
        for round_ in range(QUESTIONS):
            for rules, each in servers.items():
                project = f"team-{round_ % GROUPS}-{round_}-lib"
                for what, user in ((PASSWORD, READER), (TOKEN, (token_lines.USER, tokens[rules]))):
                    times.setdefault((what, rules), []).append(_decision(each, user, project))
    return _section(rates, times, seconds)


def _server(directory: Path, rules: int, *, directory_port: int) -> tuple[Server, str]:
    """Return a server with so many rules, and one of its tokens."""
    permissions = directory / f"permissions-{rules}.json"
    permissions.write_text(_permissions(rules).text)
    settings = {"PERMISSIONS": str(permissions), "DIRECTORY_PORT": str(directory_port), "RESCAN_SECONDS": "1"}
    server = Server(directory / f"server-{rules}", settings)
    line = f"{READER[0]}:{bcrypt.hashpw(READER[1].encode(), bcrypt.gensalt(COST)).decode()}\n"
    for role in ("readers", "publishers"):
        (server.credentials / role).write_text(line, "utf-8")
    secrets = {f"job-{number}": token_lines.make(f"job-{number}") for number in range(TOKENS[rules])}
    lines = [
        Token(
            name=name, sha256=token_lines.digest(secret), rights=("read",), projects=(f"{name}-*",), expires=None
        ).line
        for name, secret in secrets.items()
    ]
    (server.credentials / "tokens").write_text("\n".join(lines), "utf-8")
    return server, secrets[f"job-{TOKENS[rules] - 1}"]


@contextlib.contextmanager
def _directory() -> Iterator[int]:
    """What httpd would say of a directory that knows one user, at this port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path in {"/reader", "/publisher"} and self.headers["Authorization"] == basic(*MEMBER)
            self.send_response(200 if known or self.path == "/check/0" else 404 if "check" in self.path else 401)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


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
        rules=[*others, PermissionRuleSpec(projects=["project-*"], read=[READER[0], MEMBER[0]])],
    )


def _decision(server: Server, user: tuple[str, str], project: str) -> float:
    headers = {"Authorization": basic(*user), "X-Project": project, "X-Forwarded-For": "192.0.2.1"}
    begun = time.perf_counter()
    answer = requests.get(f"http://127.0.0.1:{server.verdicts_port}/-/auth/reading", headers=headers, timeout=PATIENCE)
    taken = time.perf_counter() - begun
    if answer.status_code != requests.codes.forbidden:
        raise RuntimeError(f"{project}: {answer.status_code}")
    return taken


def _section(
    rates: Mapping[tuple[str, str], list[float]], times: Mapping[tuple[str, int], list[float]], seconds: float
) -> Section:
    section = Section(
        "Reads by project",
        f"{len(PAGES)} projects and {len(WHEELS)} wheels; {described()}; {ROUNDS} rounds of {seconds:g} s in which "
        f"four gateways of one server with {MANY:,} rules and {GROUPS * USERS_OF_A_GROUP:,} users take turns; "
        "medians, requests a second, with verdicts that are remembered. Of a user of the directory (LDAP) the answers "
        "of httpd are remembered too, which a program of the benchmark gives. A decision that is not remembered is a "
        f"question to the server about another project, with a connection of its own: {QUESTIONS} in turn to servers "
        f"of {FEW} rules and {TOKENS[FEW]} tokens and of {MANY:,} rules and {TOKENS[MANY]} tokens.",
        ["", *CREDENTIALS],
    )
    for work in WORK:
        section.rows.append([work, *(number(median(rates[work, name])) for name in CREDENTIALS)])
        for name in (BY_PROJECT, OF_DIRECTORY):
            ratios = [one / other for one, other in zip(rates[work, name], rates[work, OPEN], strict=True)]
            section.targets.append(Target(f"{work}, {name} against open", median(ratios), 0.8, at_least=True))
            section.notes.append(f"In single rounds, {work}, {name}: {spread(ratios)}.")
    for what in (PASSWORD, TOKEN):
        few, many = (median(times[what, rules]) * 1000 for rules in (FEW, MANY))
        section.targets.append(
            Target(f"a decision about {what} that is not remembered, the larger", many, 20, unit="ms")
        )
        section.targets.append(Target("the same, against the smaller", many / few, 1.5))
    return section
