from __future__ import annotations

import pytest

from server.index.identity import identity

SAME = (
    (
        "Subst_Demo-1.0.tar.gz",
        "subst_demo-1.0.0.tar.gz",
        "subst-demo-1.tgz",
        "subst.demo-v1.0.zip",
        "SUBST_DEMO-01.zip",
    ),
    ("demo-1.0-1.tar.gz", "demo-1.0.post1.tar.gz", "Demo-1.post01.zip"),
    ("demo-1.0rc1.zip", "demo-1.0c1.zip", "demo-1.0.0-RC.1.zip"),
    ("demo-1!1.0.zip", "demo-1!1.tar.gz"),
    ("demo-1.0-py2.py3-none-any.whl", "Demo-1-py3.py2-none-any.whl", "demo-1.0.0-PY3.PY2.py3-None-Any.whl"),
    ("demo-1.0-1-py3-none-any.whl", "demo-1.0-01-py3-none-any.whl", "demo-1.0-py3-none-any.whl"),
    ("demo-1.0+a_b-py3-none-any.whl", "demo-1.0+A.B-py3-none-any.whl"),
    ("my_demo-1.0-py3-none-any.whl", "my-demo-1.0-py3-none-any.whl", "my.demo-1.0-py3-none-any.whl"),
    ("demo-1.0-py3.8.egg", "Demo-1.0.0-py3.8.egg"),
    ("demo-1.0.tar.gz.asc", "Demo-1.zip.asc"),
)


@pytest.mark.parametrize("names", SAME)
def test_names_that_mean_the_same_file(names: tuple[str, ...]) -> None:
    assert len({identity(name) for name in names}) == 1


def test_names_that_mean_different_files() -> None:
    names = [
        *(each[0] for each in SAME),
        "demo-1.0.zip",
        "demo-1.1.zip",
        "demo-1.0+a.zip",
        "demo-1.0.dev0.zip",
        "demo.zip",
        "demo-banana.zip",
        "demo-1.0-py3-none-linux_x86_64.whl",
        "demo-1.0-cp312-cp312-any.whl",
        "demo-1.0.linux-x86_64.tar.gz",
        "demo-1.0-py3.9.egg",
        "demo-1.0.win32-py3.8.exe",
        "demo-1.0-py3-none-any.whl.asc",
        "demo-" + "9" * 240 + ".zip",
    ]
    assert len({identity(name) for name in names}) == len(names)
