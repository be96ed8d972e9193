# SPDX-License-Identifier: LGPL-2.1-or-later
"""hostmemctl add, del, get, set, jobs, cancel, help: with a real hostmemd."""

import json
import re

import harness
from ctl import address_of, ctl, ctl_fails, run_ctl, started
from harness import MIB, Hostmemd, SlowHost, wait_until

RAM = "memory-backend-ram,id=m0,size=64M"
JOB = ("memory-backend-memfd,id=m0,size=256M,thp=off,prealloc=on,"
       "prealloc-async=on,prealloc-check=off,prealloc-threads=1")
SLOW = 10  # percent of a CPU: long enough to be looked at
NO_CONTROL = re.compile(r"[^\x1b\r]*")


def names(daemon):
    return [memdev["id"] for memdev in daemon.qmp.execute("query-memdev")]


# add

def test_add():
    with Hostmemd() as daemon:
        assert ctl(daemon, "add", RAM) == ""
        assert names(daemon) == ["m0"]


def test_add_in_each_notation():
    with Hostmemd() as daemon:
        ctl(daemon, "add", "qom-type=memory-backend-ram,id=a,size=0x100000,"
            "merge=off,host-nodes.0=0,policy=bind")
        ctl(daemon, "add", '{"qom-type": "memory-backend-ram", "id": "b",'
            ' "size": 1048576}')
        memdevs = {m["id"]: m for m in daemon.qmp.execute("query-memdev")}
    assert memdevs["a"]["size"] == memdevs["b"]["size"] == MIB
    assert memdevs["a"]["host-nodes"] == [0] and not memdevs["a"]["merge"]


def test_add_refused():
    with Hostmemd() as daemon:
        ctl(daemon, "add", RAM)
        for line, phrase in ((RAM, "m0"), ("nosuch,id=x", "nosuch"),
                             ("memory-backend-ram,id=x,size=many", "size"),
                             ("memory-backend-ram,id=x,nosuch=1", "nosuch"),
                             ("memory-backend-ram,id=a b,size=1M", "id"),
                             ("memory-backend-ram,size=1M", "id"),
                             ("{", "JSON"), ('{"qom-type": 1}', "qom-type")):
            ctl_fails(daemon, "add", line, phrases=[phrase])
        assert names(daemon) == ["m0"]


def test_add_names_the_address():
    with Hostmemd() as daemon:
        ctl_fails(daemon, "add", "memory-backend-ram,id=x,size=0",
                  phrases=[address_of(daemon) + ": "])


def test_add_a_device():
    with Hostmemd("-object", RAM) as daemon:
        ctl(daemon, "add", "--device", "virtio-mem,id=vm0,memdev=m0")
        device, = daemon.qmp.execute("query-memory-devices")
        assert device["data"]["id"] == "vm0", device
        ctl_fails(daemon, "add", "--device", "nosuch,memdev=m0",
                  phrases=["nosuch"])


def test_add_waits_for_the_job():
    with Hostmemd() as daemon:
        # A host that is slow now gets to see progress.
        result = run_ctl(daemon, "add", JOB, "--wait", timeout=50)
        assert result.returncode == 0 and result.stdout == "", result
        job, = daemon.qmp.execute("query-jobs")
        assert job["status"] == "concluded", job


def test_add_without_wait_does_not():
    with SlowHost(SLOW) as host, Hostmemd(cgroup=host) as daemon:
        ctl(daemon, "add", JOB)
        job, = daemon.qmp.execute("query-jobs")
        assert job["status"] in ("created", "running"), job


@harness.time_limit(120)
def test_add_shows_progress():
    with SlowHost(3) as host, Hostmemd(cgroup=host) as daemon:
        result = run_ctl(daemon, "add", JOB + ",size=512M", "--wait",
                         timeout=100)
    assert result.returncode == 0, result
    assert re.match(r"hostmemctl: m0: [\d.]+ \w+ of 512 MiB", result.stderr), \
        result
    assert NO_CONTROL.fullmatch(result.stderr), result


def test_add_whose_job_is_cancelled():
    with SlowHost(SLOW) as host, Hostmemd(cgroup=host) as daemon, \
            started(daemon, "add", JOB, "--wait") as process:
        wait_until(lambda: daemon.qmp.execute("query-jobs"))
        ctl(daemon, "cancel", "m0")
        assert process.wait(20) == 1
        text = process.stderr.read()
        assert "job 'm0': " in text and "cancel" in text, text


def test_add_goes_on_after_an_interrupt():
    with SlowHost(SLOW) as host, Hostmemd(cgroup=host) as daemon, \
            started(daemon, "add", JOB, "--wait") as process:
        wait_until(lambda: daemon.qmp.execute("query-jobs"))
        process.terminate()
        process.wait(20)
        job, = daemon.qmp.execute("query-jobs")
        assert job["status"] in ("created", "running"), job


# del

def test_del():
    with Hostmemd("-object", RAM) as daemon:
        ctl(daemon, "del", "m0")
        assert names(daemon) == []
        ctl_fails(daemon, "del", "m0", phrases=["m0", "not found"])


def test_del_a_device():
    with Hostmemd("-object", RAM, "-device",
                  "virtio-mem,id=vm0,memdev=m0") as daemon:
        ctl_fails(daemon, "del", "m0", phrases=["in use"])
        ctl(daemon, "del", "--device", "vm0")
        assert daemon.qmp.execute("query-memory-devices") == []
        ctl(daemon, "del", "m0")
        ctl_fails(daemon, "del", "vm0", "--device", phrases=["vm0"])


