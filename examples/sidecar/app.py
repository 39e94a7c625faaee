"""A registry with a container of one's own: it reports how full the package volume is, and has a scratch volume."""

from cdk8s_plus_27 import k8s

from cdk8s_pypiserver import KustomizeApp, PyPIServerChart

app = KustomizeApp()
registry = PyPIServerChart(app, "registry").registry
# Hardened like the others, as the namespace asks for. Plain fields would do as well: {"name": "usage", "image": …}.
reporter = k8s.Container(
    name="usage",
    image="docker.io/library/debian:bookworm-slim",
    # The first process of a container is told to end in vain unless it says what then: the trap does. And a shell hears
    # of it after the command that it waits for, but at once during `wait`.
    command=[
        "/bin/sh",
        "-c",
        "trap 'exit 0' TERM; while df -h /data/packages | tee /report/usage; do sleep 300 & wait; done",
    ],
    security_context=k8s.SecurityContext(
        allow_privilege_escalation=False,
        capabilities=k8s.Capabilities(drop=["ALL"]),
        read_only_root_filesystem=True,
    ),
    volume_mounts=[
        k8s.VolumeMount(name="packages", mount_path="/data/packages", read_only=True),
        k8s.VolumeMount(name="report", mount_path="/report"),
    ],
)
registry.pod.add_container(reporter)
registry.pod.add_volume({"name": "report", "emptyDir": {"sizeLimit": "1Mi"}})
app.synth()
