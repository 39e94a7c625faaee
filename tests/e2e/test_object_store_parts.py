"""Uploads in parts that nobody has finished are ended by the writer, with the rclone that the pod has."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from e2e import cluster, objects
from e2e.test_readers import writer_of
from e2e.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.cluster import Registry

OFTEN = [cluster.setting("STORE_PARTS_SECONDS", "30"), cluster.setting("RESCAN_SECONDS", "5")]
"""As nobody waits for a day here, nor for an hour."""
PARTS = "--s3-upload-cutoff=0 --s3-chunk-size=5Mi --streaming-upload-cutoff=0"


@pytest.fixture(scope="module")
def place() -> objects.Place:
    return objects.Place.new()


@pytest.fixture(scope="module")
def registry(deploy: Callable[..., Registry], keys: tuple[str, str], place: objects.Place) -> Registry:
    patches = [*place.patches(), *OFTEN]
    made = deploy("store-parts", objects.OVERLAY, patches, components=[objects.POLICY], accounts=True, settled=False)
    objects.give_keys(made, keys)
    return made


def test_what_was_cut_off_is_ended_in_the_folder_of_the_registry(registry: Registry, place: objects.Place) -> None:
    pod = f"pod/{writer_of(registry).name}"
    own, foreign = f"{place.path}/cut-1.0.tar.gz", f"{place.path}-old/cut-1.0.tar.gz"

    def run(command: str) -> str:
        return registry.exec(command, container=objects.RCLONE, pod=pod)

    def unfinished() -> set[str]:
        found = json.loads(run(f"rclone backend list-multipart-uploads store:{place.path}"))
        return {f"{bucket}/{each['Key']}" for bucket, uploads in found.items() for each in uploads}

    for path in (foreign, own):
        run(f"(head -c 6000000 /dev/zero; sleep 3) | timeout -s KILL 2 rclone rcat {PARTS} store:{path} || true")
        assert path in unfinished()
    eventually(lambda: own not in unfinished(), "the end of it", 120, 1)
    assert unfinished() == {foreign}
    # Nobody else does.
    run(f"rclone backend cleanup store:{place.path}-old -o max-age=1s")
