"""The clients of a registry: twine, pip and uv as their users run them, and plain HTTP."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import requests
from urllib3.filepost import encode_multipart_formdata

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from e2e.samples import Sample

PATIENCE = 300
"""Seconds that one run of a client may take."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """A user of the registry."""

    user: str
    password: str


class Throttled(io.BytesIO):
    """A body that is sent at a bounded rate, as over a slow line."""

    def __init__(self, content: bytes, bytes_per_second: float, progress: Callable[[int], None] | None = None) -> None:
        """Send `content`; `progress` is called with the number of bytes that are on their way."""
        super().__init__(content)
        self._size = len(content)
        self._rate = bytes_per_second
        self._begun = 0.0
        self._progress = progress

    def __len__(self) -> int:
        """The size, from which requests makes the Content-Length."""
        return self._size

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes, not before their time."""
        self._begun = self._begun or time.monotonic()
        chunk = super().read(size)
        time.sleep(max(0.0, self._begun + self.tell() / self._rate - time.monotonic()))
        if self._progress:
            self._progress(self.tell())
        return chunk


@dataclass(frozen=True, kw_only=True)
class Client:
    """Somebody who uses the registry at `url` with `account`, from an empty home directory.

    Attributes:
        url: Address of the registry, with a slash at the end.
        account: Whose name and password is sent; nobody's if None.
        home: An empty directory: no configuration or cache of whoever runs the tests is read.
        proxy: HTTP proxy for https URLs.
        authority: File with the certificate authority to trust; the system's if None.
    """

    url: str
    account: Account | None
    home: Path
    proxy: str | None = None
    authority: Path | None = None
    session: requests.Session = field(default_factory=requests.Session)

    def __post_init__(self) -> None:
        """Set up the HTTP session."""
        self.session.trust_env = False
        if self.account:
            self.session.auth = (self.account.user, self.account.password)
        if self.proxy:
            self.session.proxies = {"https": self.proxy}
        if self.authority:
            self.session.verify = str(self.authority)

    def get(self, path: str) -> requests.Response:
        """GET a path, which is given without its first slash."""
        return self.session.get(f"{self.url}{path}", timeout=30)

    def lists(self, project: str, filename: str) -> bool:
        """Whether the index page of the project links the file."""
        answer = self.get(f"simple/{project}/")
        assert answer.status_code in {200, 404}, f"{answer.status_code} {answer.text}"
        return answer.ok and f">{filename}</a>" in answer.text

    def upload(
        self,
        filename: str,
        content: bytes,
        *,
        bytes_per_second: float | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> requests.Response:
        """Publish a file of any content under a name, as twine would, without a second attempt."""
        name, version = filename.split("-")[:2]
        body, content_type = encode_multipart_formdata(
            {
                ":action": "file_upload",
                "protocol_version": "1",
                "name": name,
                "version": version.removesuffix(".tar.gz"),
                "sha256_digest": hashlib.sha256(content).hexdigest(),
                "content": (filename, content, "application/octet-stream"),
            }
        )
        data = Throttled(body, bytes_per_second, progress) if bytes_per_second else body
        return self.session.post(self.url, data=data, headers={"Content-Type": content_type}, timeout=PATIENCE)

    def twine(self, paths: Iterable[Path], *options: str) -> subprocess.CompletedProcess[str]:
        """Run `twine upload`."""
        account = self._account()
        return self._run(
            [
                *("twine", "upload", "--non-interactive", "--disable-progress-bar", "--repository-url", self.url),
                *("--username", account.user, "--password", account.password, *options),
                *map(str, paths),
            ],
            {"TWINE_CERT": str(self.authority)} if self.authority else {},
        )

    def pip_install(self, samples: Sequence[Sample], target: Path) -> subprocess.CompletedProcess[str]:
        """Install the samples with pip, which checks their digests, from this index alone."""
        return self._run(
            [
                *("pip", "--no-input", "install", "--no-deps", "--no-cache-dir", "--disable-pip-version-check"),
                *("--target", target, "--index-url", self._index()),
                *("--require-hashes", "--requirement", self._requirements(samples)),
            ],
            {"PIP_CERT": str(self.authority)} if self.authority else {},
        )

    def uv_install(self, samples: Sequence[Sample], target: Path) -> subprocess.CompletedProcess[str]:
        """Install the samples with uv, which checks their digests, from this index alone."""
        return self._run(
            [
                *("uv", "pip", "install", "--no-deps", "--no-cache", "--python", sys.executable, "--target", target),
                *("--default-index", self._index(), "--require-hashes", "--requirement", self._requirements(samples)),
            ],
            {"SSL_CERT_FILE": str(self.authority)} if self.authority else {},
        )

    def uv_publish(self, paths: Iterable[Path], *options: str) -> subprocess.CompletedProcess[str]:
        """Run `uv publish`, which first asks the index for what is there already."""
        account = self._account()
        return self._run(
            [
                *("uv", "publish", "--publish-url", self.url, "--check-url", self._index(), *options),
                *("--username", account.user, "--password", account.password),
                *map(str, paths),
            ],
            {"SSL_CERT_FILE": str(self.authority)} if self.authority else {},
        )

    def _account(self) -> Account:
        assert self.account, "this client sends no credentials"
        return self.account

    def _index(self) -> str:
        if not self.account:
            return f"{self.url}simple/"
        account, parts = self.account, urlsplit(self.url)
        return f"{parts.scheme}://{account.user}:{quote(account.password, safe='')}@{parts.netloc}{parts.path}simple/"

    def _requirements(self, samples: Sequence[Sample]) -> Path:
        path = self.home / "requirements.txt"
        path.write_text("".join(f"{sample.requirement}\n" for sample in samples))
        return path

    def _run(self, command: Sequence[str | Path], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        proxy = {"HTTPS_PROXY": self.proxy, "https_proxy": self.proxy} if self.proxy else {}
        return subprocess.run(
            [sys.executable, "-m", *map(str, command)],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            cwd=self.home,
            env={
                # Nothing else of the environment: an index of pip's or a proxy in it would hide what is tested.
                "PATH": os.environ["PATH"],
                "HOME": str(self.home),
                "PIP_CONFIG_FILE": os.devnull,
                "UV_NO_CONFIG": "1",
                "UV_PYTHON_DOWNLOADS": "never",
                # Otherwise a keyring on this machine may be asked, which waits for somebody to unlock it.
                "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
                "COLUMNS": "200",
                **proxy,
                **environment,
            },
        )
