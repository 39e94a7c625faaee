"""Public packages: a program beside the server that asks other indexes, and how the server uses it."""
