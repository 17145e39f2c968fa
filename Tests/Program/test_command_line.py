"""What apus says to a command line that it does not start, and that nothing is left of the attempt."""

import fcntl
import os
import shlex
import socket
import struct
import subprocess
from pathlib import Path

from harness import TOP
from monitor import APUS
from tiny import IDLE, Tiny


def run(work, *arguments, **more):
    """Runs apus to its end; it with its output, as text."""
    return subprocess.run(
        [APUS, *(str(argument) for argument in arguments)],
        capture_output=True, stdin=subprocess.DEVNULL, text=True, cwd=work, timeout=60, **more,
    )


def refused(work, message, *arguments, **more):
    """Sees that apus refuses the command line with this one message, and changes nothing in the folder."""
    before = files(work)
    ran = run(work, *arguments, **more)
    found = (ran.returncode, ran.stdout, ran.stderr)
    told = f"{shlex.join(map(str, arguments))}\nwanted: {message}\nfound: {found}"
    assert found == (1, "", f"apus: {message}\n"), told
    assert files(work) == before, f"left behind: {set(files(work)) - set(before)}"


def files(folder):
    return {path.name: path.stat(follow_symlinks=False).st_size for path in Path(folder).iterdir()}


def test_bad_command_lines(work):
    lines = (TOP / "Tests/Linux/bad-command-lines.txt").read_text().splitlines()
    cases = [line.split(" => ") for line in lines if line and not line.startswith("#")]
    assert len(cases) >= 60, len(cases)
    wrong = []
    for arguments, message in cases:
        try:
            refused(work, message.removeprefix("apus: "), *shlex.split(arguments))
        except AssertionError as error:
            wrong.append(str(error))
    assert not wrong, f"{len(wrong)} of {len(cases)}:\n" + "\n".join(wrong)


def test_help_and_version(work):
    told = run(work, "-version")
    assert (told.returncode, told.stderr) == (0, "") and told.stdout.startswith("apus "), told
    told = run(work, "-help")
    assert (told.returncode, told.stderr) == (0, "") and told.stdout.startswith(run(work, "-version").stdout.strip())
    for word in ("-kernel", "virtio-blk-device", "iothread", "Not supported yet"):
        assert word in told.stdout, word


def test_output_that_nobody_takes(work):
    # A reader that has gone away is no reason to crash.
    reading, writing = os.pipe()
    os.close(reading)
    ran = subprocess.run([APUS, "-help"], stdout=writing, stderr=subprocess.PIPE, cwd=work, timeout=60)
    os.close(writing)
    assert ran.returncode in (0, 1, -13) and b"Fatal" not in ran.stderr, ran


