# SPDX-License-Identifier: LGPL-2.1-or-later
"""Rules over files, reported as TAP: one line a rule."""

import sys


def run(*rules):
    """Run each rule and exit.

    A rule is a function whose doc string names it.  It yields a complaint for
    each offence, or raises Skip with the reason why it cannot look.
    """
    print(f"1..{len(rules)}")
    failed = False
    for number, rule in enumerate(rules, 1):
        name = rule.__doc__
        try:
            complaints = list(rule())
        except Skip as reason:
            print(f"ok {number} - {name} # SKIP {reason}")
            continue
        print(f"{'not ok' if complaints else 'ok'} {number} - {name}")
        for complaint in complaints:
            print(f"# {complaint}", file=sys.stderr)
        failed |= bool(complaints)
    sys.exit(failed)


class Skip(Exception):
    """This host cannot check the rule."""
