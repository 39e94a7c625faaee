"""Objects of custom resources without generated classes, whose loading takes longer than a whole synth."""

from collections.abc import Mapping
from typing import Any

import cdk8s
from constructs import Construct

PROMETHEUS_OPERATOR = "monitoring.coreos.com/v1"


def custom_object(  # noqa: PLR0913
    scope: Construct,
    id_: str,
    *,
    api_version: str,
    kind: str,
    metadata: cdk8s.ApiObjectMetadata,
    spec: Mapping[str, Any],
) -> cdk8s.ApiObject:
    """Make an object; a test holds what this project makes against the schema of its CustomResourceDefinition."""
    made = cdk8s.ApiObject(scope, id_, api_version=api_version, kind=kind, metadata=metadata)
    made.add_json_patch(cdk8s.JsonPatch.add("/spec", spec))
    return made