def test_files_that_cannot_be_used(work):
    """Files of every option that are missing, of the wrong kind, or broken."""
    options = Tiny.files(work)
    kernel, initrd = options[:2], options[2:]
    qmp = ["-qmp", f"unix:{work}/qmp,server,nowait"]
    (work / "folder").mkdir()
    (work / "file").write_bytes(bytes(1000))
    (work / "empty").touch()
    os.mkfifo(work / "fifo")
    with open(work / "huge", "w") as file:
        file.truncate(100 << 30)
    no_entry = "No such file or directory"

    def disk(name, *keys):
        return ["-drive", ",".join([f"id=a,file={name}", *keys]), "-device", "virtio-blk-device,drive=a"]

    cases = [
        ("-kernel nope: file: cannot be read: " + no_entry, "-kernel", "nope", *initrd),
        ("-kernel folder: file: is a directory, not a regular file", "-kernel", "folder", *initrd),
        ("-kernel fifo: file: is a fifo, not a regular file", "-kernel", "fifo", *initrd),
        ("-kernel empty: file: is empty", "-kernel", "empty", *initrd),
        (
            "-kernel huge: size of the raw binary: 0x1900000000 bytes at 0x1000000 are not inside the RAM for kernels, "
            "0x100000 to 0x10000000",
            "-kernel", "huge", *initrd,
        ),
        ("-initrd nope: file: cannot be read: " + no_entry, *kernel, "-initrd", "nope"),
        ("-initrd folder: file: is a directory, not a regular file", *kernel, "-initrd", "folder"),
        (
            "-initrd huge: size: 0x1900000000 bytes do not fit the RAM below 0x10000000; more memory may help",
            *kernel, "-initrd", "huge",
        ),
        ("-drive id=a: image 'nope': " + no_entry, *kernel, *disk("nope")),
        ("-drive id=a: image 'folder': Is a directory", *kernel, *disk("folder")),
        (
            "-drive id=a: image 'folder': is neither a regular file nor a block device",
            *kernel, *disk("folder", "readonly=on", "direct=off"),
        ),
        (
            "-drive id=a: image 'fifo': is neither a regular file nor a block device",
            *kernel, *disk("fifo", "direct=off"),
        ),
        (
            "-drive id=a: image '/dev/zero': is neither a regular file nor a block device",
            *kernel, *disk("/dev/zero", "direct=off"),
        ),
        (
            "-drive id=a: image 'file': its size of 1000 bytes is not a multiple of 512, which direct=on requires; "
            "resize it or use direct=off",
            *kernel, *disk("file"),
        ),
        ("-D /nope/log: cannot open the log: " + no_entry, *options, "-D", "/nope/log"),
        (f"-D {work}/folder: cannot open the log: Is a directory", *options, "-D", f"{work}/folder"),
        (
            "-serial: cannot write to '/nope/out': " + no_entry,
            *options, "-serial", "file,path=/nope/out",
        ),
        (
            f"-serial: cannot listen at '{work}/file': a file that is not a socket is there; remove it "
            "or pass another path",
            *options, "-serial", f"socket,path={work}/file,server,nowait",
        ),
        (
            f"-serial: cannot listen at '/nope/socket': {no_entry}",
            *options, "-serial", "socket,path=/nope/socket,server,nowait",
        ),
        (f"-mem-path {work}/nope/memory: {no_entry}", *options, "-mem-path", f"{work}/nope/memory"),
        (
            f"-mem-path {work}/file: the file has 1000 bytes, -m wants 268435456",
            *options, "-mem-path", f"{work}/file",
        ),
        ("-mem-path /dev/zero: is neither a directory nor a regular file", *options, "-mem-path", "/dev/zero"),
    ]
    for message, *arguments in cases:
        refused(work, message, *arguments, *qmp)


def test_image_used_twice(work):
    # By two names, which the command line alone does not tell.
    options = Tiny.files(work)[:2] + ["-qmp", f"unix:{work}/qmp,server,nowait"]
    (work / "image").write_bytes(bytes(4096))
    os.link(work / "image", work / "again")
    for name in ("image", "again"):
        options += ["-drive", f"id={name},file={name},direct=off", "-device", f"virtio-blk-device,drive={name}"]
    refused(
        work,
        "-drive id=again: 'again' is also the image of -drive id=image; use it once, or readonly=on in both",
        *options,
    )


