"""A registry whose objects all bear the annotation and the label that a platform team asks for."""

import cdk8s

from cdk8s_pypiserver import IngressSpec, KustomizeApp, PyPIServer, PyPIServerSpec


class OwnedRegistry(PyPIServer):
    """Says on every object, and on the pods, who is called at night."""

    def annotations(self) -> dict[str, str]:
        """Add the contact."""
        return {**super().annotations(), "example.org/on-call": "python-platform"}

    def labels(self) -> dict[str, str]:
        """Add the cost centre."""
        return {**super().labels(), "example.org/cost-centre": "4711"}


if __name__ == "__main__":
    app = KustomizeApp()
    spec = PyPIServerSpec(name="team-a", ingress=IngressSpec(host="pypi.team-a.example.org"))
    OwnedRegistry(cdk8s.Chart(app, "registry"), "registry", spec)
    app.synth()
