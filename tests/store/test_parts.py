"""Uploads in parts that nobody has finished are ended, and no others."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import requests

from programs import upload, wait_for
from refusing_store import READ_ONLY
from remote_programs import leave_parts, uploads_in_parts
from store.test_survey import surveyed
from store_programs import BUCKET
from store_samples import files, metric, wheel

if TYPE_CHECKING:
    from store_programs import Place, Rclone

NAME, CONTENT = wheel("demo", "1.0", os.urandom(25_000_000))
DAY = "86400"


def parts(place: Place) -> list[str]:
    """The keys of unfinished uploads of the bucket."""
    return [each.removeprefix(f"{BUCKET}/") for each in uploads_in_parts(place.environment, f"store:{BUCKET}")]


def in_parts(place: Place) -> Rclone:
    """The server's rclone, which sends files of some megabytes in parts, as it usually does from 200 MiB on."""
    rclone = place.rclone()
    rclone.stop()
    rclone.environment |= {"RCLONE_S3_UPLOAD_CUTOFF": "5Mi", "RCLONE_S3_UPLOAD_CONCURRENCY": "1"}
    return rclone.start()


def test_what_is_old_is_ended_in_the_folder_of_the_registry_alone(place: Place) -> None:
    old = ("pypi/demo-1.0.tar.gz", "pypi/.pypiserver/facts", "pypi/deeper/demo-2.0.tar.gz", "pypi/own data")
    foreign = ("pypi-old/demo-1.0.tar.gz", "pypiserver", "other/pypi/demo-1.0.tar.gz")
    young = "pypi/demo-3.0.tar.gz"
    for key in (*old, *foreign, young):
        leave_parts(place.environment, f"store:{BUCKET}/{key}")
    with place.refusing() as store:
        store.old = {*old, *foreign}
        server = place.start(STORE_PARTS_SECONDS=DAY)
        wait_for(lambda: not set(parts(place)) & set(old), "the end of them")
        surveyed(server.url)
        assert parts(place) == sorted((*foreign, young))
        (line,) = (line for line in server.log.splitlines() if "removed the parts" in line)
        assert all(key.removeprefix("pypi/") in line for key in old)


def test_nobody_who_is_not_told_to_ends_any(place: Place) -> None:
    leave_parts(place.environment, f"store:{BUCKET}/pypi/demo-1.0.tar.gz")
    with place.refusing() as store:
        store.old = {"pypi/demo-1.0.tar.gz"}
        without, reader = place.start(), place.server("reader", ROLE="reader", STORE_PARTS_SECONDS=DAY).start()
        surveyed(without.url)
        assert requests.get(f"{reader.url}/-/ready", timeout=10).ok
        assert parts(place) == ["pypi/demo-1.0.tar.gz"]


def test_what_rclone_was_killed_at_is_ended_once_it_was_published_again(place: Place) -> None:
    rclone = in_parts(place)
    server = place.server(rclone=rclone, STORE_PARTS_SECONDS="0.1").start()
    place.way.be("slow", 1_000_000)
    thread = threading.Thread(target=lambda: upload(server.url, NAME, CONTENT))
    thread.start()
    wait_for(lambda: parts(place) == [f"pypi/{NAME}"], "the upload")
    rclone.stop()
    place.way.be("open")
    thread.join()
    rclone.start()
    wait_for(lambda: upload(server.url, NAME, CONTENT).ok, "an upload")
    wait_for(lambda: not parts(place), "the end of what was left")
    assert (place.folder / NAME).read_bytes() == CONTENT
    assert files(server.url, "demo").keys() == {NAME}


def test_an_upload_on_its_way_is_let_be_however_old_it_is(place: Place) -> None:
    server = place.server(rclone=in_parts(place), STORE_PARTS_SECONDS="0.1").start()
    place.way.be("slow", 1_000_000)
    answers: list[requests.Response] = []
    thread = threading.Thread(target=lambda: answers.append(upload(server.url, NAME, CONTENT)))
    thread.start()
    wait_for(lambda: parts(place) == [f"pypi/{NAME}"], "the upload")
    # One that had begun before may not have met it.
    surveyed(server.url)
    assert thread.is_alive()
    place.way.let_go()
    thread.join()
    assert [answer.status_code for answer in answers] == [200]
    assert (place.folder / NAME).read_bytes() == CONTENT


def test_a_store_that_does_not_let_it_is_told_of_and_costs_nothing_else(place: Place) -> None:
    key = "pypi/demo-1.0.tar.gz"
    leave_parts(place.environment, f"store:{BUCKET}/{key}")
    with place.refusing() as store:
        server = place.start(STORE_PARTS_SECONDS=DAY)
        store.refusal, store.old = READ_ONLY, {key}
        complaint = "the parts of unfinished uploads cannot be removed: demo-1.0.tar.gz"
        wait_for(lambda: complaint in server.log, "the log")
        surveyed(server.url)
        assert server.log.count(complaint) == 1
        assert metric(server.url, "pypiserver_store_answers") == 1
        store.refusal = None
        wait_for(lambda: not parts(place), "the end of it")
