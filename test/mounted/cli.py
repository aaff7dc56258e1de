"""cli.py: what test/mounted/cli.sh looks at more closely.

    cli.py keys COMMAND HELP JSON...
        Every key that the JSON of the command has is one that its help
        documents.  Adds those seen to JSON's folder, seen.COMMAND.
    cli.py unseen COMMAND HELP SEEN
        Prints the keys that are documented and were never seen.
    cli.py zsh FPATH WORDS
        Prints what an interactive zsh makes of WORDS and a TAB.
    cli.py tty COMMAND...
        Runs it on a pseudo-terminal of 80 columns, and prints what it wrote.
"""
import fcntl
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


def allowed(key, known):
    return key in known or key.rpartition(".")[0] + ".*" in known


def keys(command, help_path, *paths):
    known, seen = documented(help_path), set()
    for path in paths:
        for value in values(path):
            # A list of what one alone is.
            for one in value if command == "status" and isinstance(value,
                    list) else [value]:
                seen |= set(flatten(one))
    unknown = sorted(key for key in seen if not allowed(key, known))
    where = os.path.join(os.path.dirname(paths[0]), "seen." + command)
    with open(where, "a") as out:
        out.writelines(key + "\n" for key in sorted(seen))
    if unknown:
        sys.exit(f"{command} prints and does not document {unknown}")


def unseen(command, help_path, seen_path):
    seen = set(open(seen_path).read().split())
    seen |= {key.rpartition(".")[0] + ".*" for key in seen}
    # A parent is seen with what is in it.
    seen |= {key.rpartition(".")[0] for key in seen}
    print(" ".join(sorted(documented(help_path) - seen)))


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


def zsh(fpath, words):
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
    os.write(child.fd, words.encode() + b"\t")
    out = child.read(10, idle=1.5)
    os.write(child.fd, b"\x03exit\n")
    child.read(2)
    child.end()
    print(re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", out).decode(
        errors="replace").replace("\r", ""))


def tty(*argv):
    child = Child(list(argv))
    out = child.read(60)
    sys.stdout.write(repr(out)[2:-1].replace("\\r", "\n") + "\n")
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1]))


globals()[sys.argv[1]](*sys.argv[2:])
