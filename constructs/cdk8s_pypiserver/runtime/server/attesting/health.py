"""Whether the program answers: `python -m server.attesting.health`. Images that have its libraries may have no wget."""

from __future__ import annotations

import http.client
import sys
from http import HTTPStatus

from server.attesting.listener import port

SECONDS = 5.0


def main() -> int:
    """Ask, and return the status of this process."""
    connection = http.client.HTTPConnection("127.0.0.1", port(), timeout=SECONDS)
    try:
        connection.request("GET", "/health")
        return 0 if connection.getresponse().status == HTTPStatus.OK else 1
    except (OSError, http.client.HTTPException) as error:
        print(error, file=sys.stderr)  # noqa: T201 - for the kubelet
        return 1
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
