#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""hostmemd is killed or ends, and the next one goes on with its pools."""

import contextlib
import json
import os
import signal

import harness
from fdclient import FdClient, handed_over
from harness import MIB, QmpError, SlowHost, diag, skip, wait_until
from keeper import Keeper, kill, pattern

SEGMENT = 4 * MIB
POOL = f"memory-pool,id=p0,size={4 * SEGMENT},segment-size={SEGMENT}"
KINDS = {"sealed": POOL, "on a tmpfs": f"{POOL},seal=off"}


def pool_of(daemon, name="p0"):
    return next(pool for pool in daemon.qmp.execute("query-memory-pools")
                if pool["id"] == name)


def segments(daemon):
    """How many are ready, lent and dirty."""
    pool = pool_of(daemon)
    return tuple(pool[f"{state}-size"] // SEGMENT
                 for state in ("ready", "lent", "dirty"))


def await_segments(daemon, ready, lent=0):
    wait_until(lambda: segments(daemon) == (ready, lent, 0),
               what=f"{ready} segments")


def add(daemon, size, name="m0", **options):
    daemon.qmp.execute("object-add", {
        "qom-type": "memory-backend-ram", "id": name, "size": size,
        "share": True, "pool": "p0", **options})


def remove(daemon, name="m0"):
    daemon.qmp.execute("object-del", id=name)


def memdev(daemon, name="m0"):
    return next(m for m in daemon.qmp.execute("query-memdev")
                if m["id"] == name)


def restored(daemon):
    """{path: (status, reason)}"""
    return {one["path"]: (one["status"], one.get("reason"))
            for one in daemon.qmp.execute("query-restore")}


def fill(maps):
    for seed, memory in enumerate(maps):
        memory[:] = pattern(seed, len(memory))


def check(maps):
    for seed, memory in enumerate(maps):
        assert memory[:] == pattern(seed, len(memory)), seed


def is_zero(maps):
    return all(memory[:] == bytes(len(memory)) for memory in maps)


def take_all(daemon, name="all"):
    """Every byte of what is ready is zero."""
    ready = segments(daemon)[0]
    add(daemon, ready * SEGMENT, name)
    assert memdev(daemon, name)["pool-size"] == ready * SEGMENT
    with handed_over(daemon, name) as maps:
        assert len(maps) == ready and is_zero(maps)
    remove(daemon, name)


def inodes(daemon):
    """Of all segments, by what the daemon has open."""
    folder, found = f"/proc/{daemon.pid}/fd", set()
    for name in os.listdir(folder):
        with contextlib.suppress(OSError):
            status = os.stat(os.path.join(folder, name))
            if status.st_size == SEGMENT:
                found.add((status.st_dev, status.st_ino))
    return found


def terminate(daemon):
    os.kill(daemon.pid, signal.SIGTERM)
    assert daemon.wait() == 0


# what is there

