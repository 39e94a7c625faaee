"""A registry to which jobs of GitLab publish without a password; oauth2-proxy in the pod verifies who they are."""

from cdk8s_pypiserver import (
    KustomizeApp,
    PyPIServerChart,
    PyPIServerSpec,
    RegistryNetworkPolicySpec,
    TrustedPublisherSpec,
    TrustedPublishingSpec,
)

GITLAB, AUDIENCE = "https://gitlab.com", "pypi.example.org"
trusted = TrustedPublishingSpec(
    audience=AUDIENCE,
    publishers=[
        TrustedPublisherSpec(
            name="team-a",
            issuer=GITLAB,
            claims={"project_path": "team-a/lib", "ref_protected": "true"},
            projects=["team-a-*"],
        ),
    ],
)
app = KustomizeApp()
spec = PyPIServerSpec(trusted_publishing=trusted, network_policy=RegistryNetworkPolicySpec())
registry = PyPIServerChart(app, "registry", spec).registry
registry.pod.add_container(
    {
        "name": "identities",
        "image": TrustedPublishingSpec.VERIFIER,
        "args": [
            "--http-address=127.0.0.1:4180",
            # A provider that is asked nothing, and cookies that nobody sends: it only verifies.
            "--provider=github",
            "--client-id=none",
            "--client-secret=none",
            "--cookie-secret=there-are-no-cookies-to-encrypt!",
            "--email-domain=*",
            "--upstream=static://202",
            "--skip-jwt-bearer-tokens",
            f"--extra-jwt-issuers={GITLAB}={AUDIENCE}",
        ],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }
)
app.synth()
