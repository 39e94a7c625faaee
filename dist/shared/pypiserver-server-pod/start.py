"""What must be right before the server listens."""

from __future__ import annotations

import logging
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pypiserver

from server.access.attestation_rules import AttestationRules, AttestationRulesError
from server.access.credentials import Credentials
from server.access.initial_password import USER, InitialPassword
from server.access.rights import PermissionsError, rights
from server.access.trusted import Publishers, PublishersError
from server.publish.methods import publisher
from server.volume.durable import UnsuitableVolumeError
from server.volume.marker import Marker, WrongVolumeError
from server.volume.notice import Notice
from server.volume.registry import ForeignVolumeError, Registry
from server.volume.writer import TakenOverError, Writer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from server.pod.settings import Settings

KNOWN_VERSION = "2.4"
"""The pypiserver whose reading of file names, welcome page and bottle this server was written for."""
TERMINATION_LOG = Path("/dev/termination-log")
"""Where the kubelet reads why a container ended (its default terminationMessagePath)."""
SPARE_SECONDS = 1.0
_POLL_SECONDS = 0.2
_log = logging.getLogger("start")


class StartError(RuntimeError):
    """The server cannot start; the text says what to do about it."""


def check(settings: Settings) -> None:
    """Make sure that the server can work.

    Raises:
        StartError: It cannot.
    """
    _refuse_what_cannot_work(settings)
    try:
        _check_pypiserver()
        _check_files(settings)
        with _telling(settings):
            next(settings.packages_directory.iterdir(), None)
            if settings.publish_method != "store" and settings.writes:
                marker(settings).check()
                _check_registry(settings)
                publisher(settings.publish_method, settings.packages_directory).check()
        if settings.publish_method == "store":
            _check_store(settings)
        elif not settings.writes:
            _wait_for_the_writer(settings)
            _check_registry(settings)
    except UnsuitableVolumeError as error:
        raise StartError(str(error)) from error
    except WrongVolumeError as error:
        _tell_the_gateway(settings, f"The package volume fails: {error.strerror}")
        raise StartError(f"the package volume cannot be used: {error.strerror}") from error
    except OSError as error:
        raise StartError(f"the package volume cannot be read: {error}") from error
    credentials = Credentials(settings.credentials_directory)
    initial = initial_password(settings)
    if initial and not credentials.mounted:
        _make(initial)
    elif not (
        credentials.publishers() or credentials.tokens.all() or settings.directory_port or settings.external_auth_url
    ):
        # Where the pod is told of none, whoever reads this knows it better.
        where = "" if settings.registry_namespace == "default" else f" --namespace {settings.registry_namespace}"
        raise StartError(
            f"no credentials: {settings.credentials_directory / 'publishers'} has no user, and there are no tokens."
            f" Make the Secret {settings.credentials_secret} with the keys `publishers` and,"
            " if others may only read, `readers`, each in htpasswd format:"
            " htpasswd -nB alice > publishers;"
            f" kubectl create secret generic {settings.credentials_secret}{where} --from-file=publishers"
        )
    elif initial:
        initial.end()


def _check_files(settings: Settings) -> None:
    try:
        rights(settings)
        AttestationRules.from_file(settings.attestations)
        if settings.trusted_publishers:
            Publishers.from_file(settings.trusted_publishers)
    except PermissionsError as error:
        raise StartError(f"the permissions cannot be used: {error}") from error
    except AttestationRulesError as error:
        raise StartError(f"the rules about attestations cannot be used: {error}") from error
    except PublishersError as error:
        raise StartError(f"the trusted publishers cannot be used: {error}") from error


def _check_registry(settings: Settings) -> None:
    try:
        if found := registry(settings):
            found.check()
    except ForeignVolumeError as error:
        raise StartError(str(error)) from error


def _check_store(settings: Settings) -> None:
    # Elsewhere the room is not there.
    from server.store import start as store  # noqa: PLC0415

    try:
        store.check(settings)
    except store.UnusableStoreError as error:
        raise StartError(str(error)) from error


def marker(settings: Settings) -> Marker:
    """What tells the package volume from another, and from none."""
    return Marker(
        settings.packages_directory,
        settings.run_directory / "volume",
        expected=settings.volume_identity,
        in_place=settings.publish_method == "direct",
        makes=settings.writes,
    )


def writer(settings: Settings) -> Writer | None:
    """What keeps two writers of a bucket apart; None where many may write, or where the pod only reads."""
    if settings.publish_method != "direct" or settings.writers != "one" or not settings.writes:
        return None
    # As long as a mount may show what is old, and some to spare.
    settled = settings.poll_seconds + SPARE_SECONDS
    return Writer(settings.packages_directory, settings.run_directory / "writer", settle_seconds=settled)


def registry(settings: Settings) -> Registry | None:
    """What keeps two registries of a bucket apart; None where a volume is one claim's, or made to be shared."""
    if settings.publish_method != "direct" or settings.writers != "one":
        return None
    return Registry(settings.packages_directory, settings.registry)


