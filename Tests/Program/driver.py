"""A guest that drives virtio devices by a list made here: it sets registers and words of memory, and waits for words of
memory, one after another. What it needs in its memory, rings and buffers, is part of its image."""

import struct
from collections import namedtuple

from tiny import IDLE

# Where a raw kernel is loaded and entered, and the registers of the first device.
BASE, WINDOW, SLOT_SIZE = 0x100_0000, 0xF010_0000, 0x200

# 1: lea list(%rip), %rbx; 2: mov (%rbx), %eax; mov 8(%rbx), %rdx; mov 16(%rbx), %ecx; add $24, %rbx; dec %eax;
# jz 3f; dec %eax; jz 4f; hlt; jmp to it; 3: mov %ecx, (%rdx); jmp 2b; 4: cmp %cx, (%rdx); jne 4b; jmp 2b
CODE = (
    b"\x48\x8d\x1d\xf9\x00\x00\x00\x8b\x03\x48\x8b\x53\x08\x8b\x4b\x10\x48\x83\xc3\x18\xff\xc8\x74\x07\xff\xc8\x74\x07"
    + IDLE
    + b"\x89\x0a\xeb\xe4\x66\x39\x0a\x75\xfb\xeb\xdd"
)
LIST, MEMORY = 0x100, 0x4000

READABLE, WRITABLE = 0, 2
VERSION_1 = 1


# What a script has placed, for a buffer of several chains.
Buffer = namedtuple("Buffer", ["address", "length"])


class Script:
    """The guest; `code` when it is complete."""

    def __init__(self):
        self._steps = []
        self._memory = b""

    def store(self, address, value):
        self._steps.append((1, address, value))

    def wait(self, address, value):
        """Waits until the two bytes at the address have this value."""
        self._steps.append((2, address, value))

    def place(self, data):
        """Has these bytes in memory; their address."""
        self._memory += bytes(-len(self._memory) % 16)
        address = BASE + MEMORY + len(self._memory)
        self._memory += data
        return address

    @property
    def code(self):
        steps = b"".join(struct.pack("<QQQ", *step) for step in self._steps) + bytes(24)
        assert LIST + len(steps) <= MEMORY
        return (CODE.ljust(LIST, b"\0") + steps).ljust(MEMORY, b"\0") + self._memory


class Queue:
    """A queue of eight entries, whose chains are offered one by one; again from the first, if eight is a multiple of
    how many there are."""

    SIZE = 8

    def __init__(self, script, registers, index, chains):
        self._script, self._registers, self._index = script, registers, index
        table, heads, self._offered = [], [], 0
        for chain in chains:
            heads.append(len(table))
            for number, (buffer, direction) in enumerate(chain):
                if not isinstance(buffer, Buffer):
                    data = bytes(buffer) if isinstance(buffer, int) else buffer
                    buffer = Buffer(script.place(data), len(data))
                more = number + 1 < len(chain)
                table.append((*buffer, direction | more, len(table) + 1 if more else 0))
        assert len(table) <= self.SIZE
        self._descriptors = script.place(b"".join(struct.pack("<QIHH", *entry) for entry in table).ljust(16 * self.SIZE))
        # Behind the last comes the first again.
        ring = [heads[place % len(heads)] if heads else 0 for place in range(self.SIZE)]
        self._available = script.place(struct.pack("<HH8H", 0, 0, *ring))
        self.used = script.place(bytes(6 + 8 * self.SIZE))

    def set_up(self):
        store, at = self._script.store, self._registers
        for register, value in [
            (0x30, self._index), (0x38, self.SIZE), (0x80, self._descriptors), (0x90, self._available),
            (0xA0, self.used), (0x44, 1),
        ]:  # fmt: skip
            store(at + register, value)

    def offer(self, count=1):
        """Offers so many chains more."""
        self._offered += count
        self._script.store(self._available, self._offered << 16)
        self._script.store(self._registers + 0x50, self._index)

    def offer_nonsense(self):
        """Offers a chain that is none."""
        self._script.store(self._available + 4 + 4 * (self._offered // 2), 0xFFFF_FFFF)
        self.offer()

    def wait(self, count):
        """Waits until so many chains have come back."""
        self._script.wait(self.used + 2, count)


class Device:
    """The device in a slot, and its queues by their chains: lists of (bytes, length or buffer, direction)."""

    def __init__(self, script, slot, queues, features=0):
        at = WINDOW + slot * SLOT_SIZE
        self.queues = {index: Queue(script, at, index, chains) for index, chains in queues.items()}
        for register, value in [
            (0x70, 0), (0x70, 1), (0x70, 3), (0x24, 1), (0x20, VERSION_1), (0x24, 0), (0x20, features), (0x70, 11),
        ]:  # fmt: skip
            script.store(at + register, value)
        for queue in self.queues.values():
            queue.set_up()
        script.store(at + 0x70, 15)
