"""What the processes of a container keep in memory, without the page cache that the kernel fills and empties."""

from __future__ import annotations

import subprocess
import threading
from typing import TYPE_CHECKING

from e2e import cluster, samples
from e2e.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from e2e.cluster import Pod

# "anon" of cgroup v2, or what v1 calls so; in bytes.
SAMPLE = """
cd /sys/fs/cgroup
if [ -e memory.current ]; then file=memory.stat key=anon; else file=memory/memory.stat key=total_rss; fi
while sed -n "s/^$key //p" $file; do sleep 0.2; done
"""


class Memory:
    """The highest value of each container of a pod between the begin and the end of a `with` block."""

    def __init__(self, namespace: str, pod: Pod, containers: Sequence[str] = (cluster.GATEWAY, cluster.SERVER)) -> None:
        """Look at these containers."""
        self.peak = dict.fromkeys(containers, 0)
        self._command = ["kubectl", "--namespace", namespace, "exec", pod.name, "--container"]
        self._processes: list[subprocess.Popen[str]] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        """Begin, and wait for the first values."""
        for container in self.peak:
            process = subprocess.Popen(
                [*self._command, container, "--", "sh", "-c", SAMPLE], stdout=subprocess.PIPE, text=True
            )
            thread = threading.Thread(target=self._read, args=(container, process), daemon=True)
            thread.start()
            self._processes.append(process)
            self._threads.append(thread)
        eventually(lambda: all(self.peak.values()), "what the containers keep in memory", 30)
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        for process in self._processes:
            process.terminate()
            process.wait()
        for thread in self._threads:
            thread.join()

    def _read(self, container: str, process: subprocess.Popen[str]) -> None:
        assert process.stdout
        for line in process.stdout:
            self.peak[container] = max(self.peak[container], int(line))

    def __str__(self) -> str:
        """The values in MiB."""
        return ", ".join(f"{container} {peak / samples.MEBIBYTE:.1f} MiB" for container, peak in self.peak.items())
