"""What other listeners of the pod count, for the server's page of metrics."""

from __future__ import annotations

import http.client
from http import HTTPStatus

SECONDS = 1.0
LARGEST = 2**20


def scraped(port: int) -> str:
    """Its metrics, from this port of loopback; nothing where it does not answer in time."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request("GET", "/metrics")
        response = connection.getresponse()
        said = response.read(LARGEST).decode()
    except (OSError, http.client.HTTPException, ValueError):
        return ""
    finally:
        connection.close()
    return said if response.status == HTTPStatus.OK else ""
