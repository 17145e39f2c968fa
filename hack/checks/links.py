#!/usr/bin/env python3
"""Checks that each relative link of a Markdown file leads to a file, and each anchor to a heading."""

import pathlib
import re
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
LINK = re.compile(r"(?<!\\)\[[^\]\n]*\]\(([^)\s]+)(?: \"[^\"]*\")?\)|(?:src|srcset|href)=\"([^\"]+)\"")
DOCUMENT = re.compile(r"<doc:([^>#]+)(?:#[^>]*)?>")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
EXTERNAL = re.compile(r"^[a-z][a-z+.-]*:")


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to headings."""
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", FENCE.sub("", text), re.MULTILINE):
        plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        found.add(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return found


def check(file: pathlib.Path, problems: list[str]) -> None:
    text = file.read_text()
    name = file.relative_to(TOP)
    prose = re.sub(r"`[^`\n]+`", "", FENCE.sub("", text))
    for first, second in LINK.findall(prose):
        target = first or second
        if EXTERNAL.match(target):
            continue
        path, _, anchor = target.partition("#")
        place = (file.parent / path) if path else file
        if not place.exists():
            problems.append(f"{name}: {target} leads to no file")
        elif anchor and place.suffix == ".md" and anchor not in anchors(place.read_text()):
            problems.append(f"{name}: {target} leads to no heading")
    for target in DOCUMENT.findall(prose):
        if not list(file.parent.rglob(f"{target}.md")):
            problems.append(f"{name}: <doc:{target}> names no page")


def main() -> int:
    problems: list[str] = []
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.md"], cwd=TOP, check=True, capture_output=True, text=True
    ).stdout
    for line in listed.splitlines():
        if (TOP / line).is_file():
            check(TOP / line, problems)
    print("\n".join(problems), file=sys.stderr, end="\n" if problems else "")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
