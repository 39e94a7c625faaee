from __future__ import annotations

import json
import os
import resource
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import requests

from attested import attestation
from programs import PATIENCE, upload, wait_for
from signed import ATTESTATION, PROJECT, SIGNER, Verifier, download, rules, write_rules
from store_samples import files, metric, sha256, wheel

if TYPE_CHECKING:
    from store_programs import Place

NAME, CONTENT = wheel("demo", "1.0")


def act(url: str, action: str, **form: str) -> requests.Response:
    return requests.post(url, data={":action": action, **form}, timeout=PATIENCE)


def test_what_is_acknowledged_is_in_the_bucket_and_listed_by_every_pod(place: Place) -> None:
    writer, reader = place.start("writer"), place.server("reader", ROLE="reader").start()
    assert upload(writer.url, NAME, CONTENT).ok
    assert (place.folder / NAME).read_bytes() == CONTENT
    (file,) = files(writer.url, "demo").values()
    assert file["hashes"] == {"sha256": sha256(CONTENT)}
    assert (file["requires-python"], file["size"]) == (">=3.8", len(CONTENT))
    wait_for(lambda: files(reader.url, "demo") == files(writer.url, "demo"), "the reader")
    for server in (writer, reader):
        metadata = requests.get(f"{server.url}/packages/{NAME}.metadata", timeout=PATIENCE).content
        assert sha256(metadata) == file["core-metadata"]["sha256"]
    # The time is the same in every pod, and after every start: clients go on with a file by it.
    answers = [requests.get(f"{each.url}/-/stored/{NAME}", timeout=PATIENCE).json() for each in (writer, reader)]
    kept = (writer.packages / NAME).stat()
    expected = {"size": len(CONTENT), "sha256": sha256(CONTENT), "mtime": int(kept.st_mtime)}
    assert answers == [expected, expected]
    assert (kept.st_size, kept.st_mode & 0o777) == (len(CONTENT), 0o644)
    assert requests.get(f"{reader.url}/-/stored/other-1.0.zip", timeout=PATIENCE).status_code == 404
    assert not list((writer.packages / ".pypiserver/unfinished").iterdir())
    wait_for(lambda: not list((place.folder / ".pypiserver/unfinished").glob("*")), "the end of the upload")


def test_a_new_pod_lists_what_there_was_without_reading_it(place: Place) -> None:
    first = place.start("first")
    for version in ("1.0", "1.1"):
        assert upload(first.url, *wheel("demo", version)).ok
    shown = files(first.url, "demo")
    first.kill()
    # None of them can be read any more, which nobody has to.
    for name in shown:
        (place.folder / name).chmod(0)
    second = place.start("second")
    assert files(second.url, "demo") == shown
    assert upload(second.url, NAME, CONTENT).status_code == 409


def test_of_two_clients_one_publishes_a_name(place: Place) -> None:
    server = place.start()
    contents = [wheel("demo", "1.0", os.urandom(1000))[1] for _ in range(6)]
    answers: list[requests.Response] = []
    threads = [
        threading.Thread(target=lambda content=content: answers.append(upload(server.url, NAME, content)))
        for content in contents
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 5
    assert files(server.url, "demo")[NAME]["hashes"]["sha256"] == sha256((place.folder / NAME).read_bytes())


def test_many_at_once_are_all_there(place: Place) -> None:
    server = place.start()
    packages = [wheel("demo", f"1.{number}") for number in range(30)]
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda each=each: answers.append(upload(server.url, *each).status_code))
        for each in packages
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 30
    server.kill()
    assert files(place.start("second").url, "demo").keys() == dict(packages).keys()


