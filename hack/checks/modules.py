#!/usr/bin/env python3
"""Checks the rules between modules that the compiler does not hold.

- A module imports only modules that its target names, and those stand above it in Package.swift.
- A target names no module that none of its files imports.
- Code marked `unsafe` stands only in the folders that may have it.
- A board's addresses stand only in its layout.
"""

import json
import pathlib
import re
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
SOURCES = TOP / "Sources"

# Folders whose code may be unsafe: wrappers of the kernel's and the C library's interfaces, and guest memory.
MAY_BE_UNSAFE = ("Host", "EventLoop", "Memory", "Hypervisor", "Virtio/Queue", "ApusClient/System.swift")

# The file that holds each board's addresses, and how they look: a port or an address of three digits or more.
LAYOUT = "BoardLayout.swift"
ADDRESS = re.compile(r"\b0x[0-9a-f](?:_?[0-9a-f]){2,15}\b")

IMPORT = re.compile(r"^(?:@testable )?(?:(?:public|package|internal) )?import (\w+)", re.MULTILINE)
UNSAFE = re.compile(r"\bunsafe\b|@unsafe\b|@unchecked\b")


def code(text: str) -> str:
    """The text without comments and string literals, line by line."""
    text = re.sub(r'"(?:\\.|[^"\\\n])*"', '""', text)
    return re.sub(r"//.*", "", text)


def targets() -> list[dict]:
    """The product's targets, in the manifest's order."""
    manifest = subprocess.run(
        ["swift", "package", "dump-package"], cwd=TOP, check=True, capture_output=True, text=True
    ).stdout
    return [t for t in json.loads(manifest)["targets"] if not t.get("path") and t["type"] != "test"]


def dependencies(target: dict) -> list[str]:
    return [name for entry in target["dependencies"] for name in entry.get("byName", [])[:1]]


def check_imports(problems: list[str]) -> None:
    known = targets()
    names = [target["name"] for target in known]
    for position, target in enumerate(known):
        named = dependencies(target)
        for name in named:
            if name in names[position:]:
                problems.append(f"Package.swift: {target['name']} stands above {name}, which it depends on")
        imported: set[str] = set()
        for file in sorted((SOURCES / target["name"]).rglob("*.swift")):
            for name in IMPORT.findall(file.read_text()):
                if name not in names:
                    continue
                imported.add(name)
                if name not in named:
                    problems.append(f"{file.relative_to(TOP)}: imports {name}, which its target does not name")
        for name in named:
            # A C module is also named for the headers that other modules' interfaces need.
            if name not in imported and name != "CHost" and any((SOURCES / target["name"]).rglob("*.swift")):
                problems.append(f"Package.swift: {target['name']} names {name}, and no file imports it")


def check_unsafe(problems: list[str]) -> None:
    for file in sorted(SOURCES.rglob("*.swift")):
        path = file.relative_to(SOURCES).as_posix()
        if path.startswith(MAY_BE_UNSAFE):
            continue
        for number, line in enumerate(code(file.read_text()).splitlines(), 1):
            if re.search(r"\bunsafe\b|@unsafe\b", line):
                problems.append(f"Sources/{path}:{number}: unsafe code outside the folders that may have it")


def check_addresses(problems: list[str]) -> None:
    layouts = list(SOURCES.rglob(LAYOUT))
    if not layouts:
        problems.append(f"Sources: there is no {LAYOUT}")
        return
    addresses = {found.replace("_", "") for file in layouts for found in ADDRESS.findall(code(file.read_text()))}
    # Powers of two are sizes and masks more often than addresses.
    addresses = {text for text in addresses if int(text, 16) & (int(text, 16) - 1)}
    for file in sorted(SOURCES.rglob("*.swift")):
        if file in layouts:
            continue
        for number, line in enumerate(code(file.read_text()).splitlines(), 1):
            for found in ADDRESS.findall(line):
                if found.replace("_", "") in addresses:
                    problems.append(f"{file.relative_to(TOP)}:{number}: {found} is an address of a board's layout")


def main() -> int:
    problems: list[str] = []
    check_imports(problems)
    check_unsafe(problems)
    check_addresses(problems)
    print("\n".join(problems), file=sys.stderr, end="\n" if problems else "")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
