"""Kubernetes values that cdk8s keeps in Node: each is made once, since every call there costs time."""

from functools import cache

from cdk8s_plus_27 import k8s


@cache
def amount(text: str) -> k8s.Quantity:
    """Return a quantity such as `512Mi` or `100m`."""
    return k8s.Quantity.from_string(text)


@cache
def number(value: int) -> k8s.IntOrString:
    """Return a number where a number or a name may stand."""
    return k8s.IntOrString.from_number(value)


@cache
def name(value: str) -> k8s.IntOrString:
    """Return the name of a port where a number or a name may stand."""
    return k8s.IntOrString.from_string(value)
