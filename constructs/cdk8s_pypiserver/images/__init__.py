"""Which images run: `python -m cdk8s_pypiserver images`."""
