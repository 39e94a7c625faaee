"""Tokens: the commands of docs/tokens.md, and one that is taken in the place of another while it is used."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
import threading
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from documents import blocks
from e2e import cluster, samples
from e2e.clients import Account
from e2e.waiting import eventually
from manifests import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.cluster import Registry

COUNTS_WITHIN = 200
"""Seconds until a kubelet has brought a changed Secret to a pod, and the gateway has forgotten what it knew."""


@pytest.fixture(scope="module")
def registry(deploy: Callable[..., Registry]) -> Registry:
    return deploy("tokens", cluster.OVERLAYS / "local", accounts=True)


@pytest.fixture
def run(registry: Registry, tmp_path: Path) -> Callable[[str], str]:
    """Runs commands in a directory of their own, for the namespace of this registry, and returns what they print."""

    def bash(script: str) -> str:
        done = subprocess.run(
            ["bash", "-c", "set -eu\n" + script.replace("-n pypiserver ", f"-n {registry.namespace} ")],
            cwd=tmp_path,
            env={
                **os.environ,
                "HOME": str(tmp_path),
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "REGISTRY": registry.client(None).url,
                "UV_NO_CONFIG": "1",
            },
            check=False,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout

    return bash


def _counts(registry: Registry, secret: str) -> bool:
    """Whether a token is known, whatever it is good for."""
    answer = registry.client(Account(user="__token__", password=secret)).get("simple/")
    return answer.status_code != HTTPStatus.UNAUTHORIZED


def test_the_commands_of_the_document(registry: Registry, run: Callable[[str], str], tmp_path: Path) -> None:
    make, fetch, publish = (text for kind, text in blocks(ROOT / "docs/tokens.md") if kind == "bash tokens")
    for name in ("team-a-lib", "tool"):
        samples.make(tmp_path, name, "1.0")
    secret = run(f"{make}printf %s $token > secret; cat secret").splitlines()[-1]
    eventually(lambda: _counts(registry, secret), "the token", COUNTS_WITHIN, 1)
    kept = (tmp_path / "tokens").read_text()
    run(fetch)
    assert (tmp_path / "tokens").read_text() == kept
    run(f"token=$(cat secret)\n{publish}")
    client = registry.client(cluster.PUBLISHER)
    assert client.lists("team-a-lib", "team_a_lib-1.0-py3-none-any.whl")
    assert client.lists("tool", "tool-1.0-py3-none-any.whl")


def test_the_key_of_trusted_publishing_comes_into_the_secret(registry: Registry, run: Callable[[str], str]) -> None:
    (command,) = (text for kind, text in blocks(ROOT / "docs/trusted-publishing.md") if kind == "bash tokens")
    before = registry.get("secret", "pypiserver-auth")["data"]
    run(command)
    after = registry.get("secret", "pypiserver-auth")["data"]
    assert re.fullmatch(rb"[0-9a-f]{64}", base64.b64decode(after["signing-key"]))
    assert {**after, **before} == after


def test_a_token_is_replaced_while_it_is_used(
    registry: Registry, run: Callable[[str], str], tmp_path: Path, note: Callable[[str], None]
) -> None:
    new = "python -m cdk8s_pypiserver token new {} --projects '*' --rights read,publish"
    patch = (
        "\npython -m cdk8s_pypiserver token patch > tokens.json"
        "\nkubectl -n pypiserver patch secret pypiserver-auth --patch-file tokens.json >/dev/null"
    )
    old = run(new.format("old") + patch).strip()
    eventually(lambda: _counts(registry, old), "the first token", COUNTS_WITHIN, 1)
    current, over = [old], threading.Event()
    asked, failed = 0, list[str]()

    def use() -> None:
        nonlocal asked
        while not over.is_set():
            client = registry.client(Account(user="__token__", password=current[0]))
            for answer in (client.upload(f"used-{asked}.0-py3-none-any.whl", b"content"), client.get("simple/")):
                asked += 1
                if not answer.ok:
                    failed.append(f"{answer.status_code} {answer.text}")

    user = threading.Thread(target=use)
    user.start()
    try:
        another = run(new.format("another") + patch).strip()
        eventually(lambda: _counts(registry, another), "the second token", COUNTS_WITHIN, 1)
        current[0] = another
        seen = asked
        eventually(lambda: asked > seen + 4, "the second token to be used", 60, 0.1)
        lines = (tmp_path / "tokens").read_text().splitlines(keepends=True)
        (tmp_path / "tokens").write_text("".join(line for line in lines if not line.startswith("old ")))
        run(patch)
        eventually(lambda: not _counts(registry, old), "the end of the first token", COUNTS_WITHIN, 1)
    finally:
        over.set()
        user.join()
    assert failed == []
    assert asked > 20
    note(f"{asked} requests, none failed")
