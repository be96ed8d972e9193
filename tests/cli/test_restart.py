#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""hostmemd is killed or ends, and the next one goes on with its memory."""

import json
import os
import random
import signal
import subprocess
import threading
import time

import harness
from harness import (MIB, Hostmemd, QmpClient, QmpClosed, QmpError, SlowHost,
                     diag, raises, run_hostmemd, scratch, tmpfs, wait_until)
from keeper import STATE, Keeper, Memory, kill

SIZE = 12 * MIB
MEMFD = f"memory-backend-memfd,id=m0,size={SIZE}"


def get(daemon, name, path="m0"):
    return daemon.qmp.execute("qom-get", path=path, property=name)


def ids(daemon):
    return [memdev["id"] for memdev in daemon.qmp.execute("query-memdev")]


def restored(daemon):
    """{path: (status, reason)}"""
    return {one["path"]: (one["status"], one.get("reason"))
            for one in daemon.qmp.execute("query-restore")}


def survives(*args, size=SIZE, end=kill):
    """Every byte and every property is there after the end."""
    with Keeper() as boss:
        with boss.run(*args) as daemon:
            boss.settle("m0")
            before = daemon.qmp.execute("query-memdev")
            with Memory.of(daemon, size) as memory:
                memory.fill(1)
                identity = memory.identity()
            end(daemon)
        with boss.run() as daemon:
            boss.settle("m0")
            after = daemon.qmp.execute("query-memdev")
            for memdev in (*before, *after):
                memdev.pop("prealloc-method", None)
                memdev.pop("backed-size")
                memdev.pop("usage-age")
                if not memdev["prealloc"]:
                    memdev.pop("populated-size")
                    memdev.pop("resident-size")
            assert before == after, (before, after)
            assert restored(daemon) == {"/objects/m0": ("restored", None)}
            with Memory.of(daemon, size) as memory:
                memory.check(1)
                assert memory.identity() == identity
            assert "warning" not in daemon.stderr, daemon.stderr


def end_by(signum):
    def end(daemon):
        os.kill(daemon.pid, signum)
        assert daemon.wait() == 0
    return end


# every kind of memory, every kind of end

def test_memfd():
    survives("-object", MEMFD)


def test_populated_memfd():
    survives("-object", f"{MEMFD},prealloc=on")


def test_memory_on_a_tmpfs_of_its_own():
    survives("-object", f"memory-backend-ram,id=m0,size={SIZE},share=on,"
             "prealloc=on")


def test_shm():
    survives("-object", f"memory-backend-shm,id=m0,size={SIZE},prealloc=on")


def test_file():
    with scratch() as folder:
        survives("-object", f"memory-backend-file,id=m0,size={SIZE},share=on,"
                 f"mem-path={folder}/m0,prealloc=on")


def test_file_that_would_be_emptied():
    with tmpfs(2 * SIZE) as folder:
        for end in kill, end_by(signal.SIGTERM):
            survives("-object", f"memory-backend-file,id=m0,size={SIZE},"
                     f"share=on,mem-path={folder}/m0,discard-data=on",
                     end=end)


def test_memory_with_a_name():
    """The name, and the file that it leads to, stay all the time."""
    for end in kill, end_by(signal.SIGTERM):
        with tmpfs(2 * SIZE) as folder:
            survives("-object", f"memory-backend-ram,id=m0,size={SIZE},"
                     f"share=on,export-path={folder}/m0", end=end)


def test_memory_in_an_export_directory():
    harness.need_root()
    for end in kill, end_by(signal.SIGTERM):
        with scratch() as folder:
            place = folder / "export"
            place.mkdir()
            line = (f"memory-backend-ram,id=m0,size={SIZE},share=on,"
                    "export-path=m0")
            with Keeper() as boss:
                args = ("-export-dir", place, "-object", line)
                with boss.run(*args) as daemon:
                    boss.settle("m0")
                    before = os.stat(place / "m0")
                    end(daemon)
                assert os.stat(place / "m0").st_ino == before.st_ino
                with boss.run() as daemon:
                    boss.settle("m0")
                    assert os.stat(place / "m0").st_ino == before.st_ino
                    daemon.qmp.execute("object-del", id="m0")
                    assert not (place / "m0").exists()
                    daemon.qmp.execute("quit")
                    assert daemon.wait() == 0
                assert not os.path.ismount(place)


