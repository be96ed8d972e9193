# SPDX-License-Identifier: LGPL-2.1-or-later
"""hostmem-bench: what it measures, prints and leaves out; never how fast."""

import contextlib
import csv
import io
import json
import os
import pathlib
import pty
import signal
import subprocess
import xml.etree.ElementTree

import harness
from expect import nothing_left
from harness import (MIB, MemoryCgroup, die_with_parent, need_huge_pages,
                     need_program, program, scratch, time_limit, wait_until)

QUICK = ["--size", "4M", "-n", "1"]
METHODS = {"Read", "Write", "Read/Write", "POPULATE_READ", "POPULATE_WRITE",
           "FALLOCATE", "FALLOCATE+Read", "FALLOCATE+Write",
           "FALLOCATE+Read/Write", "FALLOCATE+POPULATE_READ",
           "FALLOCATE+POPULATE_WRITE"}
KINDS = {"anon", "anon THP", "memfd", "memfd hugetlb", "tmpfs",
         "tmpfs huge=always", "file", "hugetlbfs"}
LINES = ["memory-backend-ram,share=on", "memory-backend-memfd",
         "memory-backend-memfd,seal=off",
         "memory-backend-file,share=on in /dev/shm",
         "memory-backend-file,share=on in /var/tmp",
         "memory-backend-memfd,hugetlb=on", "memory-backend-ram"]
RAM = "memory-backend-ram,id=m0,size=2M,prealloc=on"


def run(*args, **options):
    return subprocess.run(
        [program("hostmem-bench"), *map(str, args)], capture_output=True,
        stdin=subprocess.DEVNULL, text=True, timeout=120, **options)


def succeeds(*args, **options):
    """Standard output of a run without a complaint."""
    result = run(*args, **options)
    assert result.returncode == 0, (result.returncode, result.stderr)
    assert result.stderr == "", result.stderr
    return result.stdout


def fails(*args, phrases):
    """It must fail with one line that holds every phrase."""
    result = run(*args)
    assert result.returncode == 1, (args, result)
    assert result.stdout == "", (args, result.stdout)
    assert result.stderr.startswith("hostmem-bench: "), (args, result.stderr)
    assert result.stderr.count("\n") == 1, (args, result.stderr)
    for phrase in phrases:
        assert phrase in result.stderr, f"{phrase!r} not in {result.stderr!r}"


def little_kept():
    """An environment: AddressSanitizer keeps up to 256 MiB of what is freed,
    for which a small cgroup has no room."""
    options = os.environ.get("ASAN_OPTIONS", "")
    return {**os.environ, "ASAN_OPTIONS": f"{options}:quarantine_size_mb=4"}


@contextlib.contextmanager
def running(*args):
    """It runs; at the end it does not."""
    with subprocess.Popen(
            [program("hostmem-bench"), *map(str, args)],
            stdout=subprocess.DEVNULL, preexec_fn=die_with_parent) as process:
        try:
            yield process
        finally:
            process.kill()


def report(*args, **options):
    return json.loads(succeeds(*args, "--json", **options))


def check_results(results, number):
    """Each has the @number, above 0, or the reason why not."""
    assert results
    for result in results:
        if result["skipped"] is None:
            assert result[number] > 0, result
        else:
            assert result[number] is None and result["skipped"], result


def script(folder, name, text):
    path = pathlib.Path(folder, name)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


# the command line

def test_help_names_every_option():
    text = succeeds("--help")
    for option in ("--threads", "--runs", "--size", "--dir", "--full",
                   "--json", "--csv", "--plot", "--quiet", "--object",
                   "--qemu", "--hostmemd", "--version", "--help", "compare",
                   "unplug", "pool"):
        assert option in text, option
    assert text.isascii() and max(map(len, text.splitlines())) < 80, text


def test_version():
    assert succeeds("--version").startswith("hostmem-bench version ")


