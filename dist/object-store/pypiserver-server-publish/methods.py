"""The methods of putting a file onto the volume so that it is there whole and for good, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.publish.direct import Direct
from server.publish.link import Link

if TYPE_CHECKING:
    from pathlib import Path

    from server.publish.drafts import Publisher

ABANDONED_SECONDS = 3600.0
"""After this time without a write, an unfinished file is nobody's any more."""


def publisher(method: str, root: Path) -> Publisher:
    """The publisher for PUBLISH_METHOD."""
    return Direct(root) if method == "direct" else Link(root)