# get and set

def test_get():
    with Hostmemd("-object", RAM + ",merge=off,policy=bind,host-nodes=0"
                  ) as daemon:
        for name, text, value in (("size", "67108864", 64 * MIB),
                                  ("merge", "off", False),
                                  ("policy", "bind", "bind"),
                                  ("host-nodes", "0", [0]),
                                  ("type", "memory-backend-ram",
                                   "memory-backend-ram")):
            assert ctl(daemon, "get", "m0", name) == text + "\n"
            out = ctl(daemon, "get", "/objects/m0", name, "--json")
            assert json.loads(out) == value


def test_get_what_is_not_there():
    with Hostmemd("-object", RAM) as daemon:
        for args in ["m1", "size"], ["/objects/m1", "size"], \
                ["m1", "size", "--device"]:
            ctl_fails(daemon, "get", *args, phrases=[address_of(daemon), "m1"])
        ctl_fails(daemon, "get", "m0", "nosuch", phrases=["nosuch"])


def test_get_prefers_objects():
    with Hostmemd("-object", RAM, "-device",
                  "virtio-mem,id=m0,memdev=m0") as daemon:
        assert ctl(daemon, "get", "m0", "type") == "memory-backend-ram\n"
        assert ctl(daemon, "get", "--device", "m0", "type") == "virtio-mem\n"
        assert ctl(daemon, "get", "m0", "requested-size",
                   "--device") == "0\n"


def test_set():
    with Hostmemd("-object", RAM, "-device",
                  "virtio-mem,id=vm0,memdev=m0") as daemon:
        ctl(daemon, "set", "vm0", "requested-size", "32M")
        assert ctl(daemon, "get", "vm0", "requested-size") == f"{32 * MIB}\n"
        ctl(daemon, "set", "m0", "dump", "off")
        assert ctl(daemon, "get", "m0", "dump") == "off\n"


def test_set_a_size():
    with Hostmemd("-object", RAM + ",max-size=1G") as daemon:
        ctl(daemon, "set", "m0", "size", "128M")
        assert re.search("m0 +memory-backend-ram +128 MiB +1 GiB",
                         ctl(daemon, "status"))
        ctl_fails(daemon, "set", "m0", "size", "2G",
                  phrases=["'max-size' is 1 GiB"])


def test_set_refused():
    with Hostmemd("-object", RAM) as daemon:
        for args, phrase in ((["m0", "dump", "maybe"], "'on' or 'off'"),
                             (["m0", "size", "large"], "'large'"),
                             (["m0", "size", "-1"], "size"),
                             (["m0", "size", "16E"], "'16E'"),
                             (["m0", "nosuch", "1"], "nosuch"),
                             (["m1", "dump", "on"], "m1"),
                             (["m0", "policy", "bind"], "policy")):
            ctl_fails(daemon, "set", *args, phrases=[phrase])


# jobs and cancel

def test_jobs():
    with SlowHost(SLOW) as host, Hostmemd("-object", JOB,
                                          cgroup=host) as daemon:
        heading, line = ctl(daemon, "jobs").splitlines()
        assert heading.split()[:3] == ["job", "type", "status"], heading
        assert line.split()[:2] == ["m0", "prealloc"], line
        assert re.search(r"\[#*\.*\] +\d+ %", line), line
        job, = json.loads(ctl(daemon, "jobs", "--json"))
        assert job["total-progress"] == 256 * MIB, job


def test_cancel():
    with SlowHost(SLOW) as host, Hostmemd("-object", JOB,
                                          cgroup=host) as daemon:
        ctl(daemon, "cancel", "m0")
        wait_until(lambda: "cancel" in ctl(daemon, "jobs"))
        ctl_fails(daemon, "cancel", "m1", phrases=["Job not found"])


# help

def test_help_of_a_type():
    with Hostmemd() as daemon:
        text = ctl(daemon, "help", "memory-backend-memfd")
        assert re.search(r"^seal +bool +\w", text, re.M), text
        entries = json.loads(ctl(daemon, "help", "virtio-mem", "--json"))
        assert "requested-size" in {entry["name"] for entry in entries}
        ctl_fails(daemon, "help", "nosuch", phrases=["nosuch"])


# pools

def test_pools():
    pool = "memory-pool,id=p0,size=64M,segment-size=16M"
    with Hostmemd() as daemon:
        assert ctl(daemon, "pools") == ""
        assert ctl(daemon, "pools", "--json") == "[]\n"
        ctl(daemon, "add", pool)
        wait_until(lambda: "100 %" in ctl(daemon, "pools"))
        ctl(daemon, "add", "memory-backend-memfd,id=m0,size=32M,pool=p0")
        line = ctl(daemon, "pools").splitlines()[1]
        assert re.match(r"p0 +\[[#.]+\] +\d+ % +[\d.]+ MiB +32 MiB", line), line
        assert "p0: 32 MiB" in ctl(daemon, "status")
        ctl(daemon, "set", "p0", "size", "96M")
        assert ctl(daemon, "get", "p0", "size") == f"{96 * MIB}\n"


if __name__ == "__main__":
    harness.main()