def test_records_reach_the_bucket_and_the_other_pods(place: Place) -> None:
    writer, reader = place.start("writer"), place.server("reader", ROLE="reader").start()
    assert upload(writer.url, NAME, CONTENT, attestations=json.dumps([attestation(NAME, CONTENT)])).ok
    assert act(writer.url, "yank", name="demo", version="1.0", reason="why").ok
    assert (place.folder / ".pypiserver/yanked/demo@1").read_bytes() == b"why"

    def shown(url: str) -> tuple[object, object]:
        file = files(url, "demo").get(NAME, {})
        return file.get("yanked"), file.get("provenance", "").rpartition("/")[2]

    assert shown(writer.url) == ("why", f"{NAME}.provenance")
    wait_for(lambda: shown(reader.url) == ("why", f"{NAME}.provenance"), "the reader")
    objects = [
        requests.get(f"{each.url}/packages/{NAME}.provenance", timeout=PATIENCE).json() for each in (writer, reader)
    ]
    assert objects[0] == objects[1]
    assert act(writer.url, "unyank", name="demo", version="1.0").ok
    assert not (place.folder / ".pypiserver/yanked/demo@1").exists()
    wait_for(lambda: shown(reader.url)[0] is False, "the reader")
    writer.kill()
    assert shown(place.start("second").url) == (False, f"{NAME}.provenance")


def test_what_is_removed_is_gone_everywhere(place: Place) -> None:
    writer = place.start("writer", ALLOW_REMOVAL="yes")
    reader = place.server("reader", ROLE="reader").start()
    assert upload(writer.url, NAME, CONTENT).ok
    wait_for(lambda: files(reader.url, "demo"), "the reader")
    # As another program of the pod keeps it.
    (reader.packages / NAME).write_bytes(CONTENT)
    assert act(writer.url, "remove_pkg", name="demo", version="1.0").ok
    assert not files(writer.url, "demo")
    assert not (writer.packages / NAME).exists()
    assert [path.name for path in place.folder.rglob("demo*")] == []
    wait_for(lambda: not files(reader.url, "demo"), "the reader")
    assert not (reader.packages / NAME).exists()
    other = wheel("demo", "1.0", b"other")[1]
    refused = upload(writer.url, NAME, other)
    assert (refused.status_code, refused.text.split(",")[0]) == (409, f"'{NAME}' was removed")
    writer.kill()
    # A catalogue that is lost is made anew of what is there.
    for found in place.hand.names(".pypiserver/catalogue").values():
        place.hand.remove(found.path)
    place.hand.write("other-1.0.tar.gz", b"other")
    successor = place.start("successor")
    wait_for(lambda: files(successor.url, "other"), "what is there")
    assert upload(successor.url, NAME, other).status_code == 409
    assert upload(successor.url, NAME, CONTENT).ok
    assert (place.folder / NAME).read_bytes() == CONTENT


def test_a_reader_publishes_nothing(place: Place) -> None:
    place.start("writer")
    reader = place.server("reader", ROLE="reader").start()
    answer = upload(reader.url, NAME, CONTENT)
    assert answer.status_code == 503
    assert not (place.folder / NAME).exists()


def test_a_cache_that_is_full_costs_one_upload(place: Place) -> None:

    server = place.start()
    assert server.process
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    (worker,) = map(int, children)
    limits = resource.prlimit(worker, resource.RLIMIT_FSIZE, (1_000_000, -1))
    large = wheel("demo", "1.0", os.urandom(2_000_000))
    assert upload(server.url, *large).status_code == 507
    assert not files(server.url, "demo")
    resource.prlimit(worker, resource.RLIMIT_FSIZE, limits)
    assert upload(server.url, *large).ok
    assert metric(server.url, "pypiserver_packages") == 1


def test_what_verifies_is_published_with_who_signed_it(place: Place, tmp_path: Path) -> None:
    file = download(tmp_path)
    with Verifier(tmp_path / "verifier") as verifier:
        demanded = {
            "ATTESTATIONS": str(write_rules(tmp_path, rules(SIGNER))),
            "ATTESTATIONS_PORT": str(verifier.port),
        }
        writer, reader = place.start("writer", **demanded), place.server("reader", ROLE="reader").start()
        assert upload(writer.url, file.name, file.read_bytes()).status_code == 403
        assert upload(writer.url, file.name, b"other", attestations=json.dumps([ATTESTATION])).status_code == 400
        assert not list(place.folder.glob("*.tar.gz"))
        assert upload(writer.url, file.name, file.read_bytes(), attestations=json.dumps([ATTESTATION])).ok

    def served() -> requests.Response:
        return requests.get(f"{reader.url}/packages/{file.name}.provenance", timeout=PATIENCE)

    wait_for(lambda: served().ok, "the reader")
    assert [each["publisher"] for each in served().json()["attestation_bundles"]] == [SIGNER]
    assert list(files(reader.url, PROJECT)) == [file.name]
