"""A registry whose objects all bear the annotation and the label that a platform team asks for."""

from constructs import Construct

from cdk8s_pypiserver import KustomizeApp, PyPIServer, PyPIServerChart, PyPIServerSpec, RegistryIngressSpec


class OwnedRegistry(PyPIServer):
    """Says on every object, and on the pods, who is called at night and who pays."""

    def __init__(self, scope: Construct, id_: str, spec: PyPIServerSpec | None = None) -> None:
        """Add contact and cost centre."""
        super().__init__(scope, id_, spec)
        self.add_annotation("example.org/on-call", "python-platform")
        self.add_label("example.org/cost-centre", "4711")


if __name__ == "__main__":
    app = KustomizeApp()
    spec = PyPIServerSpec(name="team-a", ingress=RegistryIngressSpec(host="pypi.team-a.example.org"))
    PyPIServerChart(app, "registry", spec, registry_class=OwnedRegistry)
    app.synth()
