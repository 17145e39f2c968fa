/// The options of the command line, each described once.
extension OptionDescription {
    // MARK: Machine

    static let name = OptionDescription(
        "name", .value("TEXT"), .machine, "the machine's name, 1 to 255 characters", examples: ["web-1"])
    static let uuid = OptionDescription(
        "uuid", .value("UUID"), .machine, "the machine's UUID, which query-uuid answers",
        examples: ["550e8400-e29b-41d4-a716-446655440000"])
    static let machine = OptionDescription(
        "machine", .value("[type=]microvm[,KEY=VALUE]..."), .machine, "the board", keys: MachineSpec.keys,
        examples: ["microvm", "type=MicroVm,dump-guest-core=off,mem-share=on"])
    static let accel = OptionDescription(
        "accel", .value("kvm"), .machine, "what runs the guest's instructions; kvm is the one there is")
    static let smp = OptionDescription(
        "smp", .value("[cpus=]N[,KEY=N]..."), .machine, "virtual CPUs; 1 if not given",
        keys: CPUTopology.keys, examples: ["4", "cpus=8,sockets=2,cores=2,threads=2"])
    static let cpu = OptionDescription(
        "cpu", .value("host[,KEY=on|off]..."), .machine, "the CPU model; host is the one there is",
        keys: CPUModel.keys, examples: ["host"])
    static let freeze = OptionDescription(
        "S", alias: "freeze", .flag, .machine, "don't start the CPUs; QMP's cont does")

    // MARK: Memory

    static let memory = OptionDescription(
        "m", .value("[size=]SIZE[,maxmem=SIZE]"), .memory, "memory, 128M to 512G; 256M if not given",
        keys: MemorySpec.keys, examples: ["512", "2G"])
    static let memPath = OptionDescription(
        "mem-path", .value("PATH"), .memory, "take memory from this hugetlbfs (or other) directory; an absolute path",
        examples: ["/dev/hugepages"])
    static let memPrealloc = OptionDescription(
        "mem-prealloc", .flag, .memory, "touch all memory before the machine starts")

    // MARK: Boot

    static let kernel = OptionDescription(
        "kernel", .value("PATH"), .boot, "the kernel: bzImage, ELF (Linux or PVH) or raw; always needed",
        examples: ["/boot/vmlinuz"])
    static let append = OptionDescription(
        "append", .values("WORD..."), .boot,
        "words for the kernel's command line, quoted or not; several -append add up",
        examples: ["console=ttyS0 root=/dev/vda rw reboot=k panic=1"])
    static let initrd = OptionDescription(
        "initrd", .value("PATH"), .boot, "the initial RAM disk; its path has at most 255 bytes",
        examples: ["/boot/initrd.img"])

    // MARK: Disks

    static let drive = OptionDescription(
        "drive", .values("id=ID,file=PATH[,KEY=VALUE]..."), .disks,
        "a disk image, which a -device virtio-blk-device shows to the guest", keys: DriveSpec.keys,
        examples: ["id=rootfs,file=/srv/rootfs.ext4", "id=data,file=/srv/data.img,readonly=on,direct=off"])

    // MARK: Network

    static let netdev = OptionDescription(
        "netdev", .values("tap|vhost-user,id=ID[,KEY=VALUE]..."), .network, "the host's end of a network card",
        keys: NetdevSpec.keys, examples: ["tap,id=net0,ifname=tap0"])

    // MARK: Serial port and character devices

    static let serial = OptionDescription(
        "serial", .value("stdio|pty|file,path=PATH|socket,...|chardev:ID"), .characters,
        "the serial port, ttyS0; there is none if not given", keys: CharacterBackend.keys,
        examples: ["stdio", "socket,path=/run/vm/serial,server,nowait", "chardev:con0"])
    static let chardev = OptionDescription(
        "chardev", .values("stdio|pty|file|socket|redirect-to-log,id=ID[,KEY=VALUE]..."), .characters,
        "a character device of the host for serial ports and consoles", keys: ChardevSpec.keys,
        examples: ["file,id=con0,path=/var/log/con0", "socket,id=con1,path=/run/vm/con1,server,nowait"])