def test_huge_pages():
    with harness.need_huge_pages(SIZE // (2 * MIB)):
        survives("-object", f"{MEMFD},hugetlb=on,hugetlbsize=2M,prealloc=on")


def test_signals():
    for signum in signal.SIGTERM, signal.SIGINT, signal.SIGHUP:
        survives("-object", f"{MEMFD},prealloc=on", end=end_by(signum))


# what is there

def test_what_clients_made_and_changed():
    with Keeper() as boss:
        with boss.run("-object", MEMFD) as daemon:
            execute = daemon.qmp.execute
            execute("object-add", {"qom-type": "thread-context", "id": "tc"})
            execute("object-add", {"qom-type": "memory-backend-ram",
                                   "id": "m1", "size": MIB, "share": True,
                                   "prealloc-context": "tc"})
            execute("object-add", {"qom-type": "memory-backend-ram",
                                   "id": "m2", "size": MIB, "share": True})
            execute("object-del", id="m2")
            execute("qom-set", path="m0", property="merge", value=False)
            execute("qom-set", path="m0", property="prealloc", value=True)
            execute("qom-set", path="m1", property="prealloc-threads", value=3)
            kill(daemon)
        boss.settle("m0", "m1")
        with boss.run() as daemon:
            assert ids(daemon) == ["m0", "m1"]
            assert get(daemon, "merge") is False
            assert get(daemon, "prealloc") is True
            assert get(daemon, "populated-size") == SIZE
            assert get(daemon, "prealloc-threads", "m1") == 3
            assert get(daemon, "prealloc-context", "m1") == "/objects/tc"


def test_what_was_deleted_is_given_up():
    with Keeper() as boss, boss.run("-object", MEMFD) as daemon:
        for _ in range(3):
            daemon.qmp.execute("object-del", id="m0")
            boss.settle()
            daemon.qmp.execute("object-add",
                               {"qom-type": "memory-backend-memfd",
                                "id": "m0", "size": SIZE})
            boss.settle("m0")


def test_devices():
    with Keeper() as boss:
        with boss.run("-object", MEMFD, "-device",
                      "virtio-mem,memdev=m0,requested-size=8M,block-size=2M",
                      "-device", "virtio-mem,id=vm1,memdev=m1", "-object",
                      f"memory-backend-memfd,id=m1,size={2 * SIZE}") as daemon:
            (device,) = [device["data"] for device in
                         daemon.qmp.execute("query-memory-devices")
                         if device["data"]["memdev"] == "/objects/m0"]
            daemon.qmp.execute("qom-set", path="vm1",
                               property="requested-size", value=4 * MIB)
            daemon.qmp.execute("virtio-mem-request", {
                "id": "vm1", "type": "plug", "nb-blocks": 2,
                "addr": get(daemon, "memaddr", "vm1") + 2 * MIB})
            with Memory.of(daemon, 2 * SIZE) as memory:
                memory.fill(1, 2 * MIB, 6 * MIB)
            before = daemon.qmp.execute("query-memory-devices")
            assert device["requested-size"] == 8 * MIB
            kill(daemon)
        with boss.run() as daemon:
            after = daemon.qmp.execute("query-memory-devices")
            assert before == after, (before, after)
            assert get(daemon, "size", "vm1") == 4 * MIB
            with Memory.of(daemon, 2 * SIZE) as memory:
                memory.check(1, 2 * MIB, 6 * MIB)
            assert "warning" not in daemon.stderr, daemon.stderr


# population

def test_population_goes_on():
    """Half done, it was killed; what is there stays, and the rest comes."""
    size = 256 * MIB
    harness.need_memory(2 * size)
    line = (f"memory-backend-memfd,id=m0,size={size},thp=off,prealloc=on,"
            "prealloc-async=on,prealloc-threads=1,share=on,seal=off")
    with Keeper() as boss:
        with boss.run("-object", f"memory-backend-memfd,id=m0,size={size},"
                      "thp=off") as daemon:
            with Memory.of(daemon, size) as memory:
                memory.fill(1, 0, 64 * MIB)
            daemon.qmp.execute("qom-set", path="m0",
                               property="prealloc-async", value=True)
            boss.settle("m0")
            text = json.loads(boss.state())
            kill(daemon)
        # As if it had been killed while the job was at work.
        (entry,) = text["objects"]
        entry["options"]["prealloc"] = True
        entry["state"]["job"] = {"over": False, "done": 0, "total": size}
        boss.replace_state(json.dumps(text))
        with boss.run("-object", line) as daemon:
            def is_over():
                (job,) = daemon.qmp.execute("query-jobs")
                return job["status"] == "concluded"

            wait_until(is_over, what="the job")
            assert get(daemon, "prealloc") is True
            assert get(daemon, "populated-size") == size
            with Memory.of(daemon, size) as memory:
                memory.check(1, 0, 64 * MIB)
            assert "it is there as an earlier start made it" in daemon.stderr


@harness.time_limit(120)
def test_killed_while_a_job_populates():
    size = 512 * MIB
    harness.need_memory(2 * size)
    line = (f"memory-backend-ram,id=m0,size={size},share=on,prealloc=on,"
            "prealloc-async=on,prealloc-threads=1")
    with Keeper() as boss, SlowHost(20) as slow:
        with boss.run("-object", line, cgroup=slow) as daemon:
            boss.settle("m0")
            (job,) = daemon.qmp.execute("query-jobs")
            assert job["status"] != "concluded", job
            with Memory.of(daemon, size) as memory:
                memory.fill(1, 0, 8 * MIB)
                memory.fill(2, size - 8 * MIB, size)
            kill(daemon)
        for run in range(2):
            with boss.run(cgroup=slow if run == 0 else None) as daemon:
                (job,) = daemon.qmp.execute("query-jobs")
                diag(f"run {run}: {job}")
                if run == 0:
                    kill(daemon)
                    continue
                wait_until(lambda: daemon.qmp.execute("query-jobs")[0][
                    "status"] == "concluded", 60, "the job")
                assert get(daemon, "populated-size") == size
                with Memory.of(daemon, size) as memory:
                    memory.check(1, 0, 8 * MIB)
                    memory.check(2, size - 8 * MIB, size)


def test_job_that_is_over_stays_to_be_looked_at():
    with Keeper() as boss:
        with boss.run("-object",
                      f"{MEMFD},prealloc=on,prealloc-async=on") as daemon:
            def jobs():
                return daemon.qmp.execute("query-jobs")

            wait_until(lambda: jobs()[0]["status"] == "concluded",
                       what="the job")
            before = jobs()
            kill(daemon)
        with boss.run() as daemon:
            assert jobs() == before
            daemon.qmp.execute("job-dismiss", id="m0")
            kill(daemon)
        with boss.run() as daemon:
            assert jobs() == []
            assert get(daemon, "populated-size") == SIZE


# any moment

def test_killed_between_any_two_messages():
    """Whatever was kept by then is enough for all that clients were told."""
    with Keeper() as boss:
        with boss.run("-object", MEMFD) as daemon:
            execute = daemon.qmp.execute
            done = []  # (messages by then, ids that must be there)

            def note(*names):
                boss.drain()
                done.append((len(boss.history), list(names)))

            for number in range(3):
                execute("object-add", {"qom-type": "memory-backend-memfd",
                                       "id": "m1", "size": MIB})
                note("m0", "m1")
                execute("qom-set", path="m0", property="merge",
                        value=bool(number % 2))
                execute("object-del", id="m1")
                note("m0")
            kill(daemon)
        boss.drain()
        total = len(boss.history)
        diag(f"{total} messages")
        for count in range(3, total + 1):
            kept = boss.kept_after(count)
            with boss.run("-object", MEMFD, stored=kept) as daemon:
                found = ids(daemon)
                assert found[0] == "m0", (count, found)
                for moment, expected in done:
                    if moment == count:
                        assert found == expected, (count, found)
                assert "not restored" not in daemon.stderr, daemon.stderr
                kill(daemon)


class Client(threading.Thread):
    """Adds, changes and deletes, until the daemon is gone."""

    def __init__(self, daemon, seed, known):
        super().__init__()
        self._daemon = daemon
        self._random = random.Random(seed)
        self.known = dict(known)  # {id: merge}, as acknowledged
        self.doubtful = set()  # asked for, not answered
        self.answers = 0

    def run(self):
        try:
            with self._daemon.connect() as client:
                while True:
                    self._step(client)
        except (QmpClosed, OSError, TimeoutError):
            pass

    def _step(self, client):
        name = f"m{self._random.randrange(6)}"
        if name not in self.known:
            self._do(client, name, "object-add", {
                "qom-type": "memory-backend-memfd", "id": name, "size": MIB})
            self.known[name] = True
        elif self._random.random() < 0.3:
            self._do(client, name, "object-del", {"id": name})
            del self.known[name]
        else:
            value = not self.known[name]
            self._do(client, name, "qom-set", {
                "path": name, "property": "merge", "value": value})
            self.known[name] = value

    def _do(self, client, name, command, arguments):
        self.doubtful.add(name)
        client.execute(command, arguments)
        self.doubtful.discard(name)
        self.answers += 1


@harness.time_limit(120)
def test_killed_at_random_moments():
    """What was acknowledged is so afterwards."""
    seed = int(os.environ.get("HOSTMEM_SEED", random.randrange(1 << 30)))
    diag(f"HOSTMEM_SEED={seed}")
    moments = random.Random(seed)
    known, answers = {}, 0
    with Keeper() as boss:
        for number in range(15):
            with boss.run("-qmp", "tcp:127.0.0.1:0") as daemon:
                memdevs = {memdev["id"]: memdev["merge"] for memdev
                           in daemon.qmp.execute("query-memdev")}
                for name, merge in known.items():
                    assert memdevs.get(name) == merge, (number, name, memdevs)
                assert not [path for path, (status, _) in
                            restored(daemon).items() if status != "restored"]
                client = Client(daemon, seed + number, memdevs)
                client.start()
                if number % 3 == 0:
                    wait_until(lambda: client.answers > 5, what="answers")
                time.sleep(moments.random() * 0.2)
                kill(daemon)
                client.join()
                answers += client.answers
                known = {name: merge for name, merge in client.known.items()
                         if name not in client.doubtful}
            boss.drain()
    diag(f"{answers} answers")
    assert answers > 15, answers


# command lines

def test_line_that_has_changed_is_told():
    with Keeper() as boss:
        with boss.run("-object", MEMFD) as daemon:
            kill(daemon)
        with boss.run("-object", f"{MEMFD},merge=off,prealloc=on") as daemon:
            assert get(daemon, "merge") is True
            assert get(daemon, "prealloc") is False
            for phrase in ("warning: -object", "merge=false (was not given)",
                           "prealloc=true (was not given)"):
                assert phrase in daemon.stderr, daemon.stderr


def test_line_that_is_new():
    with Keeper() as boss:
        with boss.run("-object", MEMFD) as daemon:
            kill(daemon)
        with boss.run("-object", "memory-backend-memfd,id=m1,size=1M",
                      "-object", MEMFD) as daemon:
            assert sorted(ids(daemon)) == ["m0", "m1"]
            boss.settle("m0", "m1")


def test_line_that_fails_costs_nothing():
    with Keeper() as boss:
        with boss.run("-object", MEMFD) as daemon:
            with Memory.of(daemon, SIZE) as memory:
                memory.fill(1)
            kill(daemon)
        with boss.run("-object", MEMFD, "-object",
                      "memory-backend-memfd,id=m1,size=1M,policy=bind",
                      qmp=False) as daemon:
            assert daemon.wait() == 1
        with boss.run("-object", MEMFD) as daemon, \
                Memory.of(daemon, SIZE) as memory:
            memory.check(1)


def test_private_memory_is_lost_and_told():
    with Keeper() as boss:
        with boss.run("-object", MEMFD) as daemon:
            daemon.qmp.execute("object-add", {"qom-type": "memory-backend-ram",
                                              "id": "m1", "size": MIB})
            kill(daemon)
        with boss.run() as daemon:
            assert ids(daemon) == ["m0"]
            status, reason = restored(daemon)["/objects/m1"]
            assert status == "lost" and "private" in reason
            assert "warning: /objects/m1 is lost: " in daemon.stderr
        boss.settle("m0")


# what comes back wrong

def begin(boss):
    with boss.run("-object", MEMFD) as daemon:
        daemon.qmp.execute("object-add", {"qom-type": "memory-backend-memfd",
                                          "id": "m1", "size": MIB})
        kill(daemon)
    boss.settle("m0", "m1")


def refused(boss, *phrases):
    before = boss.names()
    with boss.run(qmp=False) as daemon:
        assert daemon.wait() == 1
    for phrase in phrases:
        assert phrase in daemon.stderr, daemon.stderr
    assert boss.names() == before, "the store was touched"


def test_state_that_is_no_use():
    with Keeper() as boss:
        begin(boss)
        text = boss.state()
        for wrong, phrase in ((text[:len(text) // 2], "JSON"), ("", "0 bytes"),
                              (text.replace('state":1', 'state":2'),
                               "version 2"),
                              ("[]", "no state of hostmem")):
            boss.replace_state(wrong)
            refused(boss, "cannot restore what was kept", phrase)
        boss.replace_state(text)
        with boss.run() as daemon:
            assert sorted(ids(daemon)) == ["m0", "m1"]


def test_descriptor_that_is_missing():
    with Keeper() as boss:
        begin(boss)
        boss.replace("m1/", -1)
        with boss.run() as daemon:
            assert ids(daemon) == ["m0"]
            assert "/objects/m1 is not restored: descriptor 'm1/" \
                in daemon.stderr, daemon.stderr
        boss.settle("m0")


def test_descriptor_that_is_another():
    with Keeper() as boss:
        begin(boss)
        other = os.memfd_create("other")
        os.truncate(other, MIB)
        boss.replace("m1/", other)
        with boss.run() as daemon:
            assert ids(daemon) == ["m0"]
            assert "is another file" in daemon.stderr, daemon.stderr
        boss.settle("m0")


def test_descriptors_without_a_state():
    """Killed before its first state was stored: nobody was told anything."""
    with Keeper() as boss:
        begin(boss)
        boss.replace(STATE, -1)
        with boss.run() as daemon:
            assert ids(daemon) == ["m0"]
            assert "descriptors are not used" in daemon.stderr
            boss.settle("m0")


def test_two_starts_with_the_same_descriptors():
    with Keeper() as boss, boss.run("-object", MEMFD) as daemon:
        boss.settle("m0")
        with Memory.of(daemon, SIZE) as memory:
            memory.fill(1)
            refused(boss, f"process {daemon.pid} has the memory")
            memory.check(1)
        assert ids(daemon) == ["m0"]


# limits

def test_too_few_descriptors_to_save():
    """What was saved stays good, and it is said, and made up for."""
    with Keeper() as boss, boss.run("-object", MEMFD) as daemon:
        boss.settle("m0")
        limit = len(os.listdir(f"/proc/{daemon.pid}/fd")) + 3
        subprocess.run(["prlimit", f"--pid={daemon.pid}",
                        f"--nofile={limit}:"], check=True)
        for number in range(10):
            try:
                daemon.qmp.execute("object-add",
                                   {"qom-type": "memory-backend-memfd",
                                    "id": f"n{number}", "size": MIB})
            except QmpError:
                break
        wait_until(lambda: "would be lost at a restart now" in daemon.stderr,
                   what="the warning")
        subprocess.run(["prlimit", f"--pid={daemon.pid}", "--nofile=1000:"],
                       check=True)
        wait_until(lambda: f"n{number - 1}" in
                   [name.partition("/")[0] for name in boss.names()],
                   what="the next try")


def test_state_that_cannot_be_written():
    """As on a full disk: what was saved before stays good."""
    def limit(daemon, size):
        """Bytes of a file: enough for what it says, too few for a state."""
        subprocess.run(["prlimit", f"--pid={daemon.pid}", f"--fsize={size}:"],
                       check=True)

    with Keeper() as boss:
        with boss.run("-object", MEMFD) as daemon:
            boss.settle("m0")
            limit(daemon, 250)
            daemon.qmp.execute("qom-set", path="m0", property="merge",
                               value=False)
            wait_until(lambda: "would be lost at a restart now: cannot write"
                       in daemon.stderr, what="the warning")
            kill(daemon)
        with boss.run() as daemon:
            assert get(daemon, "merge") is True
            limit(daemon, 250)
            daemon.qmp.execute("qom-set", path="m0", property="merge",
                               value=False)
            limit(daemon, "unlimited")
            wait_until(lambda: json.loads(boss.state())["objects"][0][
                "options"].get("merge") is False, what="the next try")
            kill(daemon)
        with boss.run() as daemon:
            assert get(daemon, "merge") is False


def test_stale_socket_and_pidfile():
    """Those of a process that was killed are in nobody's way."""
    with Keeper() as boss, scratch() as folder:
        args = ("-object", MEMFD, "-qmp", f"unix:{folder}/qmp", "-pidfile",
                folder / "pid")
        with boss.run(*args) as daemon:
            boss.settle("m0")
            wait_until((folder / "pid").exists)
            kill(daemon)
        assert sorted(os.listdir(folder)) == ["pid", "qmp"]
        with boss.run() as daemon:
            wait_until(lambda: (folder / "pid").read_text().split()
                       == [str(daemon.pid)], what="the pidfile")
            with QmpClient.unix(folder / "qmp") as client:
                client.negotiate()
                assert len(client.execute("query-memdev")) == 1


def test_manager_that_is_away_for_a_moment():
    """What it could not be told it is told later, in the same order."""
    with Keeper() as boss:
        with boss.run("-object", MEMFD) as daemon:
            boss.settle("m0")
            with boss.away():
                for name in "m1", "m2":
                    daemon.qmp.execute(
                        "object-add", {"qom-type": "memory-backend-memfd",
                                       "id": name, "size": MIB})
                daemon.qmp.execute("object-del", id="m0")
                wait_until(lambda: "would be lost at a restart now: cannot "
                           "tell the service manager" in daemon.stderr,
                           what="the warning")
                assert boss.names()[-1].startswith("m0/"), boss.names()
            boss.settle("m1", "m2")
            kill(daemon)
        with boss.run() as daemon:
            assert ids(daemon) == ["m1", "m2", "m0"], ids(daemon)


def test_store_that_is_too_small_is_told():
    """What is left out is lost, and nothing else."""
    more = [("-object", f"memory-backend-memfd,id=m{i},size=1M")
            for i in range(1, 4)]
    with Keeper(room=4) as boss:
        with boss.run("-object", MEMFD, *sum(more, ())) as daemon:
            boss.settle("m0", "m1")
            assert "FileDescriptorStoreMax" in daemon.stderr, daemon.stderr
            for merge in False, True, False:
                daemon.qmp.execute("qom-set", path="m0", property="merge",
                                   value=merge)
            boss.settle("m0", "m1")
            kill(daemon)
        with boss.run() as daemon:
            assert get(daemon, "merge") is False
            found = restored(daemon)
            assert found["/objects/m0"] == ("restored", None), found
            assert found["/objects/m1"] == ("restored", None), found
            for path in "/objects/m2", "/objects/m3":
                status, reason = found[path]
                assert status == "failed" and "descriptor 'm" in reason, found


# the end

def test_quit_gives_all_up():
    with Keeper() as boss:
        with boss.run("-object", MEMFD) as daemon:
            boss.settle("m0")
            daemon.qmp.execute("quit")
            assert daemon.wait() == 0
        boss.await_empty()


def test_without_a_store_nothing_is_kept():
    with Keeper() as boss:
        start = boss.start()
        with Hostmemd("-object", MEMFD, **start) as daemon:
            boss.expect("READY")
            kill(daemon)
        assert boss.names() == []


def test_by_option():
    """Another supervisor has other ways to hand descriptors over."""
    with Keeper() as boss:
        with boss.run("-object", MEMFD, "-restore-fds", "") as daemon:
            boss.settle("m0")
            with Memory.of(daemon, SIZE) as memory:
                memory.fill(1)
            kill(daemon)
        fds = [fd for _, fd in boss.stored]
        text = ",".join(f"{name}={fd}" for name, fd in boss.stored)
        with Hostmemd("-object", MEMFD, "-restore-fds", text, pass_fds=fds,
                      env={"NOTIFY_SOCKET": boss.address}) as daemon, \
                Memory.of(daemon, SIZE) as memory:
            memory.check(1)
            boss.settle("m0")


def test_option_that_makes_no_sense():
    for text, phrase in (("x", "is not NAME=N"), ("x=", "is not NAME=N"),
                         ("=3", "is not NAME=N"), ("x=-3", "is not NAME=N"),
                         ("x=1", "standard"), ("x=999", "not open"),
                         ("a=3,", "")):
        result = run_hostmemd(["-object", MEMFD, "-restore-fds", text])
        assert result.returncode == 1 and phrase in result.stderr, result


if __name__ == "__main__":
    harness.main()
