"""A stock kernel boots to user space, however it is packed and however its disks are attached."""

from guest import Guest, copy_image


def test_initramfs_alone(work):
    with Guest(work, append="apus.run=report") as guest:
        facts = guest.facts()
        assert facts["CPUS"] == ["1"], facts
        assert facts["ROOT"] == ["rootfs rootfs rw"] or facts["ROOT"][0].endswith("rw"), facts
        assert "DISK" not in facts, facts
        assert guest.wait() == 0


def test_root_on_virtio_disk(work):
    with Guest(work, append="root=/dev/vda rw apus.run=report", disks=[copy_image("root.ext4", work)]) as guest:
        facts = guest.facts()
        assert facts["ROOT"] == ["/dev/vda ext4 rw"], facts
        assert facts["DISK"][0].startswith("vda 131072 sectors rw"), facts
        assert guest.wait() == 0


def test_shell_on_the_console(work):
    with Guest(work) as guest:
        assert guest.shell("echo $((6 * 7))").strip() == "42"
        assert guest.shell("uname -s").strip() == "Linux"
        guest.type("exit\n")
        assert guest.wait() == 0
