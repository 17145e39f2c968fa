"""What the threads of a process do under its filters, and what these would allow: both out of a trace of strace, which
sees every call, and the filters as the kernel gets them."""

import re
import shutil
import time
from pathlib import Path

from harness import Skip
from monitor import PATIENCE

LOAD, JUMP, RETURN = 0x20, 0x05, 0x06
ALLOW = 0x7FFF_0000
ARCHITECTURE, X86_64 = 4, 0xC000_003E

CALL = re.compile(r"^(\d+) +\[ *(\d+)\] (\w+)\((.*)")
INSTRUCTION = re.compile(r"BPF_(?:STMT|JUMP)\(([^)]*)\)")


class Filter:
    """A program of classic BPF. What it allows has a name: the call's number, and the arguments that were found to be
    equal to something, each with its position."""

    def __init__(self, text):
        self._program = []
        for words in INSTRUCTION.findall(text):
            codes, *numbers = words.split(",")
            code = sum(int(part, 0) for part in codes.split("|"))
            self._program.append((code, *(int(number, 0) for number in numbers), *[0] * (3 - len(numbers))))
        assert self._program

    def allowed(self):
        """The names of all that the filter allows."""
        return set(self._walk(0, None, {ARCHITECTURE: X86_64}, {}))

    def name(self, number, arguments):
        """The name of what allows this call; None if it is forbidden."""
        words = {0: number, ARCHITECTURE: X86_64}
        words |= {16 + 8 * index: argument & 0xFFFF_FFFF for index, argument in enumerate(arguments)}
        found = list(self._walk(0, None, words, {}, free=False))
        return found[0] if found else None

    def _walk(self, at, loaded, words, equal, free=True):
        """Follows every way from an instruction on, for words that are known, and with `free` for all values of others."""
        while True:
            code, value, yes, no = self._program[at]
            if code == RETURN | 0:
                if value == ALLOW:
                    number = words.get(0, equal.get(0))
                    yield number, tuple(((o - 16) // 8, v) for o, v in sorted(equal.items()) if o >= 16)
                return
            if code == LOAD:
                loaded, at = value, at + 1
                continue
            kind = code & 0xF0
            assert code & 0x07 == JUMP, hex(code)
            if kind == 0x00:
                at += 1 + value
                continue
            word = words.get(loaded, equal.get(loaded))
            if word is None and free:
                # The value is free: both ways, and the one of equality has told what it is.
                known = {**equal, loaded: value} if kind == 0x10 else equal
                yield from self._walk(at + 1 + yes, loaded, words, known)
                at += 1 + no
                continue
            truth = {0x10: word == value, 0x30: word >= value, 0x40: word & value != 0}[kind]
            if kind == 0x10 and truth:
                equal = {**equal, loaded: value}
            at += 1 + (yes if truth else no)


class Trace:
    """A trace that is being written. To be given to `Tiny` as `under`."""

    def __init__(self, path):
        if not shutil.which("strace"):
            raise Skip("there is no strace")
        self._path = Path(path)
        self.under = ["strace", "-D", "-f", "-n", "-v", "-q", "-X", "raw"]
        self.under += ["-e", "signal=none", "-e", "raw=!seccomp,prctl", "-o", str(path)]

    def read(self, pid):
        """Waits for the end of the process and of its trace; its calls under a filter, as (the name that the
        thread had when it got the filter, filter, number, call's name, arguments)."""
        deadline = time.monotonic() + PATIENCE
        while not re.search(rf"^{pid} .*\+\+\+ exited", text := self._path.read_text(), re.MULTILINE):
            assert time.monotonic() < deadline, text[-1000:]
            time.sleep(0.01)
        names, filters, calls = {}, {}, []
        for line in text.splitlines():
            if not (found := CALL.match(line)):
                continue
            thread, number, name, rest = found.groups()
            if thread in filters:
                arguments = [int(word, 0) for word in re.findall(r"(?:^|, )(0x[0-9a-f]+|\d+)", rest.split(")")[0])]
                calls.append((names.get(thread, "main"), filters[thread], int(number), name, arguments))
            elif name == "prctl" and (title := re.match(r'0xf, "([^"]*)"', rest)):
                names[thread] = title[1]
            elif name == "seccomp" and "filter=[" in rest:
                filters[thread] = Filter(rest)
        return calls
