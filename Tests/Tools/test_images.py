"""The tools that fetch the kernel and build images."""

import filecmp
import subprocess

from harness import TOP


def run(*command, status=0):
    ran = subprocess.run([str(word) for word in command], capture_output=True, text=True, cwd=TOP)
    assert ran.returncode == status, f"{command}: status {ran.returncode}, {ran.stderr}"
    return ran


def output(*command, status=0):
    ran = run(*command, status=status)
    return ran.stdout + ran.stderr


def kernel():
    # What it says while it downloads goes elsewhere.
    return dict(line.split("=", 1) for line in run("hack/fetch-kernel").stdout.splitlines())


def test_kernel_is_bzimage_and_elf(work):
    parts = kernel()
    with open(parts["VMLINUZ"], "rb") as file:
        assert file.read(0x206)[0x202:] == b"HdrS"
    with open(parts["VMLINUX"], "rb") as file:
        assert file.read(4) == b"\x7fELF"
    output("test", "-d", f"{parts['MODULES']}/{parts['KERNEL_VERSION']}/kernel/drivers/virtio")


def test_initramfs_is_the_same_each_time(work):
    for name in "ab":
        output("rootfs/build-initramfs", work / name)
    assert filecmp.cmp(work / "a", work / "b", shallow=False)
    assert b"virtio_mmio.ko" in (work / "a").read_bytes()


def test_ext4_is_sound_and_the_same_each_time(work):
    for name in "ab":
        output("rootfs/build-ext4", "-size", "32", work / name)
    assert filecmp.cmp(work / "a", work / "b", shallow=False)
    assert (work / "a").stat().st_size == 32 << 20
    output("/sbin/e2fsck", "-fn", work / "a")


def test_mistakes_are_told(work):
    assert "give 16 or more MiB" in output("rootfs/build-ext4", "-size", "1x", work / "a", status=1)
    assert "unknown option '-x'" in output("rootfs/build-initramfs", "-x", status=1)
    assert "unknown group 'x'" in output("hack/deps", "x", status=1)
    assert "no module nosuch" in output("rootfs/build-initramfs", "-modules", "nosuch", work / "a", status=1)
    assert not (work / "a").exists()


def test_every_tool_has_help(work):
    tools = ["build", "deps", "fetch-kernel", "images", "lab", "lint", "run", "test"]
    for tool in [f"hack/{name}" for name in tools] + ["rootfs/build-ext4", "rootfs/build-initramfs", "Tests/run"]:
        assert f"usage: {tool}" in output(tool, "-help"), tool
