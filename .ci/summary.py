#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Count what Meson's logs say: summary.py BUILD/meson-logs/testlog*.json...

A program that speaks TAP counts by its lines, another one as one test.
Prints each skipped test with its reason, each failed one, and the totals.
A host may be unable to run a test; but what could be built or installed is
there, and a test that does not find it has failed.
"""

import collections
import json
import re
import sys

TAP_LINE = re.compile(
    r"^(?P<verdict>not ok|ok)\b[ \d]*(?:- )?(?P<name>.*?)"
    r"(?:\s*# (?P<directive>SKIP|TODO)\b\s*(?P<reason>.*))?$",
    re.M | re.I,
)
PASSED = ("OK", "EXPECTEDFAIL")
AT_HAND = re.compile(r"\b(is not built|built without|is not installed)\b")


def tap_results(text):
    for line in TAP_LINE.finditer(text):
        if (line["directive"] or "").upper() == "SKIP":
            yield "skipped", line["name"], line["reason"]
        elif line["verdict"] == "ok" or line["directive"]:
            yield "passed", line["name"], ""
        else:
            yield "failed", line["name"], ""


def whole_result(test):
    """The result of a program, with the last thing it said."""
    said = (test.get("stderr") or test["stdout"] or "").strip().splitlines()
    if test["result"] == "SKIP":
        reason = said[-1] if said else "exit status 77"
        return "skipped", "", re.sub(r"^1\.\.0\s*(# SKIP\s*)?", "", reason)
    return "passed" if test["result"] in PASSED else "failed", "", test["result"]


def judge(result):
    kind, name, reason = result
    missed = kind == "skipped" and AT_HAND.search(reason)
    return ("failed" if missed else kind), name, reason


def results(test):
    """Yield (kind, name, reason) of each test of a program."""
    lines = list(tap_results(test["stdout"] or ""))
    yield from lines
    kind, name, reason = whole_result(test)
    if not lines or kind == "failed" and all(k != "failed" for k, *_ in lines):
        yield kind, name, reason


def main():
    totals = collections.Counter(passed=0, failed=0, skipped=0)
    noted = {"skipped": {}, "failed": {}}
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as log:
            for test in map(json.loads, log):
                for kind, name, reason in map(judge, results(test)):
                    totals[kind] += 1
                    if kind in noted:
                        noted[kind][f"{test['name']} {name}".strip()] = reason
    for kind, tests in noted.items():
        for name, reason in tests.items():
            print(f"{kind}: {name}{reason and ': ' + reason}")
    print(", ".join(f"{count} {kind}" for kind, count in totals.items()))
    return totals["failed"] > 0


sys.exit(main())
