"""`python -m cdk8s_pypiserver schema`: the JSON schema by which editors complete and check a spec in a YAML file."""
