"""A registry among objects of cdk8s-plus, which find its pods by `registry.pods`."""

import cdk8s_plus_27 as kplus

from cdk8s_pypiserver import KustomizeApp, PyPIServerChart

app = KustomizeApp()
chart = PyPIServerChart(app, "registry")
pods = chart.registry.pods
# IngressBackend.from_service wants a Service of cdk8s-plus: one of your own for the same pods.
port = kplus.ServicePort(name="http", port=80, target_port=8080)
service = kplus.Service(chart, "front", metadata={"name": "front"}, selector=pods, ports=[port])
ingress = kplus.Ingress(chart, "front-ingress", metadata={"name": "front"})
ingress.add_host_rule("pypi.example.org", "/", kplus.IngressBackend.from_service(service))
kplus.NetworkPolicy(
    chart,
    "front-policy",
    metadata={"name": "front"},
    selector=pods,
    ingress=kplus.NetworkPolicyTraffic(
        default=kplus.NetworkPolicyTrafficDefault.DENY,
        rules=[kplus.NetworkPolicyRule(peer=kplus.Namespaces.all(chart, "everybody"))],
    ),
)
app.synth()
