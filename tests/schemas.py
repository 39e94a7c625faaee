"""Checks manifests against the strict schemas of every supported Kubernetes minor: `python tests/schemas.py FILE…`."""

import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml
from kubernetes_validate import utils

MINORS = tuple(f"1.{minor}" for minor in range(25, 38))

# What an old minor does not know yet although it is right to ask for it: (kind, minor) -> words of the complaint.
KNOWN_GAPS = {
    ("PodDisruptionBudget", "1.25"): "unhealthyPodEvictionPolicy",
    # Of a container that starts before the others and ends after them: the charts that have one need 1.29.
    **{(kind, f"1.{minor}"): "restartPolicy" for kind in ("Deployment", "StatefulSet") for minor in (25, 26, 27)},
}

# Kinds of CRDs have no schema there; the generated classes, tests/monitoring or tests/users check them.
CUSTOM = {"Certificate", "ExternalSecret", "PodMonitor", "PrometheusRule", "SealedSecret", "ServiceMonitor"}

# It would read all definitions of a minor, two megabytes, for each object anew.
utils.schema_contents = cache(utils.schema_contents)


def problems(documents: list[dict[str, Any]]) -> Iterator[str]:
    """Yield a line for each object and minor that do not fit together."""
    for document in documents:
        if document["kind"] in CUSTOM:
            continue
        for minor in MINORS:
            complaint = _complaint(document, minor)
            if complaint and KNOWN_GAPS.get((document["kind"], minor), "\0") not in complaint:
                yield f"{document['kind']} {document['metadata']['name']}: Kubernetes {minor}: {complaint}"


def _complaint(document: dict[str, Any], minor: str) -> str | None:
    try:
        kubernetes_validate.validate(document, minor, strict=True)
    except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
        return getattr(error, "message", str(error))
    return None


def main(paths: list[str]) -> int:
    """Print the problems of all files; return how many there are."""
    documents = {path: list(yaml.load_all(Path(path).read_text(), yaml.CSafeLoader)) for path in paths}
    found = [f"{path}: {line}" for path in paths for line in problems(documents[path])]
    print("\n".join(found) or f"valid for Kubernetes {MINORS[0]} to {MINORS[-1]}: {', '.join(paths)}")  # noqa: T201
    return len(found)


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1:]), 1))