def test_image_that_another_program_locked(work):
    (work / "image").write_bytes(bytes(4096))
    with open(work / "image", "r+b") as image:
        start = Tiny.files(work)[:2] + ["-qmp", f"unix:{work}/qmp,server,nowait"]
        start += ["-device", "virtio-blk-device,drive=a", "-drive", "id=a,file=image,direct=off"]
        for byte, kind in ((101, "write"), (202, "write"), (101, "read")):
            fcntl.fcntl(image, fcntl.F_SETLK, struct.pack("hhqqi", fcntl.F_UNLCK, 0, 0, 0, 0))
            fcntl.lockf(image, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
            refused(
                work,
                f"-drive id=a: image 'image': failed to get the {kind} lock: another process uses it; end that "
                "process, or use readonly=on in both",
                *start[:-1], start[-1] + (",readonly=on" if kind == "read" else ""),
            )


def test_broken_kernels(work):
    """A bzImage and an ELF file that were cut at every place that matters."""
    qmp = [*Tiny.files(work)[2:], "-qmp", f"unix:{work}/qmp,server,nowait"]
    setup = bytearray(0x400)
    setup[0x1F1] = 1  # setup_sects
    setup[0x1FE:0x200] = b"\x55\xaa"
    setup[0x201] = 0x66  # the header's end
    setup[0x202:0x206] = b"HdrS"
    setup[0x206:0x208] = struct.pack("<H", 0x20F)
    setup[0x211] = 1  # LOADED_HIGH
    setup[0x236] = 3  # XLF_KERNEL_64, at or above 4 GiB
    setup[0x1F4:0x1F8] = struct.pack("<I", 0x1000)
    elf = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 2, 62, 1, 0x1000000, 64, 0, 0, 64, 56, 3, 0, 0, 0)
    for name, content in (("bzimage", bytes(setup)), ("elf", elf)):
        path = work / "broken"
        for length in sorted({*range(1, len(content), 37), len(content)} - {*range(0, 64 if name == "elf" else 0x270)}):
            path.write_bytes(content[:length])
            ran = run(work, "-kernel", path, *qmp)
            told = ran.stderr.splitlines()
            assert ran.returncode == 1 and len(told) == 1, (name, length, ran)
            assert told[0].startswith(f"apus: -kernel {path}: "), (name, length, told)
            assert not (work / "qmp").exists()


def test_addresses_that_cannot_be_had(work):
    options = Tiny.files(work)
    (work / "file").write_bytes(b"precious")
    no_entry = "No such file or directory"
    refused(work, f"-qmp: cannot listen at unix:/nope/q: {no_entry}", *options, "-qmp", "unix:/nope/q,server,nowait")
    refused(
        work,
        f"-qmp: cannot listen at unix:{work}/file: a file that is not a socket is there; remove it or pass another path",
        *options, "-qmp", f"unix:{work}/file,server,nowait",
    )
    assert (work / "file").read_bytes() == b"precious"
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        refused(
            work,
            f"-qmp: cannot listen at tcp:127.0.0.1:{port}: another process listens there; stop it or pass another address",
            *options, "-qmp", f"tcp:127.0.0.1:{port},server,nowait",
        )


def test_stale_socket_is_replaced(work):
    path = work / "qmp-0.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    with Tiny(work) as tiny:
        tiny.qmp.execute("quit")
        tiny.check_end()


def test_failure_leaves_no_socket_of_ours_but_theirs(work):
    # A socket that a running machine listens on survives another one's failure elsewhere.
    with Tiny(work) as tiny:
        assert tiny.qmp.execute("query-status")["running"]
        other = work / "other"
        other.mkdir()
        ran = run(
            other, *Tiny.files(other)[:2], "-initrd", "nope", "-qmp", f"unix:{work}/qmp-1.sock,server,nowait",
            "-serial", f"socket,path={work}/serial,server,nowait",
        )
        assert ran.returncode == 1, ran
        for path in other.iterdir():
            path.unlink()
        other.rmdir()
        assert tiny.qmp.execute("query-status")["running"]
        tiny.qmp.execute("quit")
        tiny.check_end()


def test_more_devices_than_a_guest_without_acpi_can_find(work):
    """A kernel without a format has the MP table, whose interrupt lines end with the eleventh device."""
    options = []
    for index in range(12):
        options += ["-object", f"rng-random,id=r{index},filename=/dev/urandom"]
        options += ["-device", f"virtio-rng-device,rng=r{index}"]
    command = [*Tiny.files(work), "-qmp", f"unix:{work}/q.sock,server,nowait", *options]
    message = "-device: there are 12 devices on MMIO; without ACPI the guest has interrupt lines for 11"
    refused(work, message, *command)
    with Tiny(work, IDLE, *options[:-2]) as guest:
        assert guest.qmp.execute("query-status")["running"]
