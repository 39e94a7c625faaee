"""What every spec shares: the strict base model, and the types of Kubernetes values that a person writes."""

import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from typing_extensions import Self

__all__ = ["Host", "Label", "Name", "Port", "QuantityStr", "Resources", "Spec", "quantity"]

# The suffixes of https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
_SUFFIXES = {suffix: Decimal(1024) ** power for power, suffix in enumerate(("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"))}
_SUFFIXES |= {
    suffix: Decimal(1000) ** power for power, suffix in enumerate(("m", "", "k", "M", "G", "T", "P", "E"), -1)
}
_QUANTITY = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<suffix>[A-Za-z]*)")
_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?")


class Spec(BaseModel):
    """Base of all specs: immutable, and strict about unknown fields and about types.

    Raises:
        pydantic.ValidationError: a value cannot work; the message names the field, the value and the reason.
    """

    # Reading the docstrings takes a fortieth of a synth: `python -O` goes without them, as jsii without its checks.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=__debug__)

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """Read the spec from a YAML file, with the field names of this model as keys.

        Raises:
            pydantic.ValidationError: as the constructor does.
            TypeError: the file is not a YAML mapping.
        """
        document: Any = yaml.safe_load(Path(path).read_text("utf-8"))
        if not isinstance(document, dict):
            raise TypeError(f"{path} must be a mapping of {cls.__name__}'s fields (got {type(document).__name__})")
        return cls.model_validate(document)


def quantity(value: str) -> Decimal:
    """Return a Kubernetes quantity such as `512Mi`, `2` or `100m` as a number (bytes, cores).

    Raises:
        ValueError: the text is not a quantity.
    """
    match = _QUANTITY.fullmatch(value)
    if match is None or match["suffix"] not in _SUFFIXES:
        raise ValueError("must be a Kubernetes quantity such as 512Mi, 10Gi or 250m")
    return Decimal(match["number"]) * _SUFFIXES[match["suffix"]]


def _positive_quantity(value: str) -> str:
    if quantity(value) <= 0:
        raise ValueError("must be more than nothing")
    return value


def _host(value: str) -> str:
    labels = value.split(".")
    if len(value) > 253 or len(labels) < 2 or not all(_LABEL.fullmatch(label) and len(label) <= 63 for label in labels):  # noqa: PLR2004
        raise ValueError("must be a full DNS name in lower case without scheme, port or path, such as pypi.example.org")
    return value


QuantityStr = Annotated[str, AfterValidator(_positive_quantity)]
"""A Kubernetes quantity above zero, as text."""

Host = Annotated[str, AfterValidator(_host)]
"""A full DNS name."""

Label = Annotated[str, Field(pattern=rf"^{_LABEL.pattern}$", max_length=63)]
"""An RFC 1123 label: what names of namespaces and Services look like."""

Name = Annotated[str, Field(pattern=rf"^{_LABEL.pattern}(?:\.{_LABEL.pattern})*$", max_length=253)]
"""An RFC 1123 subdomain: what most object names look like."""

Port = Annotated[int, Field(ge=1, le=65535)]
"""A TCP port."""


class Resources(Spec):
    """What a container asks for and may use."""

    cpu_request: QuantityStr | None = "100m"
    """CPU that the scheduler sets aside; the autoscaler measures against it."""
    memory_request: QuantityStr | None = "64Mi"
    """Memory that the scheduler sets aside."""
    cpu_limit: QuantityStr | None = None
    """CPU the container may use at most; none by default, since throttling slows every request."""
    memory_limit: QuantityStr | None = "256Mi"
    """Memory at which the container is killed."""
