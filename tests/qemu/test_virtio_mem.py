#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""QEMU's virtio-mem and ours answer the same to the same requests.

What is asked next is chosen at random, by what QEMU has answered so far.  The
seed is printed; HOSTMEM_SEED=N repeats a sequence.
"""

import collections
import contextlib
import os
import random
import struct
import subprocess

import harness
from harness import MIB, QmpError
from qtest import Qemu
from virtio_pci import VirtioPci

GIB = 1024 * MIB
BASE = 5 * GIB  # where the device's memory begins
RAM = 64 * MIB
MAXMEM = 16 * GIB
SLOT = 4

PLUG, UNPLUG, UNPLUG_ALL, STATE = "plug", "unplug", "unplug-all", "state"
KINDS = (PLUG, UNPLUG, UNPLUG_ALL, STATE)
ANSWERS = ("ack", "nack", "busy", "error")
STATES = ("plugged", "unplugged", "mixed")
UNPLUGGED_INACCESSIBLE = 1 << 1
AT_ONCE = 64  # requests that a ring has room for

Request = collections.namedtuple("Request", "kind addr nb_blocks")
Sizes = collections.namedtuple("Sizes", "usable plugged requested")


class Setup:
    """A device: its memory, and what both programs get to make it."""

    def __init__(self, backend, blocks, block_size):
        self.block_size = block_size
        self.size = blocks * block_size
        self.object = f"{backend},id=m0,size={self.size},reserve=off"
        self.device = (f"id=vm0,memdev=m0,memaddr={BASE},requested-size=0,"
                       f"block-size={block_size},unplugged-inaccessible=on")


def decode(request, reply):
    """Words for the numbers of a reply; only some have a state."""
    answer, state = reply
    known = request.kind == STATE and ANSWERS[answer] == "ack"
    return ANSWERS[answer], STATES[state] if known else None


# the devices

def set_requested_size(qmp, size):
    """Whether it was taken."""
    try:
        qmp.execute("qom-set", path="/machine/peripheral/vm0",
                    property="requested-size", value=size)
    except QmpError:
        return False
    return True


class Theirs:
    """QEMU's device, through the registers and the ring of a guest."""

    def __init__(self, setup):
        self._qemu = Qemu(
            "-object", setup.object,
            "-device", f"virtio-mem-pci,addr={SLOT},{setup.device}",
            ram_size=RAM, maxmem=MAXMEM)

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._qemu)
            self._device = VirtioPci(self._qemu, SLOT, UNPLUGGED_INACCESSIBLE)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error):
        return self._stack.__exit__(*error)

    def resize(self, size):
        return set_requested_size(self._qemu.qmp, size)

    def sizes(self):
        return Sizes(*(self._device.config(at, 8) for at in (32, 40, 48)))

    def answers(self, requests):
        """(answer, state or None) of each; many are made available at once."""
        answers = []
        while requests:
            now = requests[:AT_ONCE]
            requests = requests[len(now):]
            replies = self._device.submit(
                [struct.pack("<H6xQH6x", KINDS.index(kind), addr, nb_blocks)
                 for kind, addr, nb_blocks in now], 10)
            answers += [decode(request, struct.unpack("<H6xH", reply))
                        for request, reply in zip(now, replies, strict=True)]
        return answers


class Mmio:
    """A device of ours behind virtio-mmio: see virtio-mem-mmio.c."""

    def __init__(self, setup):
        self._command = [
            harness.build_folder() / "tests" / "qemu" / "virtio-mem-mmio",
            setup.object, str(setup.block_size), str(BASE)]
        self._process = None

    def __enter__(self):
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, preexec_fn=harness.die_with_parent)
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()

    def _ask(self, *lines, answers=1):
        """The numbers in each line that comes back."""
        self._process.stdin.write("\n".join(lines) + "\n")
        self._process.stdin.flush()
        return [tuple(map(int, self._process.stdout.readline().split()))
                for _ in range(answers)]

    def resize(self, size):
        return self._ask(f"resize {size}") == [(1,)]

    def sizes(self):
        return Sizes(*self._ask("sizes")[0])

    def answers(self, requests):
        answers = []
        while requests:
            now = requests[:AT_ONCE]
            requests = requests[len(now):]
            lines = [f"{KINDS.index(kind)} {addr} {nb_blocks}"
                     for kind, addr, nb_blocks in now]
            answers += map(decode, now, self._ask(f"ask {len(now)}", *lines,
                                                  answers=len(now)))
        return answers


