# SPDX-License-Identifier: LGPL-2.1-or-later
"""Run a test program with exactly so many free huge pages of 2 MiB.

with_huge_pages.py COUNT PROGRAM [ARGUMENT]...
"""

import signal
import subprocess
import sys

from harness import die_with_parent
from hostenv import Skip, need_huge_pages


def main():
    count, *command = sys.argv[1:]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with need_huge_pages(int(count)):
            return subprocess.run(command, check=False,
                                  preexec_fn=die_with_parent).returncode
    except Skip as reason:
        print(f"1..0 # SKIP {reason}")
        return 0


if __name__ == "__main__":
    sys.exit(main())
