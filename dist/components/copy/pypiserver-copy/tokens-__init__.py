"""Tokens of a registry: `python -m cdk8s_pypiserver token`. No construct loads it, and it loads none."""
