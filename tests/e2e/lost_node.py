"""A node that vanishes without a word, and comes back."""

from __future__ import annotations

import os
import subprocess

import pytest

from e2e import cluster

CRASH, UP = os.environ.get("E2E_NODE_CRASH"), os.environ.get("E2E_NODE_UP")


class LosableNode:
    """The node that E2E_NODE_CRASH takes.

    Attributes:
        name: Its name.
    """

    def __init__(self, name: str) -> None:
        """Skip the test where no commands are named."""
        if not (CRASH and UP):
            pytest.skip("E2E_NODE_CRASH and E2E_NODE_UP name no commands")
        self.name = name
        self._lost = False

    def crash(self) -> None:
        """Lose it."""
        self._lost = True
        subprocess.run(["sh", "-c", str(CRASH)], check=True, timeout=60)

    def is_missed(self) -> bool:
        """Whether the cluster knows that it is lost."""
        return not cluster.is_ready(cluster.get("node", self.name))

    def bring_back(self) -> None:
        """Have it back, unless it is there."""
        if self._lost:
            subprocess.run(["sh", "-c", str(UP)], check=True, timeout=300)
            cluster.kubectl("wait", "--for=condition=Ready", f"node/{self.name}", "--timeout=120s", seconds=130)
            self._lost = False
