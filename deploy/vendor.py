"""Renew or check the third-party browser code under `static/vendor/`.

    python deploy/vendor.py            renew every package at the version that the manifest names
    python deploy/vendor.py --latest   renew every package at its newest version
    python deploy/vendor.py --check    compare the files with the manifest; needs no network

Packages come through the `npm` command, whatever registry it is set up to use.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

VENDOR = Path(__file__).resolve().parent.parent / "static" / "vendor"
MANIFEST = VENDOR / "manifest.json"
#: The maps aren't shipped, and hashed static file names would stumble over a reference to one.
SOURCE_MAP = re.compile(rb"\n?//# sourceMappingURL=\S+\s*$")


def sha256(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def renew(package: dict[str, Any], *, latest: bool) -> None:
    """Fetch one package and put its files in place.

    Args:
        package: The manifest's entry; version, licence and hashes are updated in it.
        latest: Take the newest version instead of the one named.
    """
    wanted = package["name"] if latest else f"{package['name']}@{package['version']}"
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", "--ignore-scripts", wanted], cwd=folder, check=True)
        (archive,) = Path(folder).glob("*.tgz")
        with tarfile.open(archive) as tar:
            facts = json.loads(member(tar, "package.json"))
            package |= {"version": facts["version"], "licence": facts["license"]}
            for file in package["files"]:
                target = VENDOR / file["path"]
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(SOURCE_MAP.sub(b"\n", member(tar, file["from"])))
                file["sha256"] = sha256(target)


def member(tar: tarfile.TarFile, name: str) -> bytes:
    """Return a packed file's bytes.

    Raises:
        KeyError: When the package has no such file.
    """
    handle = tar.extractfile(f"package/{name}")
    if handle is None:
        raise KeyError(name)
    return handle.read()


def problems(packages: list[dict[str, Any]]) -> list[str]:
    """Return what doesn't agree between the manifest and the files."""
    listed = {file["path"]: file["sha256"] for package in packages for file in package["files"]}
    present = {str(path.relative_to(VENDOR)): path for path in VENDOR.rglob("*") if path.is_file() and path != MANIFEST}
    found = [f"{name}: not in the manifest" for name in sorted(present.keys() - listed.keys())]
    found += [f"{name}: missing" for name in sorted(listed.keys() - present.keys())]
    both = sorted(present.keys() & listed.keys())
    return found + [f"{name}: was changed" for name in both if sha256(present[name]) != listed[name]]


def main() -> int:
    """Do what the command line says; returns the exit code."""
    parser = argparse.ArgumentParser(description="Renew or check vendored browser code.")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--latest", action="store_true", help="take the newest versions")
    group.add_argument("--check", action="store_true", help="only compare files and manifest")
    options = parser.parse_args()
    manifest = json.loads(MANIFEST.read_text())
    if not options.check:
        for package in manifest["packages"]:
            renew(package, latest=options.latest)
        MANIFEST.write_text(json.dumps(manifest, indent=2) + "\n")
    found = problems(manifest["packages"])
    print("\n".join(found) or "Vendored files agree with the manifest.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
