"""Variables of the environment of a container."""

from collections.abc import Mapping

from .manifest import Manifest


def variables(values: Mapping[str, str | Manifest]) -> list[Manifest]:
    """Return variables, sorted by name: texts that reach the container as they are, or where a value comes from."""
    return [
        {"name": name, "value": literal(value)} if isinstance(value, str) else {"name": name, "valueFrom": value}
        for name, value in sorted(values.items())
    ]


def literal(text: str) -> str:
    """Return a text as a value, or an argument, in which the kubelet puts nothing in the place of `$(NAME)`.

    `$$` is `$` to it (https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/).
    """
    return text.replace("$", "$$")
