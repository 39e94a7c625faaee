"""The program that verifies attestations (PEP 740), in a container of its own: the server's image has no libraries."""
