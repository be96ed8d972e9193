#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""hostmem-bench snapshot: what it measures and leaves out; never how fast."""

import csv
import io

import harness
from harness import need_program, scratch, skip
from test_bench import QUICK, fails, report, succeeds

MEMORIES = {"ram", "ram,thp=off", "memfd", "memfd,hugetlb=on"}
WAYS = {"snapshot", "stop and copy"}
CELLS = {(memory, way) for memory in MEMORIES for way in WAYS} | {
    ("ram", "QEMU")}


def test_each_memory_in_each_way_has_times_or_a_reason():
    with scratch() as folder:
        found = report("snapshot", *QUICK, "-n", "2", "-d", folder)
        assert list(folder.iterdir()) == []
    assert found["mode"] == "snapshot", found["mode"]
    assert {(result["memory"], result["way"])
            for result in found["results"]} == CELLS
    for result in found["results"]:
        if result["skipped"]:
            continue
        assert result["runs"] == 2, result
        assert 0 < result["longest_least_ms"] <= result["longest_median_ms"] \
            <= result["longest_most_ms"], result
        assert result["slowdown_median"] > 0, result
        assert result["gib_per_s"] > 0, result
        assert (result["protect_median_ms"] is not None) == \
            (result["way"] == "snapshot"), result


def test_to_stop_is_measured_everywhere():
    """It needs no permission."""
    with scratch() as folder:
        results = report("snapshot", *QUICK, "-d", folder)["results"]
    for result in results:
        if result["way"] == "stop and copy" and "hugetlb" not in \
                result["memory"]:
            assert not result["skipped"], result


def test_csv():
    with scratch() as folder:
        rows = list(csv.DictReader(io.StringIO(
            succeeds("snapshot", *QUICK, "-d", folder, "--csv"))))
    assert len(rows) == len(CELLS), rows


@harness.time_limit(240)
def test_qemu():
    """Its guest boots, writes, and is saved."""
    need_program("qemu-system-x86_64")
    with scratch() as folder:
        results = report("snapshot", "-s", "128M", "-n", "2", "-d",
                         folder)["results"]
        assert list(folder.iterdir()) == []
    (result,) = [result for result in results if result["way"] == "QEMU"]
    if result["skipped"] and "snapshot" in result["skipped"]:
        skip(result["skipped"])
    assert not result["skipped"], result
    assert result["runs"] == 2 and result["threads"] == 1, result
    assert result["longest_most_ms"] > 0 and result["gib_per_s"] > 0, result


def test_small_memory_has_no_qemu():
    with scratch() as folder:
        results = report("snapshot", *QUICK, "-d", folder)["results"]
    (result,) = [result for result in results if result["way"] == "QEMU"]
    assert "more than 64 MiB" in result["skipped"], result


def test_options():
    fails("snapshot", "-t", "1,2", phrases=["one number"])
    fails("snapshot", "-d", "/nonexistent", phrases=["not a directory"])


if __name__ == "__main__":
    harness.main()
