"""A registry whose users log in as Authelia has them, with their groups."""

from cdk8s_pypiserver import ExternalAuthSpec, KustomizeApp, PyPIServerChart, PyPIServerSpec, RegistryNetworkPolicySpec

authelia = ExternalAuthSpec(
    url="http://authelia.auth.svc:9091/api/authz/auth-request",
    original_url="https://pypi.example.org/",
    user_header="Remote-User",
    groups_header="Remote-Groups",
    everybody_reads=True,
    publishers=["release-managers"],
)

app = KustomizeApp()
PyPIServerChart(app, "registry", PyPIServerSpec(external_auth=authelia, network_policy=RegistryNetworkPolicySpec()))
app.synth()