def survives(line, end, size=2 * SEGMENT + MIB):
    lent = -(-size // SEGMENT)
    with Keeper() as boss:
        with boss.run("-object", line) as daemon:
            add(daemon, size)
            before = daemon.qmp.execute("query-memdev")
            files = inodes(daemon)
            assert segments(daemon) == (4 - lent, lent, 0)
            with handed_over(daemon) as maps:
                fill(maps)
            end(daemon)
        with boss.run() as daemon:
            assert restored(daemon) == {"/objects/p0": ("restored", None),
                                        "/objects/m0": ("restored", None)}
            assert segments(daemon) == (4 - lent, lent, 0)
            assert inodes(daemon) == files
            after = daemon.qmp.execute("query-memdev")
            for one in (*before, *after):
                one.pop("prealloc-method", None)
            assert before == after, (before, after)
            with handed_over(daemon) as maps:
                check(maps)
            take_all(daemon)
            remove(daemon)
            await_segments(daemon, 4)
            take_all(daemon)
            assert "warning" not in daemon.stderr, daemon.stderr
            assert "not used" not in daemon.stderr, daemon.stderr


def test_killed():
    for name, line in KINDS.items():
        diag(name)
        survives(line, kill)


def test_ends():
    for name, line in KINDS.items():
        diag(name)
        survives(line, terminate)


def test_huge_pages():
    with harness.need_huge_pages(4 * SEGMENT // (2 * MIB)):
        survives(f"{POOL},hugetlb=on,hugetlbsize=2M", kill, 3 * SEGMENT)


def test_rest_that_was_fresh():
    with Keeper() as boss:
        with boss.run("-object", POOL) as daemon:
            add(daemon, 6 * SEGMENT)
            with handed_over(daemon) as maps:
                assert len(maps) == 5
                fill(maps)
            kill(daemon)
        with boss.run() as daemon:
            assert memdev(daemon)["pool-size"] == 4 * SEGMENT
            assert memdev(daemon)["populated-size"] == 6 * SEGMENT
            with handed_over(daemon) as maps:
                check(maps)
            remove(daemon)
            await_segments(daemon, 4)
        boss.settle(*4 * ["p0"])


def test_lent_memory_that_is_locked():
    """By the backend alone, and anew: a lock goes with its process."""
    for lock in "on", "on-fault":
        with Keeper() as boss:
            with boss.run("-object", POOL) as daemon:
                try:
                    add(daemon, 6 * MIB, **{"mem-lock": lock})
                except QmpError as error:
                    if "RLIMIT_MEMLOCK" in str(error):
                        skip(str(error))
                    raise
                assert memdev(daemon)["locked-size"] == 6 * MIB
                kill(daemon)
            with boss.run() as daemon:
                assert memdev(daemon)["locked-size"] == 6 * MIB
                assert memdev(daemon)["mem-lock"] == lock
                await_segments(daemon, 2, 2)


def test_changed_size():
    with Keeper() as boss:
        with boss.run("-object", POOL) as daemon:
            add(daemon, 3 * SEGMENT)
            daemon.qmp.execute("qom-set", path="p0", property="size",
                               value=2 * SEGMENT)
            assert segments(daemon) == (0, 3, 0)
            kill(daemon)
        with boss.run() as daemon:
            assert segments(daemon) == (0, 3, 0)
            assert pool_of(daemon)["size"] == 2 * SEGMENT
            remove(daemon)
            await_segments(daemon, 2)
            daemon.qmp.execute("qom-set", path="p0", property="size",
                               value=6 * SEGMENT)
            await_segments(daemon, 6)
            kill(daemon)
        with boss.run() as daemon:
            await_segments(daemon, 6)
            take_all(daemon)


def test_pool_that_is_gone_is_given_up():
    with Keeper() as boss, boss.run("-object", POOL) as daemon:
        boss.settle(*4 * ["p0"])
        remove(daemon, "p0")
        boss.settle()


# what was going on

@harness.time_limit(120)
def test_killed_while_it_fills():
    """What is ready stays, and the rest comes."""
    harness.need_memory(512 * MIB)
    line = ("memory-pool,id=p0,size=256M,segment-size=4M,prealloc-async=on,"
            "prealloc-threads=1,thp=off")
    with Keeper() as boss, SlowHost(5) as slow:
        with boss.run("-object", line, cgroup=slow) as daemon:
            assert segments(daemon)[0] < 64
            kill(daemon)
        with boss.run(cgroup=slow) as daemon:
            assert segments(daemon)[0] < 64
            add(daemon, SEGMENT)
            kill(daemon)
        with boss.run() as daemon:
            lent = memdev(daemon)["pool-size"] // SEGMENT
            await_segments(daemon, 64 - lent, lent)
            take_all(daemon)


def test_killed_while_it_zeroes():
    """What may be dirty is zeroed again before it is ready.

    Zeroing waits for a moment, as somebody still has what came back.
    """
    with Keeper() as boss:
        with boss.run("-object", f"{POOL},zero-threads=1") as daemon:
            add(daemon, 4 * SEGMENT)
            with handed_over(daemon) as maps:
                fill(maps)
                remove(daemon)
                diag(f"killed with {segments(daemon)}")
                kill(daemon)
        with boss.run() as daemon:
            await_segments(daemon, 4)
            take_all(daemon)
            assert "not used again" not in daemon.stderr


# what was stored is older than the truth

@contextlib.contextmanager
def used_behind_the_state(boss):
    """What it says is ready is lent, and written to: it, and by whom."""
    with boss.run("-object", POOL) as daemon:
        boss.drain()
        older = boss.kept_after(len(boss.history))
        add(daemon, 2 * SEGMENT)
        with handed_over(daemon) as maps:
            fill(maps)
            kill(daemon)
            yield older, maps


def test_used_since_it_was_stored():
    with Keeper() as boss:
        with used_behind_the_state(boss) as (older, _):
            pass
        with boss.run(stored=older) as daemon:
            await_segments(daemon, 4)
            take_all(daemon)
            assert "not used again" not in daemon.stderr


def test_still_used_since_it_was_stored():
    """A guest that is still there keeps what it has, alone."""
    with Keeper() as boss, used_behind_the_state(boss) as (older, maps):
        with boss.run(stored=older) as daemon:
            await_segments(daemon, 4)
            take_all(daemon)
            check(maps)
            assert daemon.stderr.count("another process still has it") == 2


def test_state_that_lies():
    """It calls ready what is lent."""
    with Keeper() as boss:
        with boss.run("-object", POOL) as daemon:
            add(daemon, 2 * SEGMENT)
            with handed_over(daemon) as maps:
                fill(maps)
            kill(daemon)
        boss.drain()
        state = json.loads(boss.state())
        state["objects"] = [one for one in state["objects"]
                            if one["path"] == "/objects/p0"]
        (pool,) = state["objects"]
        for segment in pool["state"]["segments"]:
            segment["state"] = "ready"
        boss.replace_state(json.dumps(state))
        with boss.run() as daemon:
            await_segments(daemon, 4)
            take_all(daemon)


# what comes back wrong

def begin(boss, *more):
    """m0 has two segments, with a pattern."""
    with boss.run("-object", POOL, *more) as daemon:
        add(daemon, 2 * SEGMENT)
        with handed_over(daemon) as maps:
            fill(maps)
        kill(daemon)
    boss.drain()
    state = json.loads(boss.state())
    pool = next(one for one in state["objects"] if one["path"] == "/objects/p0")
    return state, {
        kind: [fd["name"] for fd, one in zip(pool["descriptors"],
                                             pool["state"]["segments"])
               if one["state"] == kind] for kind in ("ready", "lent")}


def test_ready_segment_that_is_missing():
    with Keeper() as boss:
        _, names = begin(boss)
        boss.replace(names["ready"][0], -1)
        with boss.run() as daemon:
            await_segments(daemon, 2, 2)
            with handed_over(daemon) as maps:
                check(maps)
            take_all(daemon)
            assert "a segment of 4 MiB that was kept is not used: descriptor" \
                in daemon.stderr, daemon.stderr


def test_lent_segment_that_is_missing():
    with Keeper() as boss:
        _, names = begin(boss)
        boss.replace(names["lent"][1], -1)
        with boss.run() as daemon:
            status, reason = restored(daemon)["/objects/m0"]
            assert status == "failed", (status, reason)
            assert "segment 1 of the 2 that its pool has lent is missing" \
                in reason, reason
            await_segments(daemon, 4)
            take_all(daemon)


def test_segment_that_is_another():
    with Keeper() as boss:
        _, names = begin(boss)
        other = os.memfd_create("other")
        os.truncate(other, SEGMENT)
        boss.replace(names["ready"][1], other)
        with boss.run() as daemon:
            await_segments(daemon, 2, 2)
            assert "is another file" in daemon.stderr, daemon.stderr
            take_all(daemon)


def test_segment_that_was_truncated():
    """Whoever had it could do that, as it is not sealed."""
    with Keeper() as boss:
        with boss.run("-object", f"{POOL},seal=off") as daemon:
            add(daemon, SEGMENT)
            with FdClient(daemon.socket) as client:
                _, [fd] = client.execute("get-memory-fd", {"id": "m0"})
            os.ftruncate(fd, 4096)
            os.close(fd)
            kill(daemon)
        with boss.run() as daemon:
            status, reason = restored(daemon)["/objects/m0"]
            assert status == "failed" and "missing" in reason, reason
            assert "4096 bytes long" in daemon.stderr, daemon.stderr
            await_segments(daemon, 4)
            take_all(daemon)


def test_pool_that_does_not_come_back():
    with Keeper() as boss:
        state, _ = begin(boss)
        pool = next(one for one in state["objects"]
                    if one["path"] == "/objects/p0")
        pool["options"]["segment-size"] = SEGMENT + 1
        boss.replace_state(json.dumps(state))
        with boss.run("-object", "memory-backend-memfd,id=x,size=1M") as daemon:
            found = restored(daemon)
            assert found["/objects/p0"][0] == "failed", found
            assert found["/objects/m0"] == (
                "failed", "'/objects/p0', which it needs, was not restored")


def test_states_of_segments_that_are_nonsense():
    """All that can be read of them is that they are there."""
    for wrong in None, {}, {"segments": 1}, {"segments": [1, [], None]}, \
            {"segments": [{"state": "lent", "borrower": 1, "place": -1,
                           "huge": -1, "nodes": "x"}] * 4}:
        with Keeper() as boss:
            state, _ = begin(boss)
            for one in state["objects"]:
                if one["path"] == "/objects/p0":
                    one["state"] = wrong
            boss.replace_state(json.dumps(state))
            with boss.run() as daemon:
                status, reason = restored(daemon)["/objects/m0"]
                assert status == "failed", (status, reason)
                await_segments(daemon, 4)
                take_all(daemon)


def test_line_that_fails_costs_nothing():
    with Keeper() as boss:
        begin(boss)
        with boss.run("-object", POOL, "-object", "memory-backend-memfd,id=x,"
                      "size=1M,policy=bind", qmp=False) as daemon:
            assert daemon.wait() == 1
        boss.settle(*4 * ["p0"])
        with boss.run("-object", POOL) as daemon:
            with handed_over(daemon) as maps:
                check(maps)
            take_all(daemon)


if __name__ == "__main__":
    harness.main()
