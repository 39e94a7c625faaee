"""A registry in which each team publishes under its own names, and what the data team has is for it alone."""

from cdk8s_pypiserver import (
    KustomizeApp,
    PermissionGroupSpec,
    PermissionRuleSpec,
    PermissionsSpec,
    PyPIServerChart,
    PyPIServerSpec,
    ServerSpec,
)

PERMISSIONS = PermissionsSpec(
    groups=[
        PermissionGroupSpec(name="platform", users=["alice", "bob"]),
        PermissionGroupSpec(name="data", users=["carol"]),
    ],
    rules=[
        PermissionRuleSpec(
            projects=["acme-*"],
            excluding=["acme-data-*"],
            publish=["@platform", "robot"],
            yank=["@platform"],
            remove=["alice"],
        ),
        PermissionRuleSpec(projects=["acme-data-*", "forecasts"], publish=["@data"], yank=["@data"]),
        PermissionRuleSpec(
            projects=["*"], excluding=["acme-data-*", "forecasts"], read=["*"], create=["@platform", "@data"]
        ),
    ],
)

app = KustomizeApp()
PyPIServerChart(app, "registry", PyPIServerSpec(permissions=PERMISSIONS, server=ServerSpec(allow_removal=True)))
app.synth()
