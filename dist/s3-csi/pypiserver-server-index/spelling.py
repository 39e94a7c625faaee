"""How names are spelt, for programs too that do without pypiserver, which takes 6 MiB."""

PROJECT = "[a-z0-9]+(?:-[a-z0-9]+)*"
"""A normalised name (PEP 503), as a regular expression."""
PLAIN = "[A-Za-z0-9_!+-][A-Za-z0-9_.!+-]*"
"""The name of a file that the gateway has an address for, as in nginx.conf."""
PACKAGE = rf"{PLAIN}\.(?i:whl|tar\.gz|zip|tgz|tar\.bz2|tar\.xz|egg|exe|msi)"
"""The name of a package among them, as in nginx.conf."""
