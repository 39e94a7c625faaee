from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from server.http.errors import RefusedError
from server.publish.hashed import HashedDraft
from server.publish.methods import publisher

if TYPE_CHECKING:
    from pathlib import Path

BODY = b"content"
SHA256 = hashlib.sha256(BODY).hexdigest()


def uploaded(root: Path, body: bytes, *fields: str) -> HashedDraft:
    upload = HashedDraft(publisher("link", root).draft(), fields)
    for at in range(len(body)):
        upload.write(body[at : at + 1])
    return upload


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
