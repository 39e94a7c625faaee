"""The container images and their tags: the one place that names them; images.lock may have their digests."""

from typing import Final

from .image_lock import pinned

SERVER: Final = pinned("docker.io/pypiserver/pypiserver:v2.4.2")
"""pypiserver; its user is 9898 (Dockerfile of pypiserver v2.4.1)."""

GATEWAY: Final = pinned("docker.io/nginxinc/nginx-unprivileged:1.30-alpine")
"""nginx that starts without root."""

METRICS: Final = pinned("ghcr.io/jaqx0r/mtail:v3.4.4")
"""mtail, which counts what the gateway's lines say; nothing but the program is in it (Dockerfile of mtail v3.4.4)."""

STORE: Final = pinned("docker.io/rclone/rclone:1.76.0")
"""rclone and the shell of busybox (Dockerfile of rclone v1.76.0)."""

LDAP: Final = pinned("docker.io/library/httpd:2.4")
"""Apache httpd with all its modules, on Debian (Dockerfile of httpd 2.4)."""

VERIFIER: Final = pinned("quay.io/oauth2-proxy/oauth2-proxy:v7.15.3")
"""oauth2-proxy, the verifier of trusted publishing that an app puts into the pod; nothing but the program is in it
(Dockerfile of oauth2-proxy v7.15.3)."""

ALL: Final = (SERVER, GATEWAY, METRICS, STORE, LDAP, VERIFIER)
