"""Uploads, removals, yanks, files from outside and restarts in any order: what clients see is what a model says.

MODEL_EXAMPLES says how many sequences (`make fuzz`), FUZZ_SEED which.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import os
import shutil
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import requests
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from packaging.utils import canonicalize_version

from gateway_programs import METADATA, Gateway, Registry
from hostile_requests import PUBLISHER, READER
from programs import Server, upload, wait_for
from server.http.negotiation import JSON
from server.index.identity import identity
from server.index.names import name_and_version, normalised, version

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "8"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
SPELLINGS = ("model.n{}a", "Model_N{}A", "model--n{}a", "model.n{}b")
"""Three spellings of one project and one of another; the number is that of the sequence."""
VERSIONS = ("1.0", "1.0.0", "1!2.0", "2.0rc1")
WHEEL_METADATA = METADATA.format(name="any", version="1.0").encode()
SUFFIXES = ("-py3-none-any.whl", "-1-py3-none-any.whl", ".tar.gz", ".zip")


def _wheel() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("any-1.0.dist-info/METADATA", WHEEL_METADATA)
    return packed.getvalue()


WHEEL = _wheel()


@dataclass
class Model:
    """What clients must see of the projects of one sequence."""

    files: dict[str, bytes] = field(default_factory=dict)
    yanks: dict[tuple[str, str], str] = field(default_factory=dict)
    removed: dict[str, bytes] = field(default_factory=dict)
    """What alone can come back, by identity."""

    def of_project(self, project: str) -> dict[str, bytes]:
        return {name: content for name, content in self.files.items() if project_of(name) == project}

    def of_version(self, project: str, asked: str) -> list[str]:
        """The files that a removal means: their names have the version as it is written."""
        return [name for name in self.of_project(project) if written_version(name) == asked]

    def yanked(self, name: str) -> str | bool:
        """What the JSON says of a file."""
        reason = self.yanks.get((project_of(name), canonicalize_version(version(name))))
        return False if reason is None else reason or True


def project_of(name: str) -> str:
    return normalised(guess(name)[0])


def written_version(name: str) -> str:
    return guess(name)[1]


def guess(name: str) -> tuple[str, str]:
    found = name_and_version(name)
    assert found
    return found


@contextlib.contextmanager
def registry_with_removal(directory: Path) -> Iterator[Registry]:
    home = directory / "gateway"
    with (
        Server(directory / "server", {"ALLOW_REMOVAL": "yes"}) as server,
        Gateway(
            home, server.port, verdicts_port=server.verdicts_port, packages=server.packages, pages=server.pages
        ) as gateway,
    ):
        yield Registry(gateway, server)


class Sequence(RuleBasedStateMachine):
    """Each sequence has projects of its own on the one server."""

    running: ClassVar[Registry]
    numbers: ClassVar[Iterator[int]] = itertools.count()

    @property
    def url(self) -> str:
        return self.running.gateway.url

    @initialize()
    def begin(self) -> None:
        self.number = next(self.numbers)
        self.model = Model()
        self.restarted = False
        self.touched = {self.project(spelling) for spelling in SPELLINGS}

    def project(self, spelling: str) -> str:
        return normalised(spelling.format(self.number))

    def post(self, spelling: str, asked: str, action: str, **form: str) -> requests.Response:
        self.touched.add(self.project(spelling))
        fields = {":action": action, "name": spelling.format(self.number), "version": asked, **form}
        return requests.post(f"{self.url}/", data=fields, auth=PUBLISHER, timeout=20)

    @rule(
        spelling=st.sampled_from(SPELLINGS),
        asked=st.sampled_from(VERSIONS),
        suffix=st.sampled_from(SUFFIXES),
        content=st.sampled_from((WHEEL, b"no archive", b"")),
        announced=st.sampled_from(("right", "right", "none", "wrong")),
    )
    def publish(self, spelling: str, asked: str, suffix: str, content: bytes, announced: str) -> None:
        name = f"{spelling.format(self.number)}-{asked}{suffix}"
        self.touched.add(project_of(name))
        digest = hashlib.sha256(content + (b"x" if announced == "wrong" else b"")).hexdigest()
        form = {} if announced == "none" else {"sha256_digest": digest}
        answer = upload(self.url, name, content, PUBLISHER, **form)
        if identity(name) in map(identity, self.model.files):
            assert answer.status_code == 409
        elif announced == "wrong":
            assert answer.status_code == 400
        elif self.model.removed.get(identity(name), content) != content:
            assert answer.status_code == 409
        else:
            assert answer.status_code == 200
            self.model.files[name] = content

    @precondition(lambda self: self.model.files)
    @rule(data=st.data(), same=st.booleans())
    def publish_again(self, data: st.DataObject, same: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.model.files)))
        answer = upload(self.url, name, self.model.files[name] if same else b"other", PUBLISHER)
        assert answer.status_code == 409

    @rule(spelling=st.sampled_from(SPELLINGS), asked=st.sampled_from((*VERSIONS, "1.0-1")))
    def remove(self, spelling: str, asked: str) -> None:
        names = self.model.of_version(self.project(spelling), asked)
        assert self.post(spelling, asked, "remove_pkg").status_code == (200 if names else 404)
        for name in names:
            self.model.removed[identity(name)] = self.model.files.pop(name)

    @rule(
        spelling=st.sampled_from(SPELLINGS),
        asked=st.sampled_from(VERSIONS),
        reason=st.sampled_from(("", 'it "breaks" <b>everything</b>', "\u2603")),
        action=st.sampled_from(("yank", "yank", "unyank")),
    )
    def yank(self, spelling: str, asked: str, reason: str, action: str) -> None:
        project, canonical = self.project(spelling), canonicalize_version(asked)
        there = [name for name in self.model.of_project(project) if canonicalize_version(version(name)) == canonical]
        assert self.post(spelling, asked, action, reason=reason).status_code == (200 if there else 404)
        if there and action == "yank":
            self.model.yanks[project, canonical] = reason
        elif there:
            self.model.yanks.pop((project, canonical), None)

    @rule(spelling=st.sampled_from(SPELLINGS), add=st.booleans())
    def change_from_outside(self, spelling: str, add: bool) -> None:
        name = f"{spelling.format(self.number)}-9.0.tar.gz"
        if add and identity(name) not in map(identity, self.model.files):
            hidden = self.running.server.packages / ".copied"
            hidden.write_bytes(b"copied")
            hidden.rename(self.running.server.packages / name)
            self.model.files[name] = b"copied"
        elif not add and name in self.model.files:
            (self.running.server.packages / name).unlink()
            del self.model.files[name]
        else:
            return
        project = project_of(name)
        self.touched.add(project)
        wait_for(
            lambda: set(listed(self.url, project)) == set(self.model.of_project(project)), "the change to be noticed"
        )

    @precondition(lambda self: not self.restarted)
    @rule(graceful=st.booleans())
    def restart(self, graceful: bool) -> None:
        self.restarted = True
        (self.running.server.stop if graceful else self.running.server.kill)()
        self.running.server.start()
        self.touched = {self.project(spelling) for spelling in SPELLINGS}

    @rule()
    def lose_the_pages(self) -> None:
        for path in self.running.server.pages.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.touched = {self.project(spelling) for spelling in SPELLINGS}

    @invariant()
    def clients_see_it(self) -> None:
        for project in self.touched:
            self.check(project)
        self.touched = set()

    def check(self, project: str) -> None:
        files = self.model.of_project(project)
        found = listed(self.url, project)
        assert {name: each["hashes"] for name, each in found.items()} == {
            name: {"sha256": hashlib.sha256(content).hexdigest()} for name, content in files.items()
        }
        assert {name: each["yanked"] for name, each in found.items()} == {
            name: self.model.yanked(name) for name in files
        }
        page = self.running.gateway.get(f"/simple/{project}/", *READER)
        assert page.status_code == (200 if files else 404)
        for name, content in files.items():
            digest = hashlib.sha256(content).hexdigest()
            anchor = f'<a href="../../packages/{name}#sha256={digest}"'
            assert page.text.count(anchor) == 1
            marked = " data-yanked=" in page.text.partition(anchor)[2].partition(">")[0]
            assert marked == (self.model.yanked(name) is not False)
            assert self.running.gateway.get(f"/packages/{name}", *READER).content == content
            if name.endswith(".whl"):
                said = self.running.gateway.get(f"/packages/{name}.metadata", *READER)
                assert (said.status_code, said.content) == (
                    (200, WHEEL_METADATA) if content == WHEEL else (404, said.content)
                )
        for accept in ("text/html", JSON):
            index = self.running.gateway.get("/simple/", *READER, Accept=accept).text
            assert (f'"{project}"' in index or f'"{project}/"' in index) == bool(files)

    def teardown(self) -> None:
        for project in {self.project(spelling) for spelling in SPELLINGS}:
            self.check(project)


def listed(url: str, project: str) -> dict[str, dict[str, object]]:
    """What the JSON of a project says of each file."""
    answer = requests.get(f"{url}/simple/{project}/", auth=READER, headers={"Accept": JSON}, timeout=20)
    if answer.status_code == 404:
        return {}
    assert answer.status_code == 200
    return {file["filename"]: file for file in answer.json()["files"]}


def test_what_clients_see_is_what_the_model_says(tmp_path: Path) -> None:
    with registry_with_removal(tmp_path) as running:
        Sequence.running = running
        seed(SEED)(Sequence)
        bounds = settings(
            max_examples=EXAMPLES,
            stateful_step_count=15,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
            print_blob=True,
        )
        run_state_machine_as_test(Sequence, settings=bounds)
