"""A registry whose packages are copied to a file server, encrypted, and whose backups are proven every Sunday."""

from cdk8s_pypiserver import BackupSpec, DrillSpec, KustomizeApp, PyPIServerChart, PyPIServerSpec, RemoteSpec

app = KustomizeApp()
backup = BackupSpec(
    remote=RemoteSpec(
        type="sftp",
        path="pypi",
        options={"host": "files.example.org", "user": "backup"},
        secret_options=["key_pem"],
    ),
    encryption_secret="backup-passwords",
    drill=DrillSpec(scratch_size="200Gi", scratch_storage_class="fast"),
)
PyPIServerChart(app, "registry", PyPIServerSpec(backup=backup))
app.synth()