def become_writer(settings: Settings) -> None:
    """Become the one that writes to a bucket, which may take as long as a mount shows what is old.

    Raises:
        StartError: Another pod came after this one, or another registry.
    """
    try:
        own, found = registry(settings), writer(settings)
        if own and found:
            own.adopt()
            found.take()
    except TakenOverError as error:
        raise StartError(error.strerror) from error
    except ForeignVolumeError as error:
        raise StartError(str(error)) from error


def initial_password(settings: Settings) -> InitialPassword | None:
    """The password that the registry makes for itself, if the settings want one."""
    return InitialPassword(settings.packages_directory) if settings.initial_password else None


def end(error: Exception) -> None:
    """Say why the server cannot start, to the log and to the kubelet, and end the process with 1."""
    print(f"pypiserver cannot start: {error}", file=sys.stderr)  # noqa: T201 - there is no logger yet
    with suppress(OSError), TERMINATION_LOG.open("r+") as file:
        file.write(f"{error}\n")
    sys.exit(1)


def _refuse_what_cannot_work(settings: Settings) -> None:
    """Refuse what a spec refuses: manifests can be put together without one."""
    if settings.pods == "many" and settings.writers == "one":
        raise StartError(
            "PODS is many and WRITERS is one: several pods cannot write to this storage; leave the component `ha` out,"
            " or use storage that several pods can write to (`shared`)"
        )
    if settings.publish_method == "store" and settings.writers == "many":
        raise StartError("PUBLISH_METHOD is store and WRITERS is many: one server writes to a store; leave WRITERS out")
    if settings.initial_password and settings.publish_method == "store":
        raise StartError(
            "INITIAL_PASSWORD is yes and PUBLISH_METHOD is store: the password would be lost with the pod;"
            f" leave INITIAL_PASSWORD out, and make the Secret {settings.credentials_secret}"
        )
    if settings.audit == "volume" and settings.publish_method != "link":
        raise StartError(
            f"AUDIT is volume and PUBLISH_METHOD is {settings.publish_method}: lines cannot be appended in a bucket;"
            " AUDIT=log writes them to the log"
        )
    if not settings.writes and settings.writers == "many":
        raise StartError(
            "ROLE is reader and WRITERS is many: where any pod may publish there are no readers; leave ROLE out"
        )
    if settings.initial_password and not settings.writes:
        raise StartError(
            "INITIAL_PASSWORD is yes and ROLE is reader: a reader writes nothing to the volume;"
            f" leave INITIAL_PASSWORD out, and make the Secret {settings.credentials_secret}"
        )
    if settings.initial_password and settings.writers == "many":
        raise StartError(
            "INITIAL_PASSWORD is yes and WRITERS is many: the password would be kept on a volume that others can read;"
            f" leave the component `initial-password` out, and make the Secret {settings.credentials_secret}"
        )


def _wait_for_the_writer(settings: Settings) -> None:
    """Check which volume it is; on a new one the writer, which starts at the same time, says so first.

    Raises:
        WrongVolumeError: Nobody has for too long, or it is another one.
    """
    end, told = time.monotonic() + settings.volume_wait_seconds, False
    while error := _wrong_volume(settings):
        if time.monotonic() >= end:
            raise error
        if not told:
            _tell_the_gateway(settings, f"The package volume fails: {error.strerror}")
            print(f"waiting for the package volume: {error.strerror}", file=sys.stderr)  # noqa: T201
        told = True
        time.sleep(_POLL_SECONDS)


def _wrong_volume(settings: Settings) -> WrongVolumeError | None:
    try:
        marker(settings).check()
    except WrongVolumeError as error:
        return error
    return None


def _check_pypiserver() -> None:
    version: str = pypiserver.__version__
    if not version.startswith(f"{KNOWN_VERSION}."):
        raise StartError(f"pypiserver {version} is installed; this server works with {KNOWN_VERSION}.x")


@contextmanager
def _telling(settings: Settings) -> Iterator[None]:
    """Say that the volume is what the server waits for, should it hang: a mount waits for a bucket that is missing."""

    def tell() -> None:
        print(  # noqa: T201 - there is no logger yet
            f"waiting for the package volume: {settings.packages_directory} has not answered for"
            f" {settings.ready_timeout_seconds:g} s",
            file=sys.stderr,
        )
        _tell_the_gateway(settings, "The package volume does not answer")

    timer = threading.Timer(settings.ready_timeout_seconds, tell)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def _tell_the_gateway(settings: Settings, text: str) -> None:
    with suppress(OSError):
        Notice(settings.run_directory).put(text)


def _make(initial: InitialPassword) -> None:
    try:
        initial.make()
    except OSError as error:
        raise StartError(f"the initial password cannot be kept on the package volume: {error}") from error
    print(f"no credentials are mounted: the user is `{USER}`, the password is in {initial.path}", file=sys.stderr)  # noqa: T201
