#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""hostmem-bench pool: what it measures and leaves out; never how fast."""

import csv
import io
import signal
import xml.etree.ElementTree

import harness
from harness import (MIB, MemoryCgroup, need_huge_pages, need_program, scratch,
                     wait_until)
from test_bench import (QUICK, check_results, children, fails, is_gone,
                        little_kept, measured, report, running, script,
                        succeeds)

MEMORIES = {"memfd", "memfd,seal=off", "memfd,hugetlb=on"}
AGAINST = {"the kernel", "QEMU without the memory", "QEMU's prealloc"}


def of(found, against):
    return [result for result in found["results"]
            if result["against"] == against and not result["skipped"]]


def test_each_memory_against_each_has_times_or_a_reason():
    need_program("qemu-system-x86_64")
    found = report("pool", *QUICK, "-n", "2")
    assert found["mode"] == "pool", found["mode"]
    assert {(result["memory"], result["against"])
            for result in found["results"]} == {
                (memory, against) for memory in MEMORIES for against in AGAINST}
    for number in ("our_median_ms", "their_median_ms", "ratio_median"):
        check_results(found["results"], number)
    for result in measured(found, ""):
        assert (result["size_mib"], result["pairs"]) == (4, 2), result
        assert result["ratio_least"] <= result["ratio_median"] \
            <= result["ratio_most"], result


def test_zeroing_has_rates_of_one_thread():
    results = of(report("pool", *QUICK, "-t", "2"), "the kernel")
    assert results
    for result in results:
        assert result["threads"] == 1, result
        assert result["our_gib_per_s"] > 0, result
        assert result["their_gib_per_s"] > 0, result
        assert result["more_median_ms"] is None, result


def test_start_says_how_much_more_it_takes():
    need_program("qemu-system-x86_64")
    found = report("pool", *QUICK)
    for result in of(found, "QEMU without the memory"):
        more = result["our_median_ms"] - result["their_median_ms"]
        assert abs(result["more_median_ms"] - more) < 0.21, result
    for result in of(found, "QEMU's prealloc"):
        assert result["more_median_ms"] is None, result
        assert result["threads"] == 2, result


def test_huge_pages():
    need_program("qemu-system-x86_64")
    with need_huge_pages(4):
        results = [result for result in report("pool", *QUICK)["results"]
                   if result["memory"] == "memfd,hugetlb=on"]
        assert not any(result["skipped"] for result in results), results


def test_huge_pages_for_pool_and_opponent():
    with need_huge_pages(3):
        results = [result for result in report("pool", *QUICK)["results"]
                   if result["memory"] == "memfd,hugetlb=on"]
        for result in results:
            assert "needs 4 huge pages" in result["skipped"], result


def test_without_qemu_zeroing_is_measured():
    with scratch() as folder:
        broken = script(folder, "broken", "echo no luck today >&2; exit 3")
        found = report("pool", *QUICK, "--qemu", broken)
    assert of(found, "the kernel")
    for result in found["results"]:
        if result["against"] != "the kernel":
            assert result["skipped"], result
            if result["memory"] != "memfd,hugetlb=on":
                assert "no luck today" in result["skipped"], result


def test_qemu_that_says_something_else():
    """It answers, but not as QMP does."""
    with scratch() as folder:
        odd = script(folder, "odd",
                     "test \"$1\" = --version && exit\n"
                     "echo hello >&3; read line <&3; echo \"no, $line\" >&3; "
                     "exec sleep 100")
        found = report("pool", *QUICK, "--qemu", odd)
    reasons = {result["skipped"] for result in found["results"]
               if result["memory"] == "memfd" and result["skipped"]}
    assert reasons and all("QEMU answers 'no, " in reason
                           for reason in reasons), reasons


def test_there_is_room_for_both_sides():
    with MemoryCgroup(96 * MIB) as cgroup:
        if not str(cgroup.path).startswith("/sys/fs/cgroup/"):
            harness.skip("no cgroups in /sys/fs/cgroup, where we look")
        found = report("pool", "--size", "1G", "-n", "1",
                       preexec_fn=cgroup.join, env=little_kept())
        assert cgroup.oom_kills() == 0
    assert max(result["size_mib"] for result in found["results"]) < 48


def test_text_csv_and_plot():
    need_program("qemu-system-x86_64")
    with scratch() as folder:
        plot = folder / "plot.svg"
        text = succeeds("pool", *QUICK, "--plot", plot)
        for part in ("ready again, against fresh pages, one thread each",
                     "QEMU answers QMP, against one without that memory",
                     "QEMU answers QMP, against one that makes the memory"):
            assert f"\n{part}\n" in text, text
        texts = {element.text for element in
                 xml.etree.ElementTree.parse(plot).getroot().iter()}
        assert {"ready again", "a QEMU that answers QMP",
                "memfd,seal=off"} <= texts, texts
    rows = list(csv.DictReader(io.StringIO(succeeds("pool", *QUICK, "--csv"))))
    assert {row["memory"] for row in rows} == MEMORIES
    assert {row["against"] for row in rows} == AGAINST


def test_bad_options():
    for args, phrases in {
            "pool --threads 1,2": ["--threads", "one"],
            "pool --object x": ["--object", "compare"],
            "pool --qemu /nonexistent": ["--qemu", "/nonexistent"],
            "pool plug": ["plug", "--help"]}.items():
        fails(*args.split(), phrases=phrases)


def test_interrupted_leaves_no_qemu():
    with scratch() as folder:
        slow = script(folder, "slow", "exec sleep 100")
        for signum in (signal.SIGINT, signal.SIGKILL):
            with running("pool", *QUICK, "--qemu", slow) as process:
                (child,) = wait_until(lambda: children(process.pid),
                                      what="the slow program")
                process.send_signal(signum)
                assert process.wait(20) == -signum, signum
                wait_until(lambda: is_gone(child),
                           what="the end of the program")


if __name__ == "__main__":
    harness.main()
