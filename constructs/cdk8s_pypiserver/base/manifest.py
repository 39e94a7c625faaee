"""What a Kubernetes object is in Python."""

from typing import Any

Manifest = dict[str, Any]
"""A Kubernetes object or a part of one, as YAML and the API know it."""
