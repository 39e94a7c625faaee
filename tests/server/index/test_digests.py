from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from server.http.errors import RefusedError
from server.http.upstream import HTTPError
from server.index.digests import Digests, Upload
from server.index.listing import Listing, Stamp
from server.publish.methods import publisher

if TYPE_CHECKING:
    from server.index.listing import Entry

BODY = b"content"
SHA256 = hashlib.sha256(BODY).hexdigest()


def listed(name: str = "a-1.0.tar.gz") -> Entry:
    listing = Listing()
    listing.add("", name, Stamp(0, 0))
    entry = listing.at(name)
    assert entry
    return entry


def uploaded(root: Path, body: bytes, *fields: str) -> Upload:
    upload = Upload(publisher("link", root).draft(), fields)
    for at in range(len(body)):
        upload.write(body[at : at + 1])
    return upload


def none() -> None:
    return None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("md5_digest", hashlib.md5(BODY).hexdigest()),  # noqa: S324 - PyPI's form has it
        ("sha256_digest", SHA256.upper()),
        ("blake2_256_digest", hashlib.blake2b(BODY, digest_size=32).hexdigest()),
    ],
)
def test_an_upload_has_the_digests_that_were_announced(tmp_path: Path, field: str, value: str) -> None:
    # After the file, which is read again then, or before it.
    for fields in ((), (field,)):
        upload = uploaded(tmp_path, BODY, *fields)
        upload.check({field: value})
        assert upload.digest == f"sha256={SHA256}"
        with pytest.raises(RefusedError, match=field):
            uploaded(tmp_path, BODY + b"more", *fields).check({field: value})


def test_a_file_is_read_once_however_many_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = listed()
    (tmp_path / entry.name).write_bytes(BODY)
    opened: list[Path] = []
    enough = threading.Event()
    real = Path.open

    def slow(self: Path, *args: object, **named: object) -> object:
        opened.append(self)
        enough.wait()
        return real(self, *args, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", slow)
    digests = Digests(tmp_path, none)
    found: list[str | None] = []
    threads = [threading.Thread(target=lambda: found.append(digests.of(entry))) for _ in range(8)]
    for thread in threads:
        thread.start()
    enough.set()
    for thread in threads:
        thread.join()
    assert found == [f"sha256={SHA256}"] * 8
    assert len(opened) == 1
    assert entry.stamp.size == len(BODY)


def test_a_file_that_is_gone_has_no_digest(tmp_path: Path) -> None:
    assert Digests(tmp_path, none).of(listed()) is None


def test_a_volume_that_fails_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = listed()
    with pytest.raises(HTTPError) as refused:
        Digests(tmp_path, lambda: "it hangs").of(entry)
    assert (refused.value.status_code, refused.value.body) == (503, "it hangs")

    def broken(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "open", broken)
    with pytest.raises(HTTPError) as refused:
        Digests(tmp_path, none).of(entry)
    assert refused.value.body == "a-1.0.tar.gz cannot be read: Input/output error"
    entry.digest = "sha256=known"
    assert Digests(tmp_path, lambda: "it hangs").of(entry) == "sha256=known"
