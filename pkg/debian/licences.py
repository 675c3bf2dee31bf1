#!/usr/bin/env python3
"""Prints the licences of every library that the given packages' programs contain.

Usage: licences.py PACKAGE...   needs cargo, and the sources that it has fetched for a build.
Each text stands once, under the crates that came with it. For one that comes without a text, MIT's
own words stand with its authors. Fails where that would not do.
"""
import json
import pathlib
import subprocess
import sys

NAMES = ("LICEN", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE")
MIT = pathlib.Path(__file__).parents[2] / "LICENSE-MIT"


def cargo(*words):
    return subprocess.run(["cargo", *words], check=True, capture_output=True, text=True).stdout


def texts(package):
    folder = pathlib.Path(package["manifest_path"]).parent
    for file in sorted(folder.iterdir()):
        if file.is_file() and file.name.upper().startswith(NAMES):
            yield file.read_text(errors="replace").strip()


def stand_in(package):
    """The text for a crate that brings none."""
    if "MIT" not in (package["license"] or ""):
        sys.exit(f"{package['name']} ({package['license']}) comes without the text of its licence")
    words = MIT.read_text().split("\n\n", 2)[2].strip()
    return f"Copyright (c) {', '.join(package['authors']) or package['name']}\n\n{words}"


def main(names):
    metadata = json.loads(cargo("metadata", "--format-version", "1", "--locked"))
    packages = {(p["name"], p["version"]): p for p in metadata["packages"]}
    linked = set()
    for name in names:
        tree = cargo("tree", "--locked", "--package", name, "--edges", "normal",
                     "--prefix", "none", "--format", "{p}")
        linked.update(tuple(line.split()[:2]) for line in tree.splitlines() if line)
    crates_of = {}
    for name, version in sorted(linked):
        package = packages[(name, version.lstrip("v"))]
        if package["source"] is None:
            continue
        for text in list(texts(package)) or [stand_in(package)]:
            crate = f"{name} {version} ({package['license'] or 'see below'})"
            crates_of.setdefault(text, []).append(crate)
    for text, crates in crates_of.items():
        print("\n".join(crates), text, "-" * 72, sep="\n\n")


if __name__ == "__main__":
    main(sys.argv[1:])