def signed(number):
    """64 bits as an integer of QMP."""
    return number - (number >> 63 << 64)


class Qmp:
    """The device of a hostmemd, through its QMP."""

    def __init__(self, setup):
        self._daemon = harness.Hostmemd(
            "-object", setup.object, "-device", f"virtio-mem,{setup.device}")

    def __enter__(self):
        self._daemon.__enter__()
        return self

    def __exit__(self, *error):
        return self._daemon.__exit__(*error)

    def resize(self, size):
        return set_requested_size(self._daemon.qmp, size)

    def _get(self, name):
        return self._daemon.qmp.execute(
            "qom-get", path="/machine/peripheral/vm0", property=name)

    def sizes(self):
        return Sizes(*map(self._get, ("usable-region-size", "size",
                                      "requested-size")))

    def answers(self, requests):
        qmp = self._daemon.qmp
        started = [qmp.start("virtio-mem-request", id="vm0", type=kind,
                             addr=signed(addr), nb_blocks=nb_blocks)
                   for kind, addr, nb_blocks in requests]
        replies = [qmp.finish(number) for number in started]
        return [(reply["type"], reply.get("state")) for reply in replies]


# what they are asked

class Sequence:
    """Chooses requests of which many succeed, and some are hostile."""

    def __init__(self, seed, setup):
        self._random = random.Random(seed)
        self._setup = setup
        self._plugged = [False] * (setup.size // setup.block_size)
        self._usable = 0  # blocks

    def learn(self, request, answer):
        """Keep up with what is plugged."""
        if answer != "ack" or request.kind == STATE:
            return
        if request.kind == UNPLUG_ALL:
            self._plugged = [False] * len(self._plugged)
            return
        first = (request.addr - BASE) // self._setup.block_size
        for block in range(first, first + request.nb_blocks):
            self._plugged[block] = request.kind == PLUG

    def learn_sizes(self, sizes):
        self._usable = sizes.usable // self._setup.block_size

    def next_size(self):
        """A new requested size; one in five is none."""
        size = (self._random.randint(0, len(self._plugged))
                * self._setup.block_size)
        if self._random.random() < 0.2:
            return self._random.choice((
                size + 1, size + self._setup.block_size // 2,
                self._setup.size + self._setup.block_size, 1 << 62))
        return size

    def next_request(self):
        kind = self._random.choices(KINDS, (50, 35, 1, 14))[0]
        request = self._fitting(kind)
        return (self._hostile(request) if self._random.random() < 0.25
                else request)

    def _request(self, kind, block, nb_blocks):
        return Request(kind, BASE + block * self._setup.block_size, nb_blocks)

    def _fitting(self, kind):
        """One that is well-formed, and may well succeed."""
        length = self._random.choice((1, 1, 1, 2, 3, 5, 8, 31, 64, 200))
        start = self._random.randrange(max(1, self._usable))
        if kind in (UNPLUG_ALL, STATE):
            return self._request(kind, start, length)
        wanted = kind == UNPLUG
        for block in range(start, self._usable):
            if self._plugged[block] == wanted:
                return self._request(kind, block,
                                     self._run_length(block, length))
        return self._request(kind, start, length)

    def _run_length(self, start, most):
        """Blocks from @start on that are as the first, at most @most."""
        end = min(start + most, self._usable)
        for block in range(start, end):
            if self._plugged[block] != self._plugged[start]:
                return block - start
        return end - start

    def _hostile(self, request):
        """Something else about it, which is wrong more often than not."""
        block_size = self._setup.block_size
        at = self._random.choice
        addr = at((
            request.addr + at((1, 4096, block_size // 2, block_size - 1)),
            request.addr - 1,
            BASE - block_size,
            BASE + self._usable * block_size,
            BASE + (self._usable - 1) * block_size,
            BASE + self._setup.size - block_size,
            BASE + self._setup.size,
            0,
            (1 << 63) + request.addr,
            (1 << 64) - block_size,
            (1 << 64) - at((2, 8, 65535)) * block_size,
            self._random.getrandbits(64),
            self._random.getrandbits(64) // block_size * block_size))
        nb_blocks = at((0, 2, request.nb_blocks + 1, 512, 32768, 65535,
                        self._random.getrandbits(16)))
        return request._replace(**at((
            {"addr": addr}, {"nb_blocks": nb_blocks},
            {"addr": addr, "nb_blocks": nb_blocks})))


# how they are compared

class Comparison:
    """Lets devices answer a sequence; fails where they differ from QEMU's."""

    def __init__(self, theirs, ours, sequence, setup):
        self._theirs = theirs
        self._ours = ours  # {name: device}
        self._sequence = sequence
        self._setup = setup
        self._random = random.Random(0)
        self.counts = collections.Counter()

    def run(self, requests):
        """Until they have answered so many."""
        self._resize()
        while self.counts.total() < requests:
            if self._random.random() < 0.05:
                self._resize()
            # mostly one; now and then, as many as a ring takes at once
            number = self._random.choice((1, 1, 1, 1, 1, 1, 2, 7, 64))
            self._ask([self._sequence.next_request() for _ in range(number)])
        self._compare_blocks()

    def _all(self, asked, method, *arguments):
        """What each device says, which must be what QEMU says."""
        theirs = getattr(self._theirs, method)(*arguments)
        for name, device in self._ours.items():
            ours = getattr(device, method)(*arguments)
            assert ours == theirs, (
                f"after {self.counts.total()} requests, {asked}: "
                f"{first_difference(theirs, ours)}, through {name}")
        return theirs

    def _compare_sizes(self, asked):
        self._sequence.learn_sizes(self._all(f"sizes after {asked}", "sizes"))

    def _resize(self):
        size = self._sequence.next_size()
        asked = f"requested-size={size:#x}"
        self._all(asked, "resize", size)
        self._compare_sizes(asked)

    def _ask(self, requests):
        answers = self._all(requests, "answers", requests)
        for request, (answer, _) in zip(requests, answers, strict=True):
            self._sequence.learn(request, answer)
            self.counts[request.kind, answer] += 1
        self._compare_sizes(requests)

    def _compare_blocks(self):
        """The bitmap: the state of each block that can be asked for."""
        usable = self._theirs.sizes().usable
        requests = [Request(STATE, BASE + at, 1)
                    for at in range(0, usable, self._setup.block_size)]
        for answer, state in self._all("the blocks", "answers", requests):
            assert answer == "ack" and state in STATES[:2], (answer, state)


def first_difference(theirs, ours):
    if isinstance(theirs, list):
        for at, (their, our) in enumerate(zip(theirs, ours, strict=True)):
            if their != our:
                return f"number {at}: QEMU says {their}, hostmem says {our}"
    return f"QEMU says {theirs}, hostmem says {ours}"


def compare(setup, requests):
    seed = int(os.environ.get("HOSTMEM_SEED") or random.getrandbits(32))
    harness.diag(f"HOSTMEM_SEED={seed}")
    with Theirs(setup) as theirs, Mmio(setup) as mmio, Qmp(setup) as qmp:
        comparison = Comparison(theirs, {"virtio-mmio": mmio, "QMP": qmp},
                                Sequence(seed, setup), setup)
        comparison.run(requests)
    counts = comparison.counts
    harness.diag(", ".join(f"{kind} {answer}: {n}"
                           for (kind, answer), n in sorted(counts.items())))
    # The sequence is worth something only if it leads everywhere.
    for answered, percent in {(PLUG, "ack"): 2, (PLUG, "nack"): 1,
                              (PLUG, "error"): 2, (UNPLUG, "ack"): 2,
                              (UNPLUG, "error"): 2, (STATE, "ack"): 2,
                              (STATE, "error"): 1,
                              (UNPLUG_ALL, "ack"): 0.2}.items():
        assert counts[answered] >= requests * percent / 100, answered


# A number of blocks that is no multiple of 64 leaves a word of a bitmap
# half used.

def test_ten_thousand_requests():
    compare(Setup("memory-backend-ram", 517, 2 * MIB), 10_000)


def test_blocks_of_1_mib():
    compare(Setup("memory-backend-ram", 1030, 1 * MIB), 10_000)


def test_blocks_of_4_mib_on_shared_memory():
    compare(Setup("memory-backend-memfd", 259, 4 * MIB), 10_000)


def test_blocks_of_128_mib():
    compare(Setup("memory-backend-ram", 63, 128 * MIB), 10_000)


def test_usable_region_is_rounded_up_to_blocks_of_512_mib():
    compare(Setup("memory-backend-memfd", 16, 512 * MIB), 10_000)


if __name__ == "__main__":
    harness.main()
