# SPDX-License-Identifier: LGPL-2.1-or-later
"""Population in the background: jobs, their commands and events."""

import contextlib
import pathlib

import harness
from harness import MIB, Hostmemd, QmpError, SlowHost, raises, wait_until

SIZE = 256 * MIB
SLOW = 10  # percent of a CPU: long enough to be looked at
SCHED_IDLE = 5


@contextlib.contextmanager
def slow_hostmemd(*args):
    with SlowHost(SLOW) as host, Hostmemd(*args, cgroup=host) as daemon:
        yield daemon


def add(client, object_id="m0", size=SIZE, **more):
    """Add a memfd of base pages, which leave work for the job when they are
    backed; keywords have _ for -."""
    options = {"qom-type": "memory-backend-memfd", "id": object_id,
               "size": size, "thp": "off",
               "prealloc": True, "prealloc-async": True,
               "prealloc-threads": 2, "prealloc-check": False}
    options.update((k.replace("_", "-"), v) for k, v in more.items())
    client.execute("object-add", options)


def only_job(client):
    jobs = client.execute("query-jobs")
    assert len(jobs) == 1, jobs
    return jobs[0]


def wait_for(client, *statuses, object_id="m0"):
    """Take the events of these changes, in this order and without others."""
    for status in statuses:
        event = client.wait_event("JOB_STATUS_CHANGE")["data"]
        assert event == {"id": object_id, "status": status}, event


def get(client, name, object_id="m0"):
    return client.execute("qom-get", path=f"/objects/{object_id}",
                          property=name)


def shared_memory_of(daemon):
    with open(f"/proc/{daemon.pid}/status") as status:
        return sum(int(line.split()[1]) << 10 for line in status
                   if line.startswith("RssShmem:"))


def test_no_jobs_without_objects():
    with Hostmemd() as daemon:
        assert daemon.qmp.execute("query-jobs") == []


def test_no_job_without_async():
    with Hostmemd() as daemon:
        add(daemon.qmp, size=MIB, prealloc_async=False)
        assert daemon.qmp.execute("query-jobs") == []


def test_answered_when_backed():
    with slow_hostmemd() as daemon:
        add(daemon.qmp)
        memdev, = daemon.qmp.execute("query-memdev")
        assert memdev["backed-size"] == SIZE
        assert memdev["populated-size"] < SIZE
        assert memdev["prealloc"]


def test_life_of_a_job():
    with Hostmemd() as daemon:
        add(daemon.qmp)
        wait_for(daemon.qmp, "created", "running", "concluded")
        assert only_job(daemon.qmp) == {
            "id": "m0", "type": "prealloc", "status": "concluded",
            "current-progress": SIZE, "total-progress": SIZE}
        assert get(daemon.qmp, "populated-size") == SIZE


def test_progress_grows():
    with slow_hostmemd() as daemon:
        add(daemon.qmp)
        seen = [0]
        while (job := only_job(daemon.qmp))["status"] != "concluded":
            assert job["status"] in ("created", "running"), job
            assert job["total-progress"] == SIZE
            assert seen[-1] <= job["current-progress"] <= SIZE
            seen.append(job["current-progress"])
        assert any(0 < done < SIZE for done in seen), seen


def test_progress_event():
    with slow_hostmemd() as daemon:
        add(daemon.qmp, size=2 * SIZE)
        event = daemon.qmp.wait_event("MEMORY_PREALLOC_PROGRESS")
        assert event["data"]["id"] == "m0"


def test_other_sessions_see_it():
    with Hostmemd() as daemon:
        other = daemon.connect()
        add(daemon.qmp)
        wait_for(other, "created", "running", "concluded")
        assert only_job(other)["status"] == "concluded"


def test_cancel():
    with slow_hostmemd() as daemon:
        add(daemon.qmp)
        assert daemon.qmp.execute("job-cancel", id="m0") == {}
        wait_for(daemon.qmp, "created", "running", "aborting", "concluded")
        job = only_job(daemon.qmp)
        assert job["status"] == "concluded"
        assert job["current-progress"] < SIZE
        assert "cancelled" in job["error"]


def test_cancelled_memory_stays_backed():
    with slow_hostmemd() as daemon:
        add(daemon.qmp)
        daemon.qmp.execute("job-cancel", id="m0")
        wait_for(daemon.qmp, "created", "running", "aborting", "concluded")
        assert get(daemon.qmp, "backed-size") == SIZE
        assert get(daemon.qmp, "prealloc") is False


def test_again_after_cancel():
    with slow_hostmemd() as daemon:
        add(daemon.qmp, size=64 * MIB)
        daemon.qmp.execute("job-cancel", id="m0")
        wait_for(daemon.qmp, "created", "running", "aborting", "concluded")
        daemon.qmp.execute("qom-set", path="/objects/m0",
                           property="prealloc", value=True)
        wait_for(daemon.qmp, "null", "created", "running", "concluded")
        assert get(daemon.qmp, "populated-size") == 64 * MIB