def test_bad_options():
    for args, phrases in {
            "--bogus": ["--bogus"],
            "bogus": ["bogus", "--help"],
            "compare extra": ["extra", "--help"],
            "plug unplug": ["unplug", "--help"],
            "--runs": ["--runs"],
            "-n 0": ["--runs", "'0'", "1 to 100"],
            "-n 101": ["--runs", "'101'"],
            "-n many": ["--runs", "'many'"],
            "--size 0": ["--size", "'0'"],
            "--size 1X": ["--size", "'1X'"],
            "--size 4MM": ["--size", "'4MM'"],
            "--size -4M": ["--size", "'-4M'"],
            "--size 3M": ["--size", "2 MiB"],
            "--size 2T": ["--size", "1 TiB"],
            "--size 99999999999999999999": ["--size"],
            "--size 99999999999T": ["--size"],
            "--threads 0": ["--threads", "'0'"],
            "--threads 1,,2": ["--threads", "''"],
            "--threads 1,x": ["--threads", "'x'"],
            "compare --threads 1,2": ["--threads", "one"],
            "plug --threads 1,2": ["--threads", "one"],
            "--json --csv": ["--json", "--csv"],
            "--dir /nonexistent": ["--dir", "/nonexistent"],
            "--plot /nonexistent/x.svg": ["--plot", "/nonexistent"],
            "--plot /tmp": ["--plot", "/tmp is a directory"],
            "--object x": ["--object", "compare"],
            "plug --object x": ["--object", "compare"],
            "unplug --hostmemd x": ["--hostmemd", "compare"],
            "--qemu true": ["--qemu", "plug", "snapshot"],
            "plug --qemu /nonexistent": ["--qemu", "/nonexistent"],
            "compare --object {}": ["--object", "JSON"],
            "compare --qemu /nonexistent": ["--qemu", "/nonexistent"],
            "compare --qemu true --hostmemd /x": ["--hostmemd", "/x"],
    }.items():
        fails(*args.split(), phrases=phrases)


def test_output_that_cannot_be_written():
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [program("hostmem-bench"), "--size", "2M", "-n", "1"],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert result.returncode == 1, result
    assert "No space left on device" in result.stderr, result.stderr


def test_plot_that_cannot_be_written():
    """What was measured is not lost.  The name is too long for a file."""
    with scratch() as folder:
        result = subprocess.run(
            [program("hostmem-bench"), "--size", "2M", "-n", "1",
             "--plot", folder / ("x" * 300)],
            capture_output=True, text=True, timeout=60)
    assert result.returncode == 1, result
    assert result.stderr.startswith("hostmem-bench: --plot: "), result.stderr
    assert "POPULATE_WRITE" in result.stdout, result.stdout


# the grid

def test_each_result_has_times_or_a_reason():
    results = report(*QUICK)["results"]
    check_results(results, "best_ms")
    for result in results:
        if result["skipped"] is None:
            assert result["median_ms"] >= result["best_ms"], result
            assert result["runs"] == 1, result


def test_grid_has_each_kind_both_ways():
    results = report(*QUICK)["results"]
    for size in (2 * MIB, 4 * MIB):
        for sharing in ("private", "shared"):
            kinds = {result["memory"] for result in results
                     if (result["size"], result["sharing"]) == (size, sharing)}
            assert kinds >= KINDS - {"tmpfs huge=always"}, (sharing, kinds)
    assert KINDS <= {result["memory"] for result in results}


def test_full_grid_has_each_method():
    results = report(*QUICK, "--full")["results"]
    methods = {result["method"] for result in results
               if result["memory"] == "memfd" and result["sharing"] == "shared"}
    assert methods >= METHODS, methods


def test_hostmem_chooses_for_each_line():
    results = [result for result in report(*QUICK)["results"]
               if result["part"] == "4 MiB, chosen by hostmem"]
    names = {"memory-backend-" + result["memory"] for result in results}
    assert names == set(LINES), names
    for result in results:
        assert result["method"] or result["skipped"], result


def test_large_memory_is_measured_with_each_thread_count():
    results = report(*QUICK, "--threads", "1,3")["results"]
    assert {result["threads"] for result in results
            if result["size"] == 4 * MIB and not result["skipped"]} == {1, 3}
    assert {result["threads"] for result in results
            if result["size"] == 2 * MIB and not result["skipped"]} == {1}


def test_large_results_are_shares_of_the_roofs():
    found = report(*QUICK)
    assert set(found["roofs"]) == {"memset", "fault"}, found["roofs"]
    measured = [result for result in found["results"]
                if result["size"] == 4 * MIB and not result["skipped"]]
    for result in measured:
        for roof in ("memset", "fault"):
            share = result["gib_per_s"] / found["roofs"][roof]["gib_per_s"]
            percent = result[f"{roof}_percent"]
            assert abs(percent - 100 * share) <= 0.1 + percent / 10, result


def test_facts_of_the_host():
    facts = report(*QUICK)["facts"]
    for key in ("hostmem", "cpu", "cpus", "memory", "kernel", "thp",
                "shmem_thp", "huge_pages", "cgroup_limit", "directory"):
        assert facts[key], key
    assert os.uname().release in facts["kernel"]


