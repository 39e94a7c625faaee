"""The program: `python -m server.attesting.main`, with a command that brings the libraries if there is none of them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from server.attesting.listener import listen
from server.attesting.worker import Worker
from server.fetching import program


def main() -> None:
    """Answer until the process ends; the settings are variables of the environment."""
    program.begin(os.environ.get("LOG_LEVEL", "info"))
    # The container runs from the first moment, and so the pod is ready for those who read.
    mark = Path(os.environ.get("LIBRARIES", "/libraries")) / ".complete"
    worker = Worker([sys.executable, "-m", "server.attesting.verifying"], before=sys.argv[1:], mark=mark)
    worker.start()
    listen(worker)


if __name__ == "__main__":
    main()
