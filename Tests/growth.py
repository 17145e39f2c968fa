"""What a process has of its host, to see whether it grows."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

# What memory may differ by without having grown, in KiB: the C library's heap is taken and given in pieces.
SLACK = 512


@dataclass
class State:
    """What a process has: descriptors, threads, memory in KiB that is its own: what it has written to.

    The pages of its binary are not that; they would be its own or not by who else runs the same one.
    """

    descriptors: int
    threads: int
    memory: int

    @classmethod
    def of(cls, pid, guest_memory=None):
        """What it has now. Of a machine that shares its guest's memory, `guest_memory` is how many bytes of it there
        are: they do not count."""
        # Not the workers of a ring, which the kernel keeps for a while, within bounds.
        tasks = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/comm")]
        threads = sum(not name.startswith("iou-") for name in tasks)
        maps, memory = Path(f"/proc/{pid}/smaps").read_text(), 0
        for mapping in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", maps, flags=re.MULTILINE):
            sizes = {name: int(size) for name, size in re.findall(r"^(\w+): +(\d+) kB$", mapping, re.MULTILINE)}
            if guest_memory is None or sizes.get("Size") != guest_memory >> 10:
                memory += sizes.get("Private_Dirty", 0)
        return cls(len(os.listdir(f"/proc/{pid}/fd")), threads, memory)

    def __str__(self):
        return f"{self.descriptors} fds, {self.threads} threads, {self.memory} KiB"

    def grew(self, before):
        return (
            self.descriptors > before.descriptors or self.threads > before.threads
            or self.memory > before.memory + SLACK
        )