def test_cpus_that_may_be_used():
    """As many threads as CPUs come of their own accord."""
    some = min(os.sched_getaffinity(0))
    result = subprocess.run(
        ["taskset", "--cpu-list", str(some), program("hostmem-bench"),
         "--json", *QUICK], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result
    found = json.loads(result.stdout)
    if os.cpu_count() > 1:
        assert ", 1 of them for us" in found["facts"]["cpus"], found["facts"]
    threads = {result["threads"] for result in found["results"]
               if not result["skipped"]}
    assert threads == {1}, threads


def cells(results):
    """Where they are about, in order; methods have no lines of their own where
    all of it was skipped, which another run may not do."""
    return list(dict.fromkeys((result["part"], result["memory"],
                               result["sharing"]) for result in results))


def test_csv_is_the_results():
    rows = list(csv.DictReader(io.StringIO(succeeds(*QUICK, "--csv"))))
    results = report(*QUICK)["results"]
    numbers = {key for result in results for key, value in result.items()
               if isinstance(value, (int, float))}
    assert list(rows[0]) == list(results[0])
    assert cells(rows) == cells(results)
    assert {"size", "threads", "best_ms"} <= numbers, numbers
    for row in rows:
        assert bool(row["skipped"]) != bool(row["best_ms"]), row
        assert all(float(row[key]) >= 0 for key in numbers if row[key]), row
        if row["best_ms"]:
            assert float(row["best_ms"]) <= float(row["median_ms"]), row


def test_text_has_every_part():
    text = succeeds(*QUICK)
    for line in ("2 MiB, private", "2 MiB, shared", "4 MiB, private",
                 "4 MiB, shared", "4 MiB, chosen by hostmem"):
        assert f"\n{line}\n" in text, line
    assert "\nroof " in text and "POPULATE_WRITE" in text, text
    assert all(line == line.rstrip() for line in text.splitlines())


def test_plot_is_svg():
    with scratch() as folder:
        plot = folder / "plot.svg"
        succeeds(*QUICK, "--plot", plot)
        root = xml.etree.ElementTree.parse(plot).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg", root.tag
        texts = {element.text for element in root.iter()}
        assert {"private", "shared", "anon THP", "POPULATE_WRITE",
                "chosen by hostmem", "fault", "memset"} <= texts, texts
        names = [element for element in root.iter()
                 if element.get("class") == "roof middle"]
        rows = {name.get("y") for name in names}
        assert len(names) == 4 and len(rows) == 2, rows
        height = float(root.get("height"))
        assert all(float(row) < height for row in rows), (rows, height)


def test_huge_pages_are_measured_when_there_are_some():
    with need_huge_pages(8):
        results = report(*QUICK)["results"]
    for memory in ("memfd hugetlb", "hugetlbfs", "memfd,hugetlb=on"):
        assert any(result["best_ms"] for result in results
                   if result["memory"] == memory), memory


def test_without_huge_pages_it_says_how_to_get_them():
    with need_huge_pages(0):
        reasons = [result["skipped"] for result in report(*QUICK)["results"]
                   if result["memory"] == "memfd hugetlb"]
    for reason in reasons:
        assert "needs" in reason and "vm.nr_hugepages=" in reason, reason


def test_size_is_cut_to_what_the_host_has():
    with MemoryCgroup(96 * MIB) as cgroup:
        found = report("--size", "1G", "-n", "1", preexec_fn=cgroup.join,
                       env=little_kept())
        assert cgroup.oom_kills() == 0
    assert any("to spare" in note for note in found["notes"]), found["notes"]
    assert max(result["size"] for result in found["results"]) < 96 * MIB
    check_results(found["results"], "best_ms")


def test_nothing_is_left_on_disk():
    with scratch() as folder, nothing_left(folder):
        succeeds(*QUICK, "--dir", folder)


def cpu_ticks(pid):
    """What a process has used so far, in user and kernel mode."""
    stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    user, system = stat.rpartition(")")[2].split()[11:13]
    return int(user) + int(system)


def test_interrupted_grid_leaves_nothing():
    with scratch() as folder, nothing_left(folder), running(
            "--size", "16M", "-n", "100", "--full", "--dir", folder) as process:
        wait_until(lambda: cpu_ticks(process.pid) > 20, what="measuring")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == -signal.SIGINT


# progress

def terminal_output(*args):
    """What it writes to standard error when that is a terminal."""
    ours, theirs = pty.openpty()
    with open(ours, "rb", buffering=0) as terminal:
        process = subprocess.Popen(
            [program("hostmem-bench"), *args], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=theirs,
            preexec_fn=die_with_parent, env={**os.environ, "TERM": "vt100"})
        os.close(theirs)
        output = b""
        try:
            while part := terminal.read(4096):
                output += part
        except OSError:  # how the end of a pseudo terminal is said
            pass
        assert process.wait(20) == 0
    return output.decode()


def test_progress_on_a_terminal():
    output = terminal_output(*QUICK)
    assert "[1/" in output and "POPULATE_WRITE" in output, output
    assert output.endswith("\r\x1b[K"), output[-80:]


def test_quiet_shows_no_progress():
    assert terminal_output(*QUICK, "--quiet") == ""


# the comparison

def compare(*args):
    need_program("qemu-system-x86_64")
    return report("compare", *QUICK, *args)


@time_limit(120)
def test_comparison_has_each_line():
    found = compare()
    check_results(found["results"], "ratio_median")
    qemu, kernel = (
        [result["line"] for result in found["results"]
         if opponent in result["against"]] for opponent in ("QEMU", "kernel"))
    assert qemu == ["without memory", *LINES], qemu
    assert [line.partition(": ")[2] for line in kernel] == [
        "memory-backend-memfd,seal=off", "memory-backend-memfd,hugetlb=on",
        "memory-backend-ram"], kernel


def test_comparison_of_own_lines():
    with scratch() as folder:
        file = f"memory-backend-file,id=m0,size=2M,share=on,mem-path={folder}/x"
        plot = folder / "plot.svg"
        found = compare("-n", "2", "-o", RAM, "-o", file, "--plot", plot)
        xml.etree.ElementTree.parse(plot)
        assert os.listdir(folder) == ["plot.svg"], os.listdir(folder)
    assert [result["line"] for result in found["results"]] == [
        "without memory", RAM, file]
    for result in found["results"]:
        assert result["skipped"] is None and result["pairs"] == 2, result
        assert (result["ratio_least"] <= result["ratio_median"]
                <= result["ratio_most"]), result


def test_comparison_keeps_a_file_that_was_there():
    with scratch() as folder:
        path = folder / "kept"
        path.write_bytes(bytes(2 * MIB))
        found = compare("-o", "memory-backend-file,id=m0,size=2M,share=on,"
                        f"mem-path={path}")
        assert found["results"][1]["skipped"] is None, found["results"][1]
        assert path.exists()


def test_refused_lines_have_the_reason():
    wrong = "memory-backend-ram,id=m0,size=0"
    result = compare("-o", wrong)["results"][1]
    assert result["line"] == wrong, result
    assert "hostmemd" in result["skipped"], result
    assert "exit status 1" in result["skipped"], result


def test_program_that_fails_is_named():
    with scratch() as folder:
        broken = script(folder, "broken", "echo no luck today >&2; exit 3")
        for result in report("compare", *QUICK, "--qemu", broken,
                             "-o", RAM)["results"]:
            for phrase in (str(broken), "exit status 3", "no luck today"):
                assert phrase in result["skipped"], result


def children(pid):
    path = pathlib.Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()]