    // MARK: Devices and objects

    static let device = OptionDescription(
        "device", .values("TYPE[,KEY=VALUE]..."), .devices, "a device of the guest",
        examples: DeviceType.all.map(\.example))
    static let object = OptionDescription(
        "object", .values("TYPE,id=ID[,KEY=VALUE]..."), .devices, "something that devices refer to",
        examples: ["iothread,id=io0"])

    // MARK: Control

    static let qmp = OptionDescription(
        "qmp", .value("unix:PATH|tcp:IPV4:PORT,server,nowait[,iothread=ID]"), .control,
        "listen for QMP clients; -qmp or -mon is always needed", keys: QMPSpec.keys,
        examples: ["unix:/run/vm/qmp,server,nowait", "tcp:127.0.0.1:4444,server,nowait"])
    static let mon = OptionDescription(
        "mon", .value("chardev=ID,mode=control[,id=ID]"), .control, "listen for QMP clients on a socket -chardev",
        keys: MonitorSpec.keys, examples: ["chardev=qmp0,mode=control"])

    // MARK: Process

    static let log = OptionDescription(
        "D", .optionalValue("PATH"), .process, "log to this file; without PATH to standard error",
        examples: ["/var/log/vm.log"])
    static let daemonize = OptionDescription("daemonize", .flag, .process, "go to the background")
    static let pidfile = OptionDescription(
        "pidfile", .value("PATH"), .process, "write the process id to this file; with -daemonize only",
        examples: ["/run/vm.pid"])
    static let disableSeccomp = OptionDescription(
        "disable-seccomp", .flag, .process, "don't filter system calls")
    static let sandbox = OptionDescription(
        "sandbox", .value("on|off[,KEY=VALUE]..."), .process, "give up privileges and paths, or go into a jail",
        keys: SandboxSpec.keys,
        examples: [
            "on,landlock-paths=/srv/images",
            "on,chroot=/srv/vm1,uid=1000,gid=1000,newpid=on,netns=/run/netns/vm1,cgroup=/sys/fs/cgroup/vm1",
        ])
    static let help = OptionDescription("h", alias: "help", .flag, .process, "print this and exit")
    static let version = OptionDescription("V", alias: "version", .flag, .process, "print the version and exit")

    /// Every option, in the order of the help.
    static let all: [OptionDescription] =
        [
            name, uuid, machine, accel, smp, cpu, freeze, memory, memPath, memPrealloc, kernel, append, initrd, drive,
            netdev, serial, chardev, device, object, qmp, mon, log, daemonize, pidfile, disableSeccomp,
            sandbox, help, version,
        ] + ignored + later

    /// What StratoVirt takes without effect, for libvirt's sake.
    private static let ignored = [
        "overcommit", "no-user-config", "nodefaults", "msg", "rtc", "boot", "nographic", "realtime", "usb",
        "display",
    ].map { OptionDescription($0, .values("..."), .other, "no effect", standing: .ignored) }

    /// What StratoVirt has and Apus will have.
    private static let later = [
        ("numa", "NUMA nodes"), ("incoming", "restore a snapshot or receive a migration"),
        ("global", "defaults of PCIe root ports"), ("smbios", "SMBIOS tables"), ("trace", "tracing"),
        ("hardware-signature", "the ACPI hardware signature"), ("battery", "an ACPI battery"),
        ("no-shutdown", "pause instead of exit at shutdown"), ("cameradev", "a camera"), ("vnc", "a VNC display"),
        ("windows_emu_pid", "end with another process"), ("mod-test", "StratoVirt's device tests"),
    ].map { OptionDescription($0.0, .values("..."), .other, $0.1, standing: .later) }
}
