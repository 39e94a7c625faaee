"""Which form of the index a client asks for: the JSON of PEP 691 or the HTML of PEP 503."""

from __future__ import annotations

JSON = "application/vnd.pypi.simple.v1+json"
_JSON_NAMES = (JSON, "application/vnd.pypi.simple.latest+json")
_HTML_NAMES = ("text/html", "application/vnd.pypi.simple.v1+html", "application/vnd.pypi.simple.latest+html")


def wants_json(accept: str) -> bool:
    """Whether an Accept header (RFC 9110, 12.5.1) prefers JSON.

    Whoever likes both as much, neither, or sends nothing gets HTML, as from pypiserver: an index is never refused.
    """
    qualities = dict(map(_range, accept.split(",")))
    return _best(qualities, _JSON_NAMES) > _best(qualities, _HTML_NAMES)


def _best(qualities: dict[str, float], names: tuple[str, ...]) -> float:
    return max(_quality(qualities, name) for name in names)


def _quality(qualities: dict[str, float], name: str) -> float:
    """The quality that the most specific range gives to a media type."""
    for media_range in (name, f"{name.partition('/')[0]}/*", "*/*"):
        if media_range in qualities:
            return qualities[media_range]
    return 0.0


def _range(text: str) -> tuple[str, float]:
    name, *parameters = (part.strip().lower() for part in text.split(";"))
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            return name, _number(value.strip())
    return name, 1.0


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if 0 <= value <= 1 else 0.0
