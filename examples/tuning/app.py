"""A registry with another argument of gunicorn and another setting, from a spec in a YAML file."""

from pathlib import Path

import cdk8s

from cdk8s_pypiserver import KustomizeApp, PyPIServer, PyPIServerSpec


class TunedRegistry(PyPIServer):
    """Logs more, and looks at the volume more often."""

    def server_arguments(self) -> list[str]:
        """Add the log level."""
        return [*super().server_arguments(), "--log-level", "debug"]

    def server_environment(self) -> dict[str, str]:
        """Set the interval of full listings."""
        return {**super().server_environment(), "RESCAN_SECONDS": "5"}


if __name__ == "__main__":
    app = KustomizeApp()
    spec = PyPIServerSpec.from_yaml(Path(__file__).with_name("registry.yaml"))
    TunedRegistry(cdk8s.Chart(app, "registry"), "registry", spec)
    app.synth()
