"""What `schema` does."""

from __future__ import annotations

import json
import sys

from cdk8s_pypiserver.spec import PyPIServerSpec

from .generation import schema_of


def run() -> int:
    """Print the schema, and return the exit status."""
    json.dump(schema_of(PyPIServerSpec), sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")
    return 0
