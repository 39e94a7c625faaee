"""Packages to publish, and what an index says of them."""

from __future__ import annotations

import hashlib
import io
import zipfile
from typing import Any

import requests

from programs import PATIENCE

JSON = "application/vnd.pypi.simple.v1+json"


def wheel(name: str, version: str, extra: bytes = b"", requires: str = ">=3.8") -> tuple[str, bytes]:
    """The name and the content of a wheel."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(f"{name}/data", extra)
        text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Python: {requires}\n"
        archive.writestr(f"{name}-{version}.dist-info/METADATA", text)
    return f"{name}-{version}-py3-none-any.whl", content.getvalue()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def files(url: str, project: str) -> dict[str, dict[str, Any]]:
    """What the index says of a project's files, by name; none if it has no page."""
    answer = requests.get(f"{url}/simple/{project}/", headers={"Accept": JSON}, timeout=PATIENCE)
    if answer.status_code == requests.codes.not_found:
        return {}
    answer.raise_for_status()
    return {file["filename"]: file for file in answer.json()["files"]}


def metrics(url: str) -> str:
    return requests.get(f"{url}/-/metrics", timeout=PATIENCE).text


def metric(url: str, name: str) -> float:
    page = metrics(url)
    return next(float(line.split()[1]) for line in page.splitlines() if line.startswith(f"{name} "))
