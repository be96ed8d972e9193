#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
""".ci/summary.py counts what Meson's logs say."""

import json
import pathlib
import subprocess
import sys

import harness

SUMMARY = pathlib.Path(__file__).resolve().parents[2] / ".ci" / "summary.py"


def summary(*tests):
    """Run it on a log of (result, stdout) pairs; returns (status, lines)."""
    with harness.scratch() as folder:
        log = folder / "testlog.json"
        log.write_text("".join(
            json.dumps({"name": "t", "result": result, "stdout": stdout}) + "\n"
            for result, stdout in tests))
        done = subprocess.run([sys.executable, SUMMARY, log], check=False,
                              capture_output=True, text=True)
    return done.returncode, done.stdout.splitlines()


def test_tap_lines_count_each():
    tap = "1..3\nok 1 - a\nok 2 /b # SKIP no root\n# ok\nok 3 c\n"
    assert summary(("OK", tap)) == (
        0, ["skipped: t /b: no root", "2 passed, 0 failed, 1 skipped"])


def test_failed_line_fails():
    assert summary(("FAIL", "1..2\nok 1 a\nnot ok 2 b\n")) == (
        1, ["failed: t b", "1 passed, 1 failed, 0 skipped"])


def test_crash_after_good_lines_fails():
    assert summary(("ERROR", "1..2\nok 1 a\n")) == (
        1, ["failed: t: ERROR", "1 passed, 1 failed, 0 skipped"])


def test_timeout_fails():
    assert summary(("TIMEOUT", "")) == (
        1, ["failed: t: TIMEOUT", "0 passed, 1 failed, 0 skipped"])


def test_skipped_program_gives_its_last_words():
    assert summary(("SKIP", "looking\nno kernel\n")) == (
        0, ["skipped: t: no kernel", "0 passed, 0 failed, 1 skipped"])


def test_skipped_plan_gives_its_reason():
    assert summary(("SKIP", "1..0 # SKIP no kernel\n")) == (
        0, ["skipped: t: no kernel", "0 passed, 0 failed, 1 skipped"])


def test_what_is_at_hand_must_not_be_missed():
    assert summary(("OK", "1..1\nok 1 a # SKIP x is not built\n")) == (
        1, ["failed: t a: x is not built", "0 passed, 1 failed, 0 skipped"])
    assert summary(("SKIP", "1..0 # SKIP x is not installed\n")) == (
        1, ["failed: t: x is not installed", "0 passed, 1 failed, 0 skipped"])


def test_program_without_tap_counts_once():
    assert summary(("OK", "fine\n")) == (0, ["1 passed, 0 failed, 0 skipped"])


if __name__ == "__main__":
    harness.main()