@contextlib.contextmanager
def slow_comparison(folder):
    """A comparison that waits for a program, which made its file."""
    file = folder / "file"
    slow = script(folder, "slow", f"""
        case "$*" in *file*) touch {file}; exec sleep 100;; esac""")
    with running("compare", *QUICK, "--qemu", "true", "--hostmemd", slow, "-o",
                 "memory-backend-file,id=m0,size=2M,share=on,"
                 f"mem-path={file}") as process:
        wait_until(file.exists, what="the slow program")
        (child,) = children(process.pid)
        yield process, child


def is_gone(pid):
    return not os.path.exists(f"/proc/{pid}")


def test_interrupted_comparison_leaves_nothing():
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP,
                   signal.SIGQUIT):
        with scratch() as folder, slow_comparison(folder) as (process, child):
            process.send_signal(signum)
            assert process.wait(20) == -signum, signum
            assert is_gone(child), signum
            assert os.listdir(folder) == ["slow"], os.listdir(folder)


def test_killed_comparison_takes_its_program_along():
    with scratch() as folder, slow_comparison(folder) as (process, child):
        process.kill()
        process.wait(20)
        wait_until(lambda: is_gone(child), what="the end of the program")


# virtio-mem

MEMORIES = {"ram", "memfd,seal=off", "memfd", "memfd,hugetlb=on"}


