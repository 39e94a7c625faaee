from __future__ import annotations

import pytest
from packaging import tags, utils

from server.upstream import filenames


@pytest.mark.parametrize(
    ("filename", "version"),
    [
        ("foo_bar-1.0-py3-none-any.whl", "1.0"),
        ("foo_bar-1.0-2-py3-none-any.whl", "1.0"),
        ("foo_bar-1.0_1-py3-none-any.whl", "1.0_1"),
        ("foo_bar-1!2.0+local.tar.gz", "1!2.0+local"),
        ("foo-bar-v2.0.zip", "2.0"),
        # Installers take all behind the name for the version.
        ("foo-bar-2.0-1.tar.gz", "2.0.post1"),
        ("Foo.Bar-2-1.TAR.BZ2", "2.post1"),
        ("foo-bar-2.0.linux-x86_64.tar.gz", "2.0"),
        ("foo_bar-1.0-py2.7.egg", "1.0"),
        ("foo_bar-latest.tar.gz", "latest"),
        (f"foo_bar-{'9' * 180}.tar.gz", "9" * 180),
    ],
)
def test_a_version_is_what_installers_take_it_for(filename: str, version: str) -> None:
    assert filenames.is_of("foo-bar", filename)
    assert filenames.version_of("foo-bar", filename) == version


def test_of_a_name_with_too_many_tags_none_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """All combinations of what has room in the name of one wheel are 27,000 tags, and a page has 50,000 wheels."""
    made = []
    parse = tags.parse_tag

    def parse_tag(tag: str, **options: bool) -> object:
        made.append(tag)
        return parse(tag, **options)

    monkeypatch.setattr(utils, "parse_tag", parse_tag)
    many = ".".join("abcdefghijklmnopqrstuvwxyzABCD")
    name = f"demo-1.0-{many}-{many}-{many}.whl"
    assert filenames.is_of("demo", name)
    assert filenames.version_of("demo", name) == "1.0"
    assert set(made) == {"py3-none-any"}


@pytest.mark.parametrize("filename", ["demo-1.0.whl", "demo-1.0-any.whl", "demo-1.0-none-any.whl"])
def test_a_name_with_too_few_parts_is_no_wheels(filename: str) -> None:
    assert filenames.is_of("demo", filename)
    assert not filenames.is_of("dem", filename)
