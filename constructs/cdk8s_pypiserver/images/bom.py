"""What is installed and what runs, as a bill of materials (CycloneDX 1.6)."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution
from typing import TYPE_CHECKING

from cyclonedx.model import HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

PACKAGE = "cdk8s-pypiserver"
_DIGEST = re.compile(r"sha256:(?P<hex>[0-9a-f]{64})")


def bill_of_materials(images: Mapping[str, Iterable[str]]) -> str:
    """Return the bill of this package with what it needs, and of images with the containers that run them, as JSON.

    The libraries are those that are installed beside it. The same input gives another serial number and time, as
    CycloneDX wants it.
    """
    bom = Bom()
    root = _library(PACKAGE)
    root.type = ComponentType.APPLICATION
    bom.metadata.component = root
    components: dict[str, Component] = {PACKAGE: root}
    _add_libraries(bom, PACKAGE, components)
    runs = [_image(image, containers) for image, containers in images.items()]
    for each in runs:
        bom.components.add(each)
    bom.register_dependency(root, runs)
    text: str = JsonV1Dot6(bom).output_as_string(indent=2)
    return f"{text}\n"


def _add_libraries(bom: Bom, name: str, components: dict[str, Component]) -> None:
    """Add what a distribution needs, and what that needs."""
    needed = []
    for each in sorted(set(_needs(name))):
        if each not in components:
            components[each] = _library(each)
            bom.components.add(components[each])
            _add_libraries(bom, each, components)
        needed.append(components[each])
    bom.register_dependency(components[name], needed)


def _needs(name: str) -> Iterator[str]:
    for text in distribution(name).requires or []:
        requirement = Requirement(text)
        # Without extras: what those need is a matter of whoever asks for them.
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        normalised = re.sub(r"[-_.]+", "-", requirement.name).lower()
        try:
            distribution(normalised)
        except PackageNotFoundError:
            continue
        yield normalised


def _library(name: str) -> Component:
    version = distribution(name).version
    purl = PackageURL("pypi", None, name, version)
    return Component(name=name, version=version, purl=purl, bom_ref=purl.to_string())


def _image(image: str, containers: Iterable[str]) -> Component:
    named, _, digest = image.partition("@")
    repository, colon, tag = named.rpartition(":")
    if not colon or "/" in tag:
        repository, tag = named, ""
    match = _DIGEST.fullmatch(digest)
    # The version of an image in a purl is its digest; without one there is its tag alone.
    qualifiers = {"repository_url": repository, **({"tag": tag} if tag else {})}
    name = repository.rpartition("/")[2]
    return Component(
        type=ComponentType.CONTAINER,
        name=repository,
        version=tag or digest or None,
        purl=PackageURL("oci", None, name, digest or None, qualifiers),
        bom_ref=image,
        hashes=[HashType.from_composite_str(f"sha256:{match['hex']}")] if match else [],
        properties=[Property(name="kubernetes:container", value=each) for each in containers],
    )
