"""The reference is what the code says, and says it of everything that users have."""

from __future__ import annotations

import re
from typing import get_args

import reference
from cdk8s_pypiserver import Spec, exports
from cdk8s_pypiserver.pod.gateway import PLACES, Place
from cdk8s_pypiserver.pod.server import _variables_read as server_variables
from manifests import ROOT

PAGE = (ROOT / "docs" / "reference.md").read_text("utf-8")
SPECS = [
    each for name in exports.__all__ if isinstance(each := getattr(exports, name), type) and issubclass(each, Spec)
]


def section(heading: str) -> str:
    _, _, behind = PAGE.partition(f"\n### {heading}\n")
    return re.split(r"^##", behind, maxsplit=1, flags=re.MULTILINE)[0]


def test_the_page_is_what_the_code_says() -> None:
    """Else `make reference` writes it anew."""
    assert reference.text() == PAGE


def test_every_field_of_every_public_spec_is_there() -> None:
    for spec in SPECS:
        bases = [base for base in spec.__mro__ if base in SPECS]
        said = "".join(section(base.__name__) for base in bases)
        assert [name for name in spec.model_fields if f"- **`{name}`** (" not in said] == [], spec


def test_every_place_of_a_file_of_the_gateway_is_there() -> None:
    assert tuple(PLACES) == get_args(Place)
    assert re.findall(r"^\| `(\w+)` \|", section("registry.gateway"), re.MULTILINE) == list(PLACES)


def test_every_variable_that_the_server_reads_is_there() -> None:
    assert set(re.findall(r"^- \*\*`([A-Z_]+)`", section("registry.server"), re.MULTILINE)) == server_variables()


def test_nothing_on_the_page_is_python_s_own() -> None:
    prose = re.sub(r"`[^`]*`", "", PAGE)
    assert not re.search(r"<class|0x[0-9a-f]{6}|typing\.|pydantic|PydanticUndefined|NoneType", PAGE)
    assert not re.search(r"Sequence|Annotated|Literal", prose)
