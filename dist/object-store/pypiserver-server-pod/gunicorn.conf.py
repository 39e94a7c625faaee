"""How gunicorn runs the server; starting fails here, before it listens, if the pod is not set up right."""

import atexit
import gc
import signal
import sys
from pathlib import Path

# The first process of a container is told to end in vain if it does not say what then: gunicorn says so when it has
# read this file, which may wait for minutes.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

# `server` is a folder of rooms, of which this file is in one; in the pod each is a volume of its own.
DIRECTORY = str(Path(__file__).absolute().parents[2])
sys.path.insert(0, DIRECTORY)

from server.access.credentials import Credentials  # noqa: E402
from server.access.directory import Directory  # noqa: E402
from server.access.external import External  # noqa: E402
from server.access.members import Members  # noqa: E402
from server.access.rights import rights  # noqa: E402
from server.access.trusted import Publishers  # noqa: E402
from server.access.verdicts import Verdicts  # noqa: E402
from server.audit.trail import trail  # noqa: E402
from server.pod import start  # noqa: E402 - found through the line above
from server.pod.settings import SettingError, Settings  # noqa: E402
from server.volume.lock import VolumeInUseError, VolumeLock  # noqa: E402
from server.volume.replacement import Replacement  # noqa: E402

try:
    _settings = Settings.from_environment()
    _replacement = Replacement(_settings.packages_directory, _settings.replacement_directory)
    atexit.register(_replacement.before_the_end)
    start.check(_settings)
    _lock = VolumeLock(_settings.packages_directory)
    if _settings.writers == "one" and _settings.writes:
        _lock.acquire(_settings.volume_wait_seconds)
    start.become_writer(_settings)
except (SettingError, start.StartError, VolumeInUseError) as error:
    start.end(error)

wsgi_app = "server.pod.application:create()"
pythonpath = DIRECTORY
# Only the gateway, in the same pod, may reach the server: it has authorised every request.
bind = "127.0.0.1:8081"
# One process holds the index in memory; more would each hold one of their own.
workers = 1
worker_class = "gthread"
threads = _settings.threads + _settings.concurrent_uploads
# The index of a large volume is read before the first request; liveness is the kubelet's to judge.
timeout = 0
graceful_timeout = 60
errorlog = "-"
loglevel = _settings.log_level
accesslog = None
# gunicorn 25.1 and later would open a socket in the home directory for its command line tool.
control_socket_disable = True


def pre_fork(server: object, worker: object) -> None:
    """Have the worker share the memory that there is: its collections would write to all of it."""
    del server, worker
    gc.freeze()


def post_worker_init(worker: object) -> None:
    """Answer the gateway's questions about credentials, beside the worker's requests.

    Also let the next pod in as soon as this one is told to end, which its preStop hook says by a file.
    """
    del worker
    # The index of 100,000 files takes every full collection 40 to 60 ms, in which nobody is answered. It is no garbage.
    gc.collect()
    gc.freeze()
    credentials = Credentials(_settings.credentials_directory, start.initial_password(_settings))
    members = None
    if _settings.directory_port or _settings.external_auth_url:
        groups, port = rights(_settings).directory_groups, _settings.directory_port
        judge = Directory(port, groups) if port else External.of(_settings, groups)
        judge.start()
        members = Members(judge, seconds=_settings.directory_seconds, guesses=_settings.directory_guesses)
    trusted = None
    if _settings.trusted_publishers:
        trusted = Publishers.from_file(_settings.trusted_publishers).tokens(_settings)
    Verdicts(credentials, trail(_settings), members, rights(_settings), trusted).start(_settings.verdicts_port)
    if _settings.writers == "one" and _settings.writes:
        _lock.release_when(_settings.run_directory / "stopping")
