"""A registry among objects of cdk8s-plus: policies find its pods by `pods`, Services by `served_pods`."""

import cdk8s_plus_27 as kplus

from cdk8s_pypiserver import KustomizeApp, PyPIServerChart

app = KustomizeApp()
chart = PyPIServerChart(app, "registry")
registry = chart.registry
# IngressBackend.from_service wants a Service of cdk8s-plus: one of your own for the same pods.
port = kplus.ServicePort(name="http", port=80, target_port=8080)
service = kplus.Service(chart, "front", metadata={"name": "front"}, selector=registry.served_pods, ports=[port])
# The gateway bounds uploads, and takes them as they come; ingress-nginx would refuse what has more than 1 MB.
annotations = {
    "nginx.ingress.kubernetes.io/proxy-body-size": "0",
    "nginx.ingress.kubernetes.io/proxy-request-buffering": "off",
    "nginx.ingress.kubernetes.io/proxy-read-timeout": "600",
    "nginx.ingress.kubernetes.io/proxy-send-timeout": "600",
}
ingress = kplus.Ingress(chart, "front-ingress", metadata={"name": "front", "annotations": annotations})
ingress.add_host_rule("pypi.example.org", "/", kplus.IngressBackend.from_service(service))
kplus.NetworkPolicy(
    chart,
    "front-policy",
    metadata={"name": "front"},
    selector=registry.pods,
    ingress=kplus.NetworkPolicyTraffic(
        default=kplus.NetworkPolicyTrafficDefault.DENY,
        rules=[kplus.NetworkPolicyRule(peer=kplus.Namespaces.all(chart, "everybody"))],
    ),
)
app.synth()
