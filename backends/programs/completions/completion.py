#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Write the bash completion of a program, as its own --help tells its options.

completion.py PROGRAM NAME >NAME

What follows -object and -device is what hostmemctl knows to complete.
"""

import re
import subprocess
import sys

OPTION = re.compile(r"^  (?:(?P<letter>-\w), )?(?P<name>--?[a-z][\w-]*)", re.M)
WORDS = re.compile(r"^Usage:\s.*\[([a-z]+(?:\|[a-z]+)+)\]", re.S)

SCRIPT = r"""# bash completion of @NAME@, made from its --help.
@FUNCTION@()
{
    local line=${COMP_LINE:0:COMP_POINT} word words current before previous
    local IFS=$' \t\n'
    read -ra words <<<"$line"
    [[ $line == *[[:blank:]] ]] && words+=("")
    current=${words[-1]}
    previous=${words[-2]}
    # What bash takes for a word begins behind these.
    before=${current%"${current##*[$COMP_WORDBREAKS]}"}
    COMPREPLY=()
    words=(@WORDS@)
    case $previous in
    -object | --object)
        words=($(hostmemctl complete -- add "$current" 2>/dev/null))
        ;;
    -device | --device)
        words=($(hostmemctl complete -- add --device "$current" 2>/dev/null))
        ;;
    *)
        [[ $current == -* ]] && words=(@OPTIONS@)
        ;;
    esac
    for word in "${words[@]}"; do
        if [[ $word == "$current"* ]]; then
            [[ $word == *[=,] ]] && compopt -o nospace 2>/dev/null
            COMPREPLY+=("${word#"$before"}")
        fi
    done
}
complete -o default -F @FUNCTION@ @NAME@
"""


def main():
    program, name = sys.argv[1:]
    text = subprocess.check_output([program, "--help"], text=True)
    options = [word for match in OPTION.finditer(text)
               for word in match.groups() if word]
    words = WORDS.search(text)
    values = {
        "NAME": name,
        "FUNCTION": "_" + name.replace("-", "_"),
        "OPTIONS": " ".join(options),
        "WORDS": words[1].replace("|", " ") if words else "",
    }
    print(re.sub(r"@(\w+)@", lambda match: values[match[1]], SCRIPT), end="")


main()
