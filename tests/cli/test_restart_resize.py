#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""hostmemd is killed, and its memory had become larger or smaller."""

import contextlib
import json
import os

import harness
from harness import MIB, QmpError, raises
from keeper import Keeper, Memory, kill

SIZE = 8 * MIB
MOST = 4 * SIZE
ROOM = f"id=m0,size={SIZE},max-size={MOST}"
SEALED = f"memory-backend-memfd,{ROOM}"
OTHERS = [f"memory-backend-memfd,{ROOM},seal=off",
          f"memory-backend-ram,{ROOM},share=on,prealloc=on",
          f"memory-backend-shm,{ROOM},thp=off"]


def get(daemon, name):
    return daemon.qmp.execute("qom-get", path="m0", property=name)


def resize(daemon, size):
    daemon.qmp.execute("qom-set", path="m0", property="size", value=size)


def survives(line, size, file_length):
    with Keeper() as boss:
        with boss.run("-object", line) as daemon:
            boss.settle("m0")
            resize(daemon, size)
            with Memory.of(daemon, file_length) as memory:
                memory.fill(1, 0, size)
                identity = memory.identity()
            kill(daemon)
        with boss.run() as daemon:
            boss.settle("m0")
            assert get(daemon, "size") == size
            with Memory.of(daemon, file_length) as memory:
                assert memory.identity() == identity
                memory.check(1, 0, size)
            resize(daemon, MOST)
            with Memory.of(daemon, MOST) as memory:
                memory.check(1, 0, size)


def test_a_sealed_memfd():
    for size in 2 * SIZE, SIZE // 2:
        survives(SEALED, size, MOST)


def test_other_memory():
    for line in OTHERS:
        for size in 2 * SIZE, SIZE // 2:
            survives(line, size, size)


def test_a_file():
    with harness.scratch() as folder:
        survives(f"memory-backend-file,{ROOM},share=on,mem-path={folder}/m0",
                 2 * SIZE, 2 * SIZE)


def test_whoever_has_it_still_is_found():
    for line in SEALED, *OTHERS:
        with Keeper() as boss:
            with boss.run("-object", line) as daemon:
                boss.settle("m0")
                memory = Memory.of(daemon, MOST if line == SEALED else SIZE)
                kill(daemon)
            with boss.run() as daemon:
                with memory, raises(QmpError, "open or mapped"):
                    resize(daemon, SIZE // 2)
                assert get(daemon, "size") == SIZE
                resize(daemon, SIZE // 2)
                assert get(daemon, "size") == SIZE // 2


@contextlib.contextmanager
def as_if_killed_meanwhile(line, size, saved):
    """The next daemon: the size in the state is not the one of the file."""
    with Keeper() as boss:
        with boss.run("-object", line) as daemon:
            boss.settle("m0")
            resize(daemon, size)
            with Memory.of(daemon, MOST if line == SEALED else size) as memory:
                memory.fill(1, 0, size)
            boss.drain()
            state = json.loads(boss.state())
            kill(daemon)
        (entry,) = state["objects"]
        assert entry["options"]["size"] == size, entry
        entry["options"]["size"] = saved
        boss.replace_state(json.dumps(state))
        with boss.run() as daemon:
            yield daemon


def test_killed_while_it_shrank():
    """What the file has is what there is."""
    with as_if_killed_meanwhile(OTHERS[0], SIZE, 2 * SIZE) as daemon:
        assert get(daemon, "size") == SIZE
        assert "its file has become smaller" in daemon.stderr
        with Memory.of(daemon, SIZE) as memory:
            memory.check(1)
        resize(daemon, MOST)


def test_killed_while_it_grew():
    """Nobody was told of the new part: it goes, and is zeroes another time."""
    for line, length in (SEALED, MOST), *((other, SIZE) for other in OTHERS):
        with as_if_killed_meanwhile(line, 2 * SIZE, SIZE) as daemon:
            assert get(daemon, "size") == SIZE
            with Memory.of(daemon, length) as memory:
                memory.check(1, 0, SIZE)
                assert os.fstat(memory.fd).st_blocks * 512 <= SIZE
            resize(daemon, MOST)
            with Memory.of(daemon, MOST) as memory:
                memory.check(1, 0, SIZE)
                assert memory.is_zero(SIZE, 2 * SIZE)


def test_killed_while_it_grew_and_somebody_has_it():
    """It may be used; when nobody has it any more it is zeroes, too."""
    with Keeper() as boss:
        with boss.run("-object", OTHERS[0]) as daemon:
            boss.settle("m0")
            memory = Memory.of(daemon, SIZE)
            kill(daemon)
        with memory:
            os.truncate(memory.fd, 2 * SIZE)
            os.pwrite(memory.fd, b"x" * SIZE, SIZE)
            with boss.run() as daemon:
                assert os.fstat(memory.fd).st_size == 2 * SIZE
                memory.close()
                resize(daemon, 2 * SIZE)
                with Memory.of(daemon, 2 * SIZE) as again:
                    assert again.is_zero(SIZE, 2 * SIZE)


def test_a_device_has_the_region_it_had():
    region = 128 * MIB
    line = (f"memory-backend-memfd,id=m0,size={region},"
            f"max-size={2 * region},reserve=off")
    with Keeper() as boss:
        args = ("-object", line, "-device",
                "virtio-mem-pci,id=vm0,memdev=m0,requested-size=4M")

        def device(daemon):
            return daemon.qmp.execute("query-memory-devices")[0]["data"]

        with boss.run(*args) as daemon:
            boss.settle("m0")
            resize(daemon, 2 * region)
            before = device(daemon)
            kill(daemon)
        with boss.run() as daemon:
            assert get(daemon, "size") == 2 * region
            assert device(daemon) == before
            assert before["max-size"] == region, before


if __name__ == "__main__":
    harness.main()
