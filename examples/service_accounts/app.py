"""A registry to which jobs in its own cluster publish without a password, as the service accounts that they are."""

from cdk8s_pypiserver import (
    KustomizeApp,
    PyPIServerChart,
    PyPIServerSpec,
    RegistryNetworkPolicySpec,
    TrustedPublisherSpec,
    TrustedPublishingSpec,
)

ISSUER, AUDIENCE = "https://kubernetes.default.svc", "pypi.example.org"
trusted = TrustedPublishingSpec(
    audience=AUDIENCE,
    publishers=[
        TrustedPublisherSpec(
            name="team-a",
            issuer=ISSUER,
            claims={"sub": "system:serviceaccount:team-a:publisher"},
            projects=["team-a-*"],
        ),
    ],
    # The API server's own address and port: `kubectl -n default get endpointslices kubernetes`.
    peers=[{"ipBlock": {"cidr": "192.0.2.10/32"}}],
    ports=[6443],
)
app = KustomizeApp()
spec = PyPIServerSpec(trusted_publishing=trusted, network_policy=RegistryNetworkPolicySpec())
registry = PyPIServerChart(app, "registry", spec).registry
# What the API server's certificate is issued by; each namespace has it.
registry.pod.add_volume({"name": "cluster", "configMap": {"name": "kube-root-ca.crt"}})
registry.pod.add_container(
    {
        "name": "identities",
        "image": TrustedPublishingSpec.VERIFIER,
        "args": [
            "--http-address=127.0.0.1:4180",
            "--provider=oidc",
            f"--oidc-issuer-url={ISSUER}",
            # The keys alone: the configuration names an address of the API server for them that pods may not reach.
            "--skip-oidc-discovery",
            f"--oidc-jwks-url={ISSUER}/openid/v1/jwks",
            "--provider-ca-file=/etc/cluster/ca.crt",
            f"--client-id={AUDIENCE}",
            # Nobody logs in here, and cookies nobody sends: it only verifies.
            "--login-url=https://none.invalid/",
            "--redeem-url=https://none.invalid/",
            "--client-secret=none",
            "--cookie-secret=there-are-no-cookies-to-encrypt!",
            "--email-domain=*",
            "--upstream=static://202",
            "--skip-jwt-bearer-tokens",
        ],
        "volumeMounts": [{"name": "cluster", "mountPath": "/etc/cluster", "readOnly": True}],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }
)
app.synth()
