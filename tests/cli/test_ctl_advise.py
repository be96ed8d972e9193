# SPDX-License-Identifier: LGPL-2.1-or-later
"""hostmemctl advise and discard, with a real hostmemd."""

import harness
from ctl import ctl, ctl_fails, fake, run_ctl
from harness import MIB, Hostmemd, skip

SIZE = 4 * MIB
MEMFD = "memory-backend-memfd,id=m0,size=4M,prealloc=on"


def memdev(daemon):
    found, = daemon.qmp.execute("query-memdev")
    return found


# discard

def test_discard_ranges():
    with Hostmemd("-object", MEMFD) as daemon:
        assert memdev(daemon)["backed-size"] == SIZE
        assert ctl(daemon, "discard", "m0", "0+1M", "0x200000+1.5M") == ""
        assert memdev(daemon)["backed-size"] == SIZE - 5 * MIB // 2


def test_discard_all():
    with Hostmemd("-object", MEMFD) as daemon:
        ctl(daemon, "discard", "m0", "all")
        assert memdev(daemon)["backed-size"] == 0


def test_discard_needs_ranges():
    """Nobody loses all of it by a word that was left out."""
    with Hostmemd("-object", MEMFD) as daemon:
        ctl_fails(daemon, "discard", "m0", phrases=["RANGE is missing"])
        assert memdev(daemon)["backed-size"] == SIZE


def test_ranges_that_are_none():
    with Hostmemd("-object", MEMFD) as daemon:
        for word in ("", "1M", "+", "1M+", "+1M", "1M+x", "1M+1M+1M", "1M-2M",
                     "0+-1", "0+16777216T", "8388608T+4K"):
            ctl_fails(daemon, "discard", "m0", "0+1M", word,
                      phrases=[f"discard: '{word}' is no range",
                               "OFFSET+LENGTH"])
        ctl_fails(daemon, "discard", "m0", "all", "0+1M",
                  phrases=["'all' is no range"])
        assert memdev(daemon)["backed-size"] == SIZE


def test_the_server_refuses():
    with Hostmemd("-object", MEMFD) as daemon:
        ctl_fails(daemon, "discard", "m0", "3M+2M",
                  phrases=["0x200000 bytes at offset 0x300000", "'m0'",
                           "its size is 4 MiB"])
        ctl_fails(daemon, "discard", "m0", "1+4096",
                  phrases=["'m0'", "not whole pages, which are of 4 KiB"])
        ctl_fails(daemon, "advise", "m0", "cold", "0+0", phrases=["'m0'"])
        for args in ["discard", "m9", "all"], ["advise", "m9", "cold"]:
            ctl_fails(daemon, *args, phrases=["m9"])
        assert memdev(daemon)["backed-size"] == SIZE


# advise

def test_hints_take_nothing_away():
    with Hostmemd("-object", MEMFD) as daemon:
        for advice in "will-need", "cold", "page-out":
            assert ctl(daemon, "advise", "m0", advice) == ""
            assert ctl(daemon, "advise", "m0", advice, "0+1M", "2M+1M") == ""
        assert memdev(daemon)["backed-size"] == SIZE


def test_advice_that_is_none():
    with Hostmemd("-object", MEMFD) as daemon:
        ctl_fails(daemon, "advise", "m0", "free", phrases=["free"])
        ctl_fails(daemon, "advise", "m0", phrases=["ADVICE is missing"])
        ctl_fails(daemon, "advise", "m0", "cold", "1M",
                  phrases=["advise: '1M' is no range"])


def test_collapse_waits_for_its_job():
    with Hostmemd("-object", MEMFD) as daemon:
        result = run_ctl(daemon, "advise", "m0", "collapse", "--wait")
        if "this kernel" in result.stderr or "huge page" in result.stderr:
            skip(result.stderr)
        assert result.returncode == 0 and result.stderr == "", result
        job, = daemon.qmp.execute("query-jobs")
        assert job["id"] == "m0:collapse", job
        assert job["status"] == "concluded", job


def test_a_job_that_fails():
    failed = {"id": "m0:collapse", "type": "collapse", "status": "concluded",
              "current-progress": 1, "total-progress": 2,
              "error": "no huge page could be had"}

    def serve(peer):
        peer.negotiate()
        for answer in SIZE, {"job": "m0:collapse"}, [failed]:
            peer.answer(answer)
        peer.wait_closed()

    with fake(serve) as address:
        ctl_fails(address, "advise", "m0", "collapse", "--wait",
                  phrases=["job 'm0:collapse'", "no huge page could be had"])


if __name__ == "__main__":
    harness.main()
