"""Classes generated from CRDs."""
