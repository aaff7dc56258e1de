#!/usr/bin/env python3
"""gnsfs beside the disk below, curl, s3fs, rclone and what else is on PATH.

Each case is a list of contenders; every round runs each of them once, in
turn, so that a slow moment of the machine falls on all.  Printed are every
sample, the medians, and the ratios that are promised, these once more in a
table at the end.  Nothing here passes or fails: it measures.

work.py says what is timed, mounts.py who is asked, link.py is the link of
the cases that have one; the cases are in cases_main.py (the main job),
cases_large.py and cases_small.py (native speed), and cases_clouds.py (the
clouds' own SDKs).
"""
import argparse
import os
import statistics
import subprocess
import sys
import traceback

import mounts
from work import sh, touch_memory

CASES = {}


def case(group, *promises, name=None):
    """A case, under its function's name or another: called with the Bench."""
    def add(fn):
        CASES[name or fn.__name__] = (group, promises, fn)
        return fn
    return add


class Bench:
    def __init__(self, opts):
        self.o = opts
        self.work = opts.work
        self.m = mounts.Mounts(opts.work)
        self.disk = self.m.disk
        self.ratios = []
        self.name = ""

    def size(self, n):
        """So many, or so many MiB, at this scale."""
        return max(1, int(n * self.o.scale))

    def say(self, *words):
        print(*words, flush=True)

    def run(self, titles, unit, contenders, setup=None, touch=0):
        """contenders: name -> function giving a sample, or, where titles is
        a list, one for each (None: has none).  Interleaved; touch: bytes of
        memory that a sample is going to fill.  Medians by name, or a list of
        them."""
        many = titles if isinstance(titles, list) else [titles]
        samples = [{} for _ in many]
        for _ in range(self.o.rounds):
            if setup is not None:
                setup()
            for name, fn in contenders.items():
                touch_memory(touch)
                got = fn()
                for s, x in zip(samples,
                                got if many is titles else [got]):
                    if x is not None:
                        s.setdefault(name, []).append(x)
        medians = [self.show(t, unit, s) for t, s in zip(many, samples)]
        return medians if many is titles else medians[0]

    def show(self, title, unit, samples):
        self.say(f"\n## {title} ({unit}; {self.o.rounds} rounds, "
                 "interleaved)")
        medians = {}
        for name, s in samples.items():
            medians[name] = statistics.median(s)
            self.say(f"  {name:22} median {medians[name]:10.2f}   "
                     + " ".join(f"{x:.2f}" for x in s))
        return medians

    def ratio(self, what, value, least=None, most=None):
        """A figure that is promised: at least, at most, or just a figure."""
        promise, short = "a figure", ""
        if least is not None:
            promise = f"at least {least:g}"
            short = "short" if value < least else ""
        elif most is not None:
            promise = f"at most {most:g}"
            short = "over" if value > most else ""
        self.ratios.append((self.name, what, value, promise, short))
        self.say(f"  => {what}: {value:.3g}   (promised: {promise})")

    def against(self, medians, whom, least=None, most=None, what=""):
        """gnsfs by another contender."""
        if medians.get(whom):
            self.ratio(f"{what}gnsfs / {whom}",
                       medians["gnsfs"] / medians[whom], least, most)

    def best_peer(self, medians, least=None, most=None, what=""):
        """gnsfs by the best of the peers that took part."""
        peers = {n: x for n, x in medians.items() if n in mounts.PEERS}
        if peers:
            whom = (max if most is None else min)(peers, key=peers.get)
            self.against(medians, whom, least, most, what)

    def load(self):
        with open("/proc/loadavg") as f:
            return f.read().strip()

    def clean(self):
        """After a case that broke: nothing of it stays mounted."""
        with open("/proc/self/mounts") as f:
            dirs = [line.split()[1] for line in f
                    if line.split()[1].startswith(self.work + "/")]
        for d in dirs:
            subprocess.run(["umount", "-l", d])

    def main(self, names):
        fs = sh("stat", "-f", "-c", "%T", self.work, text=True).stdout
        self.say(f"# filesystem below: {fs.strip()}; "
                 f"{os.cpu_count()} cores; kernel {os.uname().release}; "
                 f"scale {self.o.scale}; peers: "
                 + " ".join(self.m.peers()))
        self.say("# gnsfs",
                 sh(mounts.GNSFS, "--version", text=True).stdout.strip())
        broken = 0
        for self.name in names:
            self.say(f"\n# {self.name}; load {self.load()}")
            try:
                CASES[self.name][2](self)
            except (OSError, RuntimeError, subprocess.SubprocessError):
                traceback.print_exc()
                broken += 1
                self.clean()
        self.name = "memory"
        self.say("\n## peak resident memory of the daemons (KiB)")
        for name, kib in self.m.peak.items():
            self.say(f"  {name:22} {kib}")
        ours = [k for n, k in self.m.peak.items() if n.startswith("mnt-")]
        if ours:
            self.ratio("the highest of gnsfs, MiB", max(ours) / 1024,
                       most=200)
        self.table()
        self.m.done()
        return broken

    def table(self):
        self.say("\n## what was promised")
        for name, what, value, promise, short in self.ratios:
            self.say(f"  {name:10} {what:44} {value:10.3g}   "
                     f"{promise:14} {short}")


def show_list():
    for name, (group, promises, fn) in CASES.items():
        print(f"{name:10} {group:6} {' '.join(fn.__doc__.split())}")
        for p in promises:
            print(f"{'':18}- {p}")


def main():
    p = argparse.ArgumentParser(prog="bench.sh")
    p.add_argument("--work", default="")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--only", default="", metavar="NAME[,NAME...]",
                   help="cases, or a group of them: main, speed, "
                   "sdk")
    p.add_argument("--scale", type=float, default=1.0)
    p.add_argument("--list", action="store_true")
    o = p.parse_args()
    if o.list:
        return show_list()
    names = [n for n, c in CASES.items()
             if not o.only or n in o.only.split(",")
             or c[0] in o.only.split(",")]
    for n in filter(None, o.only.split(",")):
        if n not in CASES and n not in [c[0] for c in CASES.values()]:
            p.error(f"no case is named {n}: --list")
    return Bench(o).main(names)


if __name__ == "__main__":
    # The cases import this file's names: they must be this module's.
    sys.modules["bench"] = sys.modules["__main__"]
    import cases_main   # noqa: F401
    import cases_large  # noqa: F401
    import cases_small  # noqa: F401
    import cases_clouds  # noqa: F401
    sys.exit(1 if main() else 0)
