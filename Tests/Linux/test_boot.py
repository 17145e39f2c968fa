"""A stock kernel boots to user space: however it is packed, on small and large machines, with ACPI and without."""

import struct

from guest import IMAGES, Guest, copy_image


def loader(guest):
    """Who the kernel says has loaded it: 255 for the 64-bit entry of Linux, 176 for PVH."""
    return int(guest.shell("cat /proc/sys/kernel/bootloader_type"))


def end(guest):
    """Powers the guest off from its shell."""
    guest.type("exit\n")
    assert guest.wait() == 0
    assert "Fatal" not in guest.errors, guest.errors


def test_bzimage_and_initramfs_alone(work):
    with Guest(work, append="apus.run=report,shell") as guest:
        facts = guest.facts()
        assert facts["CPUS"] == ["1"] and facts["TABLES"] == ["acpi"], facts
        assert 200 << 10 < int(facts["MEMORY"][0].split()[0]) <= 256 << 10, facts
        assert facts["ROOT"][0].startswith("rootfs"), facts
        assert "DISK" not in facts, facts
        assert "virtio_mmio.device" not in facts["CMDLINE"][0], facts
        assert loader(guest) >> 4 == 15
        # Nothing on this board takes long to be found out about.
        assert float(facts["USERSPACE"][0]) < 60, facts
        guest.shell("! dmesg | grep -iE 'unable to calibrate|BUG:|Oops'")
        end(guest)


def test_elf_by_its_pvh_note_with_root_on_disk_and_two_cpus(work):
    disk = copy_image("root.ext4", work)
    append = "root=/dev/vda rw apus.run=report,shell"
    with Guest(work, kernel="vmlinux", append=append, cpus=2, disks=[disk]) as guest:
        facts = guest.facts()
        assert facts["CPUS"] == ["2"] and facts["TABLES"] == ["acpi"], facts
        assert facts["ROOT"] == ["/dev/vda ext4 rw"], facts
        assert facts["DISK"] == ["vda 131072 sectors rw serial="], facts
        assert loader(guest) >> 4 == 11
        end(guest)


def test_elf_by_its_64_bit_entry_with_four_cpus(work):
    with Guest(work, kernel=without_pvh(work), append="apus.run=report,shell", cpus=4) as guest:
        facts = guest.facts()
        assert facts["CPUS"] == ["4"], facts
        assert loader(guest) >> 4 == 15
        # All in one package, each a core, as the command line had it; and each gets its work done.
        packages = guest.shell("cat /sys/devices/system/cpu/cpu*/topology/physical_package_id | sort -u | wc -l")
        assert packages.strip() in ("1", "4"), packages
        for cpu in range(4):
            guest.shell(f"taskset -c {cpu} true")
        end(guest)


def without_pvh(work):
    """A copy of the ELF kernel whose note of a PVH entry is of a type that nobody knows."""
    image = bytearray((IMAGES / "vmlinux").read_bytes())
    table, size, count = struct.unpack_from("<Q14xHH", image, 32)
    found = 0
    for index in range(count):
        kind, _, start, _, _, length = struct.unpack_from("<IIQQQQ", image, table + index * size)
        position, last = start, start + length
        while kind == 4 and position < last:
            name, description, number = struct.unpack_from("<III", image, position)
            if image[position + 12 : position + 16] == b"Xen\0" and number == 18:
                struct.pack_into("<I", image, position + 8, 0x7F00)
                found += 1
            position += 12 + (name + 3 & ~3) + (description + 3 & ~3)
    assert found == 1
    path = work / "vmlinux-without-pvh"
    path.write_bytes(image)
    return path


def test_without_acpi(work):
    """The command line tells of the disk, and nothing else does; the keyboard controller resets.

    Debian's kernel reads neither MP tables nor that text: it has one processor then, and no disk.
    """
    disk = copy_image("root.ext4", work)
    append = "acpi=off reboot=k apus.run=report,shell apus.end=reboot"
    with Guest(work, append=append, disks=[disk]) as guest:
        facts = guest.facts()
        assert facts["TABLES"] == ["none"], facts
        assert "virtio_mmio.device=512@0xf0100000:5" in facts["CMDLINE"][0], facts
        # The serial port says this by its interrupt.
        assert int(guest.shell("awk '/ttyS0/ { print $2 + $3 }' /proc/interrupts")) > 0
        qmp = guest.qmp
        guest.type("exit\n")
        assert qmp.wait_event("RESET")["data"] == {"guest": True}
        assert qmp.wait_event("SHUTDOWN")["data"] == {"guest": True, "reason": "guest-shutdown"}
        assert guest.wait() == 0


def test_as_many_devices_as_there_are_interrupt_lines(work):
    """19 with ACPI; each is found, and has its driver."""
    disks = []
    for number in range(6):
        path = work / f"disk{number}"
        path.write_bytes(bytes(1 << 20))
        disks.append(path)
    options = ["-device", "virtio-balloon-device,id=balloon", "-device", "virtio-serial-device,id=bus"]
    for number in range(11):
        options += ["-object", f"rng-random,id=source{number},filename=/dev/urandom"]
        options += ["-device", f"virtio-rng-device,rng=source{number},id=rng{number}"]
    with Guest(work, *options, disks=disks) as guest:
        drivers = guest.shell("ls -d /sys/bus/virtio/devices/virtio*/driver | wc -l")
        assert int(drivers) == 19, drivers
        # The last one works: the guest's driver has asked it for entropy.
        assert "virtio_rng.10" in guest.shell("cat /sys/class/misc/hw_random/rng_available")
        guest.shell("echo virtio_rng.10 >/sys/class/misc/hw_random/rng_current; head -c 64 /dev/hwrng | wc -c | grep 64")
        end(guest)


def test_memory_above_4_gib(work):
    with Guest(work, append="apus.run=report,shell", memory="6G") as guest:
        facts = guest.facts()
        assert 5.7 * (1 << 20) < int(facts["MEMORY"][0].split()[0]) <= 6 << 20, facts
        ranges = guest.shell("grep 'System RAM' /proc/iomem")
        ends = [int(line.split(" :")[0].split("-")[1], 16) for line in ranges.splitlines()]
        assert max(ends) == (6 << 30) + (1 << 30) - 1, ranges
        # Memory there keeps what is written: the kernel gives it out first.
        guest.shell("dd if=/dev/urandom of=/tmp/a bs=1M count=16 2>/dev/null; cp /tmp/a /tmp/b; cmp /tmp/a /tmp/b")
        end(guest)
