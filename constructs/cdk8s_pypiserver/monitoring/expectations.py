"""What a registry says that it is to have, as metrics of its own.

Rules are the same for all registries, so that several in one Prometheus do not get into each other's way; what only one
of them has, such as a backup, the rules learn from these metrics, whose series have the registry's namespace and job.
"""

from collections.abc import Iterator

from .socket import MonitoringSocket

FILE = "expectations.mtail"
CERTIFICATE = "pypiserver_expected_certificate"
"""1, with the label `name`: a Certificate of cert-manager whose end is watched."""
BACKUP = "pypiserver_expected_backup_seconds"
"""How long ago the last success of the CronJob in the label `cronjob` may be."""


def program(name: str, socket: MonitoringSocket) -> dict[str, str]:
    """Return the mtail program that makes the metrics, by its file name; nothing where there are none.

    Args:
        name: The registry, whose certificates of the usual names are watched anyway.
        socket: What is to be watched.
    """
    lines = list(_assignments(name, socket))
    if not lines:
        return {}
    text = f"gauge {CERTIFICATE} by name\ngauge {BACKUP} by cronjob\n\n"
    # The line that the gateway writes at each scrape, also when nobody asks it for anything.
    return {FILE: text + "/ scrape: / {\n" + "".join(f"  {line}\n" for line in lines) + "}\n"}


def _assignments(name: str, socket: MonitoringSocket) -> Iterator[str]:
    for certificate in sorted({*socket.certificates} - {name, f"{name}-tls"}):
        yield f'{CERTIFICATE}["{certificate}"] = 1'
    for cron_job, seconds in sorted(socket.backups.items()):
        yield f'{BACKUP}["{cron_job}"] = {seconds}'
