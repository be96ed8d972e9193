# SPDX-License-Identifier: LGPL-2.1-or-later
"""What somebody at a terminal sees: as much of a VT100 as programs here use.

    screen = Screen(columns=80)
    screen.feed("abc\\r\\x1b[2GX")
    assert screen.rows() == ["aXc"]
"""

import re

CONTROL = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z@])|\x1b[=>78]|(.)", re.DOTALL)


class Screen:
    """Rows without an end: nothing scrolls away."""

    def __init__(self, columns=80):
        self._columns = columns
        self._rows = [[]]
        self._row = 0
        self._column = 0
        self._rest = ""

    def rows(self):
        """Their text, without blanks at the end."""
        return ["".join(row).rstrip() for row in self._rows]

    def row(self):
        """The text of that with the cursor, up to the cursor and whole."""
        line = "".join(self._rows[self._row])
        return line[:self._column], line.rstrip()

    def feed(self, text):
        text = self._rest + text
        # A sequence may come in two parts.
        match = re.search(r"\x1b(\[[?0-9;]*)?\Z", text)
        self._rest = match.group() if match else ""
        for match in CONTROL.finditer(text, 0, len(text) - len(self._rest)):
            numbers, command, character = match.groups()
            if character:
                self._character(character)
            elif command and not numbers.startswith("?"):
                first = numbers.split(";")[0]
                self._command(command, int(first) if first else None)

    def _character(self, character):
        if character == "\r":
            self._column = 0
        elif character == "\n":
            self._row += 1
            if self._row == len(self._rows):
                self._rows.append([])
        elif character == "\b":
            self._column = max(0, self._column - 1)
        elif character >= " ":
            self._put(character)

    def _put(self, character):
        if self._column == self._columns:
            self._character("\r")
            self._character("\n")
        row = self._rows[self._row]
        row.extend(" " * (self._column + 1 - len(row)))
        row[self._column] = character
        self._column += 1

    def _command(self, command, number):
        row = self._rows[self._row]
        count = number or 1
        if command == "A":
            self._row = max(0, self._row - count)
        elif command == "B":
            for _ in range(count):
                self._character("\n")
        elif command == "C":
            self._column = min(self._columns - 1, self._column + count)
        elif command == "D":
            self._column = max(0, self._column - count)
        elif command == "G":
            self._column = count - 1
        elif command == "K" and not number:
            del row[self._column:]
        elif command == "J" and not number:
            del row[self._column:]
            del self._rows[self._row + 1:]
        elif command == "P":
            del row[self._column:self._column + count]
        elif command == "@":
            row[self._column:self._column] = " " * count
        elif command not in "mhlr":
            raise ValueError(f"unknown sequence: {number} {command}")
