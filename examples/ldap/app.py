"""A registry for the users of an Active Directory: everybody with an open account reads, one team publishes."""

from cdk8s_pypiserver import KustomizeApp, LDAPSpec, PyPIServerChart, PyPIServerSpec, RegistryNetworkPolicySpec

app = KustomizeApp()
directory = LDAPSpec(
    servers=["dc1.corp.example.org", "dc2.corp.example.org"],
    ca_config_map="ldap-ca",
    base="dc=corp,dc=example,dc=org",
    user_attribute="sAMAccountName",
    user_filter="(&(objectClass=user)(!(userAccountControl:1.2.840.113556.1.4.803:=2)))",
    bind_dn="CN=pypi,OU=Services,DC=corp,DC=example,DC=org",
    everybody_reads=True,
    publishers=["CN=Python Team,OU=Groups,DC=corp,DC=example,DC=org"],
    membership="in-chain",
)
PyPIServerChart(app, "registry", PyPIServerSpec(ldap=directory, network_policy=RegistryNetworkPolicySpec()))
app.synth()
