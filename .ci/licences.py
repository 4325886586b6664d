#!/usr/bin/env python3
"""Checks that the licence of every dependency is one that this project may be shipped with.

    cargo metadata --format-version 1 --locked | python3 .ci/licences.py

Reads SPDX expressions (AND, OR, WITH, brackets; also the old `MIT/Apache-2.0`): of an OR one side must be allowed, of an
AND both. Prints how many were read, or every crate that fails, and then ends with 1.
"""

import json
import re
import sys

ALLOWED = {
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
}


def allowed(expression):
    """Whether a way through the expression has allowed licences only."""
    words = re.findall(r"[()]|[^\s()]+", expression.replace("/", " OR "))
    place = 0

    def either():
        nonlocal place
        good = both()
        while place < len(words) and words[place] == "OR":
            place += 1
            good = both() or good
        return good

    def both():
        nonlocal place
        good = one()
        while place < len(words) and words[place] == "AND":
            place += 1
            good = one() and good
        return good

    def one():
        nonlocal place
        word = words[place]
        place += 1
        if word == "(":
            good = either()
            if words[place] != ")":
                raise ValueError(expression)
            place += 1
            return good
        if words[place : place + 1] == ["WITH"]:
            word = f"{word} WITH {words[place + 1]}"
            place += 2
        return word in ALLOWED

    good = either()
    if place != len(words):
        raise ValueError(expression)
    return good


def fault(package):
    """What is wrong with a package's licence, or None."""
    expression = package["license"]
    if not expression:
        return "names no licence"
    try:
        return None if allowed(expression) else f"is under {expression}"
    except (ValueError, IndexError):
        return f"has a licence that cannot be read: {expression}"


def main():
    for expression, want in [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("MIT OR GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only", False),
        ("(MIT OR GPL-3.0-only) AND Zlib", True),
        ("GPL-3.0-only OR MIT AND AGPL-3.0-only", False),
        ("Apache-2.0 WITH Classpath-exception-2.0", False),
        ("MIT/Apache-2.0", True),
    ]:
        assert allowed(expression) is want, expression
    packages = json.load(sys.stdin)["packages"]
    faults = [f"  {p['name']} {p['version']} {why}" for p in packages if (why := fault(p))]
    if faults:
        print("licences: these are not on the list in .ci/licences.py:", *sorted(faults), sep="\n")
        return 1
    if len(packages) < 2:
        print("licences: `cargo metadata` listed no dependencies")
        return 1
    print(f"licences: {len(packages)} packages, all on the list in .ci/licences.py")
    return 0


if __name__ == "__main__":
    sys.exit(main())
