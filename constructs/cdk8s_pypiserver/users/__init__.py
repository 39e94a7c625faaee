"""Who may read and publish: `python -m cdk8s_pypiserver user`."""
