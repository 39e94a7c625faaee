"""A registry with a container of one's own: it reports how full the package volume is, and has a scratch volume."""

import cdk8s
from cdk8s_plus_27 import k8s

from cdk8s_pypiserver import KustomizeApp, PyPIServer


class ReportingRegistry(PyPIServer):
    """Logs the use of the package volume every five minutes."""

    def containers(self) -> list[k8s.Container]:
        """Add the reporter; hardened like the others, as the namespace asks for."""
        reporter = k8s.Container(
            name="usage",
            image="docker.io/library/debian:bookworm-slim",
            command=["/bin/sh", "-c", "while df -h /data/packages | tee /report/usage; do sleep 300; done"],
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
        return [*super().containers(), reporter]

    def volumes(self) -> list[k8s.Volume]:
        """Add the reporter's volume."""
        size = k8s.Quantity.from_string("1Mi")
        report = k8s.Volume(name="report", empty_dir=k8s.EmptyDirVolumeSource(size_limit=size))
        return [*super().volumes(), report]


if __name__ == "__main__":
    app = KustomizeApp()
    ReportingRegistry(cdk8s.Chart(app, "registry"), "registry")
    app.synth()