def measured(found, part):
    """The results of a part that were not skipped; there are some."""
    results = [result for result in found["results"]
               if part in result["part"] and not result["skipped"]]
    assert results, (part, found)
    return results


def test_plug_and_unplug_have_each_memory_and_a_time_or_a_reason():
    for mode in ("plug", "unplug"):
        found = report(mode, *QUICK)
        check_results(found["results"], "our_median_ms")
        for prealloc in ("prealloc=on", "prealloc=off"):
            results = [result for result in found["results"]
                       if result["part"].startswith(f"{mode}, ")
                       and f", {prealloc}, " in result["part"]]
            assert {result["memory"] for result in results} == MEMORIES
        for result in measured(found, "requests of 2 MiB"):
            assert result["size"] == 4 * MIB, result
            assert result["requests"] == 2, result
            assert result["our_requests_per_s"] > 0, result


def test_plug_and_unplug_ask_qemu_the_same():
    need_program("qemu-system-x86_64")
    for mode in ("plug", "unplug"):
        found = report(mode, *QUICK, "-n", "2")
        for result in measured(found, "requests of 2 MiB, prealloc=on"):
            assert result["against"] == "QEMU", result
            # The protocol's part is taken off; as little can be left.
            assert result["their_worst_ms"] >= result["their_best_ms"] >= 0
            assert result["protocol_ms"] > 0, result
            assert result["pairs"] == 2, result


def test_plug_has_a_roof_where_it_populates():
    assert set(report("plug", *QUICK)["roofs"]) == {"fault"}
    assert not report("unplug", *QUICK)["roofs"]


def test_unplug_of_scattered_blocks_has_two_opponents():
    found = report("unplug", *QUICK)
    results = measured(found, "every second 2 MiB by UNPLUG_ALL")
    assert {result["against"] for result in results} == {
        "QEMU", "a call a block"}
    by_list = measured(found, "every second 2 MiB by a list")
    assert {result["against"] for result in by_list} == {"a call a block"}
    results += by_list
    for result in results:
        assert (result["size"], result["requests"]) == (2 * MIB, 1), result


def test_large_requests_want_room():
    results = [result for result in report("plug", *QUICK)["results"]
               if "requests of 128 MiB" in result["part"]]
    assert len(results) == 2 * len(MEMORIES)
    for result in results:
        assert result["skipped"] == "4 MiB is less than 128 MiB", result


def test_requests_of_128_mib():
    harness.need_memory(1 << 30)
    found = report("plug", "--size", "128M", "-n", "1")
    for result in measured(found, "requests of 128 MiB"):
        assert (result["size"], result["requests"]) == (128 * MIB, 1), result


def test_plug_on_huge_pages():
    with need_huge_pages(4):
        for mode in ("plug", "unplug"):
            results = measured(report(mode, *QUICK), "requests of 2 MiB")
            assert any(result["memory"] == "memfd,hugetlb=on"
                       for result in results), results


def test_plug_without_qemu_measures_ours():
    with scratch() as folder:
        broken = script(folder, "broken", "echo no luck today >&2; exit 3")
        found = report("plug", *QUICK, "--qemu", broken)
        assert any("no luck today" in note for note in found["notes"])
        for result in measured(found, "requests of 2 MiB"):
            assert result["our_median_ms"] > 0, result
            assert result["their_median_ms"] is None, result


def test_plug_as_text_csv_and_plot():
    with scratch() as folder:
        plot = folder / "plot.svg"
        text = succeeds("unplug", *QUICK, "--plot", plot)
        assert "\nunplug, requests of 2 MiB, prealloc=on, against QEMU\n" in text, text
        texts = {element.text for element in
                 xml.etree.ElementTree.parse(plot).getroot().iter()}
        assert {"prealloc=on", "memfd,seal=off"} <= texts, texts
    rows = list(csv.DictReader(io.StringIO(succeeds("plug", *QUICK, "--csv"))))
    assert {row["memory"] for row in rows} == MEMORIES


def test_interrupted_plug_leaves_no_qemu():
    with scratch() as folder:
        slow = script(folder, "slow", "exec sleep 100")
        for signum in (signal.SIGINT, signal.SIGKILL):
            with running("plug", *QUICK, "--qemu", slow) as process:
                (child,) = wait_until(lambda: children(process.pid),
                                      what="the slow program")
                process.send_signal(signum)
                assert process.wait(20) == -signum, signum
                wait_until(lambda: is_gone(child),
                           what="the end of the program")


if __name__ == "__main__":
    harness.main()