def test_deadline():
    with slow_hostmemd() as daemon:
        add(daemon.qmp, size=4 * SIZE, prealloc_deadline=1)
        wait_for(daemon.qmp, "created", "running", "concluded")
        job = only_job(daemon.qmp)
        assert job["current-progress"] < 4 * SIZE
        assert "the deadline passed" in job["error"]
        assert get(daemon.qmp, "backed-size") == 4 * SIZE


def test_dismiss():
    with Hostmemd() as daemon:
        add(daemon.qmp, size=MIB)
        wait_for(daemon.qmp, "created", "running", "concluded")
        assert daemon.qmp.execute("job-dismiss", id="m0") == {}
        wait_for(daemon.qmp, "null")
        assert daemon.qmp.execute("query-jobs") == []
        assert get(daemon.qmp, "populated-size") == MIB


def test_verbs_in_the_wrong_state():
    with slow_hostmemd() as daemon:
        add(daemon.qmp)
        wait_for(daemon.qmp, "created", "running")
        with raises(QmpError, "GenericError: Job 'm0' in state 'running' "
                    "cannot accept command verb 'dismiss'"):
            daemon.qmp.execute("job-dismiss", id="m0")
        daemon.qmp.execute("job-cancel", id="m0")
        wait_for(daemon.qmp, "aborting", "concluded")
        with raises(QmpError, "GenericError: Job 'm0' in state 'concluded' "
                    "cannot accept command verb 'cancel'"):
            daemon.qmp.execute("job-cancel", id="m0")


def test_job_not_found():
    with Hostmemd("-object", "memory-backend-ram,id=m0,size=1M") as daemon:
        for command in ("job-cancel", "job-dismiss"):
            with raises(QmpError, "GenericError: Job not found"):
                daemon.qmp.execute(command, id="m0")
            with raises(QmpError, "Parameter 'id' is missing"):
                daemon.qmp.execute(command)


def test_delete_cancels_and_gives_back():
    with slow_hostmemd() as daemon:
        add(daemon.qmp)
        wait_for(daemon.qmp, "created", "running")
        daemon.qmp.execute("object-del", id="m0")
        assert shared_memory_of(daemon) == 0
        wait_for(daemon.qmp, "aborting", "concluded", "null")
        assert daemon.qmp.execute("query-jobs") == []


def test_delete_after_many_questions():
    with slow_hostmemd() as daemon:
        others = [daemon.connect() for _ in range(4)]
        add(daemon.qmp)
        started = [(other, other.start("query-memdev")) for other in others]
        daemon.qmp.execute("object-del", id="m0")
        assert shared_memory_of(daemon) == 0
        for other, number in started:
            other.finish(number)


def test_two_jobs():
    with Hostmemd() as daemon:
        add(daemon.qmp, "m0", 4 * MIB)
        add(daemon.qmp, "m1", 4 * MIB)
        wait_until(lambda: all(job["status"] == "concluded" for job in
                               daemon.qmp.execute("query-jobs")))
        assert [job["id"] for job in daemon.qmp.execute("query-jobs")] \
            == ["m0", "m1"]


def test_quit_cancels():
    with slow_hostmemd() as daemon:
        add(daemon.qmp, size=4 * SIZE)
        assert daemon.qmp.execute("quit") == {}
        assert daemon.wait() == 0


def test_signal_cancels():
    with slow_hostmemd() as daemon:
        add(daemon.qmp, size=4 * SIZE)
        daemon.process.terminate()
        assert daemon.wait() == 0


def test_reserved_huge_pages_are_backed():
    with harness.need_huge_pages(4), Hostmemd() as daemon:
        daemon.qmp.execute("object-add", {
            "qom-type": "memory-backend-memfd", "id": "m0", "size": 8 * MIB,
            "hugetlb": True})
        memdev, = daemon.qmp.execute("query-memdev")
        assert memdev["backed-size"] == 8 * MIB
        assert memdev["populated-size"] == 0


def policies_of_workers(daemon):
    """Scheduling policies of the threads that populate."""
    found = set()
    for task in pathlib.Path(f"/proc/{daemon.pid}/task").iterdir():
        with contextlib.suppress(OSError):
            if (task / "comm").read_text() == "prealloc\n":
                fields = (task / "stat").read_text().rpartition(")")[2]
                found.add(int(fields.split()[38]))
    return found


def test_idle_workers():
    with slow_hostmemd() as daemon:
        add(daemon.qmp, prealloc_priority="idle")
        wait_until(lambda: policies_of_workers(daemon) == {SCHED_IDLE},
                   what="idle workers")


def test_readable():
    with harness.scratch() as folder, Hostmemd() as daemon:
        path = folder / "memory"
        daemon.qmp.execute("object-add", {
            "qom-type": "memory-backend-file", "id": "m0", "size": 4 * MIB,
            "mem-path": str(path), "share": True, "prealloc": True,
            "prealloc-state": "readable"})
        memdev, = daemon.qmp.execute("query-memdev")
        assert memdev["populated-size"] == 4 * MIB
        assert memdev["prealloc-method"] == "fallocate+populate-read"
        assert path.stat().st_blocks * 512 >= 4 * MIB


if __name__ == "__main__":
    harness.main()
