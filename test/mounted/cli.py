"""cli.py: what test/mounted/cli.sh looks at more closely.

    cli.py keys HELP JSON COMMAND...
        For each command a line: its name, the keys that its JSON (the files
        JSON/COMMAND and JSON/COMMAND.N) has and its help (HELP/COMMAND) does
        not document, and those documented that it never has; '|' between.
    cli.py zsh FPATH WORDS...
        Prints what an interactive zsh makes of each WORDS and a TAB.
    cli.py tty COMMAND...
        Runs it on a pseudo-terminal of 80 columns, and prints what it wrote.
"""
import fcntl
import glob
import json
import os
import pty
import re
import select
import struct
import sys
import termios
import time


def documented(path):
    text = open(path).read().partition("Keys of --json")[2]
    text = text.partition("Mount options:")[0]
    return set(re.findall(r"^  (\S+)$", text, re.M))


def flatten(value, at=""):
    if isinstance(value, dict):
        for key, one in value.items():
            yield from flatten(one, f"{at}.{key}" if at else key)
    elif isinstance(value, list):
        for one in value:
            yield from flatten(one, at + "[]")
    elif at:
        yield at


def values(path):
    text, decoder = open(path).read().strip(), json.JSONDecoder()
    while text:
        value, end = decoder.raw_decode(text)
        yield value
        text = text[end:].strip()


def parents(key):
    return key.rpartition(".")[0]


def keys(help_dir, json_dir, *commands):
    for command in commands:
        known, seen = documented(f"{help_dir}/{command}"), set()
        base = f"{json_dir}/{command}"
        for path in glob.glob(base) + glob.glob(base + ".[0-9]"):
            for value in values(path):
                # A list of what one alone is.
                for one in value if command == "status" and \
                        isinstance(value, list) else [value]:
                    seen |= set(flatten(one))
        unknown = {key for key in seen if key not in known and
            parents(key) + ".*" not in known}
        # An object is seen with what is in it.
        have = seen | {parents(key) for key in seen} | \
            {parents(key) + ".*" for key in seen}
        print(command, " ".join(sorted(unknown)),
            " ".join(sorted(known - have)), sep="|")


class Child:
    def __init__(self, argv, env=None):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            time.sleep(0.1)
            os.execvpe(argv[0], argv, env or os.environ)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ,
            struct.pack("HHHH", 24, 80, 0, 0))

    def read(self, seconds, until=None, idle=None):
        """At most so long, until that was read, or nothing came for idle."""
        out, end = b"", time.monotonic() + seconds
        last = time.monotonic()
        while time.monotonic() < end:
            if idle is not None and out and time.monotonic() > last + idle:
                break
            if select.select([self.fd], [], [], 0.1)[0]:
                last = time.monotonic()
                try:
                    data = os.read(self.fd, 65536)
                except OSError:
                    break
                if not data:
                    break
                out += data
            if until is not None and until in out:
                break
        return out

    def end(self):
        os.close(self.fd)
        os.waitpid(self.pid, 0)


def zsh(fpath, *all_words):
    env = dict(os.environ, TERM="dumb", PS1="", ZDOTDIR="/nonexistent")
    child = Child(["zsh", "-f", "-i"], env)
    child.read(5, idle=0.3)
    for line in (f"fpath=({fpath} $fpath)", "PS1=; unsetopt zle_bracketed_paste",
            "autoload -Uz compinit", "compinit -u -D",
            "zstyle ':completion:*' verbose no", "LISTMAX=1000",
            "setopt list_packed no_beep", "print rea''dy"):
        os.write(child.fd, line.encode() + b"\n")
    child.read(10, b"ready\r")
    child.read(0.3)
    for words in all_words:
        os.write(child.fd, words.encode() + b"\t")
        out = child.read(15, idle=1.5)
        out = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]|\r", b"", out)
        print(out.decode(errors="replace"))
        os.write(child.fd, b"\x15\x0b")
        child.read(1, idle=0.3)
    os.write(child.fd, b"exit\n")
    child.read(2)
    child.end()


def tty(*argv):
    child = Child(list(argv))
    out = child.read(60)
    sys.stdout.write(repr(out)[2:-1].replace("\\r", "\n") + "\n")
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1]))


globals()[sys.argv[1]](*sys.argv[2:])
