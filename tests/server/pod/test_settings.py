from __future__ import annotations

from pathlib import Path

import pytest

from server.pod.settings import SettingError, Settings


def test_the_defaults_are_those_of_the_pod() -> None:
    settings = Settings.from_environment({})
    assert settings == Settings()
    assert settings.packages_directory == Path("/data/packages")
    assert (settings.publish_method, settings.writers, settings.threads) == ("link", "one", 64)
    assert not settings.allow_removal
    assert settings.removed_names == "taken"
    assert not settings.initial_password


def test_every_variable_is_read() -> None:
    settings = Settings.from_environment(
        {
            "PACKAGES_DIRECTORY": "/a",
            "PAGES_DIRECTORY": "/b",
            "CREDENTIALS_DIRECTORY": "/c",
            "PUBLISH_METHOD": "direct",
            "WRITERS": "many",
            "PODS": "many",
            "ROLE": "reader",
            "READERS": "yes",
            "POLL_SECONDS": "4",
            "RESCAN_SECONDS": "5",
            "LOG_LEVEL": "warning",
            "AUDIT": "volume",
            "VOLUME_WAIT_SECONDS": "7",
            "ALLOW_REMOVAL": "yes",
            "REMOVED_NAMES": "free",
            "INITIAL_PASSWORD": "yes",
            "READY_TIMEOUT_SECONDS": "1.5",
            "THREADS": "8",
            "REPLACEMENT_DIRECTORY": "/d",
            "STORE_URL": "http://127.0.0.1:1",
            "STORE_PATH": "store:bucket/folder",
            "REGISTRY_NAME": "team-a",
            "REGISTRY_NAMESPACE": "python",
            "STORE_POLL_SECONDS": "4",
            "CONCURRENT_UPLOADS": "3",
        }
    )
    assert settings == Settings(
        packages_directory=Path("/a"),
        pages_directory=Path("/b"),
        credentials_directory=Path("/c"),
        publish_method="direct",
        writers="many",
        pods="many",
        role="reader",
        readers=True,
        poll_seconds=4,
        rescan_seconds=5,
        log_level="warning",
        audit="volume",
        volume_wait_seconds=7,
        allow_removal=True,
        removed_names="free",
        initial_password=True,
        ready_timeout_seconds=1.5,
        threads=8,
        replacement_directory=Path("/d"),
        store_url="http://127.0.0.1:1",
        store_path="store:bucket/folder",
        registry_name="team-a",
        registry_namespace="python",
        store_poll_seconds=4,
        concurrent_uploads=3,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PUBLISH_METHOD", "copy"),
        ("WRITERS", "2"),
        ("PODS", "3"),
        ("ROLE", "both"),
        ("READERS", "2"),
        ("VOLUME_WAIT_SECONDS", "0"),
        ("ALLOW_REMOVAL", "true"),
        ("REMOVED_NAMES", "yes"),
        ("AUDIT", "yes"),
        ("INITIAL_PASSWORD", ""),
        ("RESCAN_SECONDS", "soon"),
        ("RESCAN_SECONDS", "0"),
        ("READY_TIMEOUT_SECONDS", "nan"),
        ("THREADS", "4"),
        ("CONCURRENT_UPLOADS", "0"),
    ],
)
def test_a_wrong_value_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=f"{name} is '?{value}"):
        Settings.from_environment({name: value})


@pytest.mark.parametrize("place", ["", "bucket/folder", "store:"])
def test_a_store_has_a_place(place: str) -> None:
    with pytest.raises(SettingError, match=f"STORE_PATH is '{place}'"):
        Settings.from_environment({"PUBLISH_METHOD": "store", "STORE_PATH": place})
