"""Backup, restore and drill of a registry whose packages are in a store that speaks S3, each with a fault in it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from e2e import cluster, objects, samples, upkeep
from e2e.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from e2e.cluster import Registry
    from e2e.samples import Sample

BACKUP = cluster.ROOT / "dist/components/backup-object-store"
SLOWLY = {"BACKUP_BANDWIDTH": "2M", "RCLONE_BWLIMIT": "2M"}
"""So that there is a middle in which something can happen."""
FOR_LONG = dict.fromkeys(SLOWLY, "256k")
"""So that the store of copies is away before the middle is over."""
ONCE = {"RCLONE_RETRIES": "1", "RCLONE_LOW_LEVEL_RETRIES": "1"}
LARGE = 12 * samples.MEBIBYTE


@pytest.fixture(scope="module")
def registry(deploy: Callable[..., Registry], keys: tuple[str, str]) -> Registry:
    """A registry whose readers need a password, and whose Jobs reach the two stores and nobody else."""
    place = objects.Place.new()
    source = {
        "BACKUP_SOURCE": f"source:{place.path}",
        "RCLONE_CONFIG_SOURCE_PROVIDER": "Other",
        "RCLONE_CONFIG_SOURCE_ENDPOINT": place.endpoint,
        "RCLONE_CONFIG_SOURCE_REGION": "us-east-1",
    }
    patches = [
        *place.patches(),
        cluster.setting("ALLOW_REMOVAL", "yes"),
        cluster.setting("ALLOW_REMOVAL", "yes", cluster.GATEWAY),
        upkeep.site(upkeep.IN_A_STORE, {**source, **upkeep.COPIES}),
        upkeep.WAY_TO_COPIES,
        upkeep.way({"namespaceSelector": {}}, 9000),
    ]
    concerns = [BACKUP, objects.POLICY]
    made = deploy("backup-objects", objects.OVERLAY, patches, components=concerns, accounts=True, settled=False)
    objects.give_keys(made, keys)
    upkeep.prepare(made)
    upkeep.run(made, upkeep.READER)
    return made


@pytest.fixture(scope="module")
def first(registry: Registry, sample_directory: Path) -> list[Sample]:
    """Six projects, the last of them large."""
    made = [samples.make(sample_directory, f"e2e-first-{number}") for number in range(5)]
    made.append(samples.make(sample_directory, "e2e-first-large", size=LARGE))
    _publish(registry, made)
    return made


def _publish(registry: Registry, made: Iterable[Sample]) -> None:
    client = registry.client(cluster.PUBLISHER)
    # An earlier try of the test may have published it.
    if new := [each.path for each in made if not client.lists(each.normalised, each.path.name)]:
        done = client.twine(new)
        assert done.returncode == 0, done.stdout


def _remove(registry: Registry, sample: Sample) -> None:
    client = registry.client(cluster.PUBLISHER)
    form = {":action": "remove_pkg", "name": sample.project, "version": sample.version}
    # An earlier try of the test may have removed it.
    assert client.session.post(client.url, data=form, timeout=60).status_code in {200, 404}


def _lists(registry: Registry, wanted: Iterable[Sample], unwanted: Iterable[Sample] = ()) -> None:
    client = registry.client(cluster.READER)

    def listed() -> bool:
        return all(client.lists(each.normalised, each.path.name) for each in wanted) and not any(
            client.lists(each.normalised, each.path.name) for each in unwanted
        )

    eventually(listed, "what is listed", 60, 1)


def _copied(registry: Registry, pattern: str) -> str:
    """Files of the store that keeps the copies."""
    here = f"/data/{upkeep.BUCKET}/team"
    return registry.exec(f"ls {here}/{pattern} 2>/dev/null || true", pod="deployment/store", container="store")


def _pod_of(registry: Registry, job: str, said: str) -> str:
    """The pod of a Job, as soon as its log has this."""

    def begun() -> str:
        pods = registry.get("pods", "--selector", f"job-name={job}", "--field-selector=status.phase=Running")["items"]
        name = str(pods[0]["metadata"]["name"]) if pods else ""
        return name if name and said in registry.logs(f"pod/{name}", "upkeep") else ""

    return eventually(begun, f"{said!r} of {job}", 120, 0.2)


def _kill(registry: Registry, pod: str) -> None:
    registry.kubectl("delete", "pod", pod, "--grace-period=0", "--force")


def test_a_backup_whose_pod_is_killed_is_made_by_the_next(registry: Registry, first: list[Sample]) -> None:
    _lists(registry, first)
    upkeep.begin(registry, "backup", "backup-killed", SLOWLY, attempts=2)
    eventually(lambda: _copied(registry, "files/*.whl"), "the first copy", 120, 0.2)
    assert _copied(registry, "manifests/*") == ""
    _kill(registry, _pod_of(registry, "backup-killed", ""))
    assert f"{len(first)} packages" in upkeep.ended(registry, "backup-killed")
    upkeep.tells(registry, "backup", "")
    assert f"pypiserver_backup_packages {len(first)}\n" in upkeep.metrics(registry)


def test_a_backup_whose_store_goes_away_is_told_and_the_next_goes_on(
    registry: Registry, first: list[Sample], sample_directory: Path
) -> None:
    assert first
    later = samples.make(sample_directory, "e2e-later", size=LARGE)
    _publish(registry, [later])
    upkeep.begin(registry, "backup", "backup-away", {**FOR_LONG, **ONCE})
    _pod_of(registry, "backup-away", "[backup] since ")
    upkeep.away(registry)
    assert upkeep.ended(registry, "backup-away", "failed")
    upkeep.tells(registry, "backup", "away")
    upkeep.back(registry)
    assert f"{len(first) + 1} packages" in upkeep.job(registry, "backup", "backup-back")
    upkeep.tells(registry, "backup", "")


def test_a_restore_as_of_a_moment_is_gone_on_with(registry: Registry, first: list[Sample], tmp_path: Path) -> None:
    oldest = re.findall(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z", _copied(registry, "manifests/"))[0]
    moment = "{}-{}-{}T{}:{}:{}Z".format(*oldest)
    gone = [first[0], first[-1]]
    for each in gone:
        _remove(registry, each)
    _lists(registry, [], gone)
    look = upkeep.job(registry, "restore", "look", RESTORE_AS_OF=moment)
    assert "nothing was restored (RESTORE_DRY_RUN=yes)" in look
    assert f"to be restored: {len(gone)} files" in look
    assert "there and not in this backup, left as they are: 1" in look
    _lists(registry, [], gone)
    variables = {**SLOWLY, "RESTORE_AS_OF": moment, "RESTORE_DRY_RUN": "no"}
    upkeep.begin(registry, "restore", "restore-killed", variables, attempts=2)
    _kill(registry, _pod_of(registry, "restore-killed", f"to be restored: {len(gone)} files"))
    assert re.search(r"restored [12] files", upkeep.ended(registry, "restore-killed"))
    _lists(registry, first)
    done = registry.client(cluster.READER).pip_install(first, tmp_path / "restored")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [each.project for each in first if not each.installed_whole(tmp_path / "restored")] == []


def test_a_restore_whose_store_goes_away_is_told_and_the_next_goes_on(
    registry: Registry, first: list[Sample], tmp_path: Path
) -> None:
    _remove(registry, first[-1])
    _lists(registry, [], first[-1:])
    upkeep.begin(registry, "restore", "restore-away", {**FOR_LONG, "RESTORE_DRY_RUN": "no"})
    _pod_of(registry, "restore-away", "to be restored: 1 files")
    upkeep.away(registry)
    assert upkeep.ended(registry, "restore-away", "failed")
    _lists(registry, [], first[-1:])
    upkeep.back(registry)
    assert "restored 1 files" in upkeep.job(registry, "restore", "restore-back", RESTORE_DRY_RUN="no")
    _lists(registry, first)
    done = registry.client(cluster.READER).pip_install(first[-1:], tmp_path / "restored")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_drill_proves_it_and_tells_of_a_store_that_is_away(registry: Registry, first: list[Sample]) -> None:
    upkeep.away(registry)
    assert upkeep.job(registry, "drill", "drill-away", "failed", **ONCE)
    upkeep.tells(registry, "drill", "away")
    upkeep.back(registry)
    count = len(first) + 1
    assert f"{count} files on {count} pages are as the registry shows them" in upkeep.done(registry, upkeep.DRILL)
    upkeep.tells(registry, "drill", "")
    assert f"pypiserver_drill_files {count}\n" in upkeep.metrics(registry)
