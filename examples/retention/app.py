"""A registry whose nightly builds and superseded versions are yanked; what team A has locked stays."""

from cdk8s_pypiserver import KustomizeApp, PyPIServerChart, PyPIServerSpec, RetentionRuleSpec, RetentionSpec

RULES = [
    RetentionRuleSpec(projects=["acme-nightly-*"], keep_days=30, keep_versions=3),
    RetentionRuleSpec(projects=["acme-*"], keep_versions=20, keep_prereleases=5, final_replaces_prereleases=True),
]

app = KustomizeApp()
retention = RetentionSpec(
    rules=RULES, action="yank", dry_run=False, pinned=["acme-base"], lock_config_maps=["team-a-locks"]
)
PyPIServerChart(app, "registry", PyPIServerSpec(retention=retention))
app.synth()
