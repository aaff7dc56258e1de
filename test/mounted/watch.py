"""watch.py: runs `gnsfs status --watch` on a pseudo-terminal, as a small
terminal of its own, and says what is on its screen.

    watch.py GNSFS DIR COLSxROWS HOW [COLSxROWS]

HOW is q, INT or TERM: how it ends, after the last size (it begins with the
first).  Prints the screen as it was before the end.  Fails where a character
falls outside the screen, a line scrolls, an escape sequence is not one of the
few that are known, or the terminal is not left as it was found.
"""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
import unicodedata

KNOWN = re.compile(rb"\x1b\[(\?1049[hl]|\?25[hl]|(\d+);1H|2K|J)")


def wide(char):
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


class Screen:
    def __init__(self, cols, rows):
        self.resize(cols, rows)
        self.row = self.col = 0
        self.alternate = self.hidden = False
        self.draws = 0
        self.later = None       # a size, and from which draw on it holds

    def resize(self, cols, rows):
        self.cols, self.rows = cols, rows
        self.lines = [""] * rows

    def resize_later(self, cols, rows):
        """The next draw may have begun before: either size will do."""
        self.later = (self.draws + 2, cols, rows)
        self.resize(max(cols, self.cols), max(rows, self.rows))

    def control(self, seq):
        if seq in (b"?1049h", b"?1049l"):
            self.alternate = seq.endswith(b"h")
        elif seq in (b"?25h", b"?25l"):
            self.hidden = seq.endswith(b"l")
        elif seq == b"2K":
            self.lines[self.row] = ""
        elif seq == b"J":
            self.lines[self.row:] = [""] * (self.rows - self.row)
        else:
            self.row, self.col = int(seq.split(b";")[0]) - 1, 0
            self.draws += self.row == 0
            if self.later is not None and self.draws == self.later[0]:
                self.resize(*self.later[1:])
                self.later = None
            if self.row >= self.rows:
                sys.exit(f"row {self.row + 1} of {self.rows}")

    def text(self, text):
        for char in text:
            if not char.isprintable():
                sys.exit(f"{char!r} in {text!r}")
            self.col += wide(char)
            if self.col > self.cols:
                sys.exit(f"column {self.col} of {self.cols}: {text!r}")
        self.lines[self.row] += text

    def feed(self, data):
        """Returns what is not a whole sequence yet."""
        while data:
            if data[:1] == b"\x1b":
                match = KNOWN.match(data)
                if match is None:
                    if len(data) < 12:
                        return data
                    sys.exit(f"unknown sequence {data[:12]!r}")
                self.control(match.group(1))
                data = data[match.end():]
                continue
            end = data.find(b"\x1b")
            end = len(data) if end < 0 else end
            try:
                self.text(data[:end].decode())
            except UnicodeDecodeError:
                return data
            data = data[end:]
        return b""


def size(arg):
    return tuple(int(n) for n in arg.split("x"))


def set_size(fd, cols, rows):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))


def main():
    program, mount, first, how = sys.argv[1:5]
    sizes = [size(arg) for arg in [first] + sys.argv[5:]]
    pid, fd = pty.fork()
    if pid == 0:
        time.sleep(0.2)         # until the size is set
        os.execv(program, [program, "status", mount, "--watch"])
    set_size(fd, *sizes[0])
    found = termios.tcgetattr(fd)
    screen = Screen(*sizes[0])
    rest = b""

    def run(seconds, draws):
        """Until so many more screens were drawn."""
        nonlocal rest
        end, want = time.monotonic() + seconds, screen.draws + draws
        while screen.draws < want:
            if time.monotonic() > end:
                sys.exit(f"{screen.draws} screens, not {want}: {rest!r}")
            if select.select([fd], [], [], 0.1)[0]:
                rest = screen.feed(rest + os.read(fd, 65536))

    run(10, 2)
    for cols, rows in sizes[1:]:
        screen.resize_later(cols, rows)
        set_size(fd, cols, rows)
        run(10, 3)
    if select.select([fd], [], [], 0.2)[0]:
        rest = screen.feed(rest + os.read(fd, 65536))
    if not screen.alternate or not screen.hidden:
        sys.exit("it is not a screen of its own")
    print("\n".join(line.rstrip() for line in screen.lines))
    # It ends: the terminal is as it was.
    begun = time.monotonic()
    if how == "q":
        os.write(fd, b"q")
    else:
        os.kill(pid, getattr(signal, "SIG" + how))
    while True:
        if time.monotonic() > begun + 5:
            sys.exit(f"no end by {how}")
        if select.select([fd], [], [], 0.1)[0]:
            try:
                data = os.read(fd, 65536)
            except OSError:     # it has ended
                data = b""
            if not data:
                break
            rest = screen.feed(rest + data)
    status = os.waitpid(pid, 0)[1]
    if rest or screen.alternate or screen.hidden:
        sys.exit(f"the terminal is not restored: {rest!r}")
    if how == "q" and status != 0:
        sys.exit(f"status {status}")
    if how != "q" and os.WTERMSIG(status) != getattr(signal, "SIG" + how):
        sys.exit(f"status {status} by {how}")
    if termios.tcgetattr(fd)[3] != found[3]:
        sys.exit("the terminal's mode is not what it was")


main()
