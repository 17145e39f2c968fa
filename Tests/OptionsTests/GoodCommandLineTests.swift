import Testing

@testable import Options

@Suite("Command lines that start a machine")
struct GoodCommandLineTests {
    @Test("The least: everything else has StratoVirt's standard value")
    func standards() throws {
        let options = try launch(least)
        #expect(options.name == nil)
        #expect(options.uuid == nil)
        #expect(options.machine == .standard)
        #expect(options.machine.dumpsGuestCore)
        #expect(!options.machine.sharesMemory)
        #expect(options.accelerator == .kvm)
        #expect(options.topology == .single)
        #expect(options.memory.size == 256 << 20)
        #expect(options.memory.maximum == 256 << 20)
        #expect(options.memory.path == nil)
        #expect(!options.memory.isPreallocated)
        #expect(options.kernel == "/k")
        #expect(options.kernelArguments == "")
        #expect(options.initrd == "/i")
        #expect(!options.startsPaused)
        #expect(options.serial == nil)
        #expect(options.serial == nil)
        #expect(options.monitors == [QMPSpec(endpoint: .unix(path: "/q"))])
        #expect(options.log == .standardError)
        #expect(!options.isDaemon)
        #expect(options.pidfile == nil)
        #expect(options.usesSeccomp)
        #expect(options.drives.isEmpty && options.devices.isEmpty && options.objects.isEmpty)
    }

    @Test("The guide's example, with the kernel's words unquoted")
    func guide() throws {
        let options = try launch(
            """
            -kernel /path/to/vmlinux.bin -append console=ttyS0 root=/dev/vda rw reboot=k panic=1 \
            -drive file=/home/rootfs.ext4,id=rootfs,readonly=false -device virtio-blk-device,drive=rootfs \
            -qmp unix:/tmp/stratovirt.socket,server,nowait -serial stdio
            """)
        #expect(options.kernelArguments == "console=ttyS0 root=/dev/vda rw reboot=k panic=1")
        #expect(options.serial == .backend(.stdio))
        let drive = try #require(options.drive("rootfs"))
        #expect(drive.file == "/home/rootfs.ext4")
        #expect(!drive.isReadOnly)
        #expect(drive.isDirect)
        #expect(drive.asynchronousIO == .native)
        guard case .block(let disk) = try #require(options.devices.first) else { throw Surprise() }
        #expect(disk.drive == "rootfs")
        #expect(disk.id == nil)
    }

    @Test("StratoVirt's smallest line, with the kernel's words quoted")
    func smallest() throws {
        let options = try launch(
            """
            -machine microvm -smp 1 -m 256 -kernel /path/vmlinux.bin \
            -append "console=ttyS0 root=/dev/vda reboot=k panic=1" \
            -drive file=/path/rootfs.ext4,id=rootfs,readonly=off,direct=off \
            -device virtio-blk-device,drive=rootfs,id=rootfs -qmp unix:/tmp/s.sock,server,nowait -serial stdio
            """)
        #expect(options.kernelArguments == "console=ttyS0 root=/dev/vda reboot=k panic=1")
        #expect(options.drives.first?.asynchronousIO == .off)
    }

    @Test("Kata's line, option by option")
    func kata() throws {
        let options = try launch(
            """
            -name sandbox-5f0c2a -uuid 0A1B2C3D-0000-4000-8000-00000000ABCD -smp 1 -m 2048 -kernel /k/vmlinuz \
            -append "root=/dev/vda1 rootflags=data=ordered,errors=remount-ro ro rootfstype=ext4 reboot=k panic=1 \
            net.ifnames=0 ramdom.trust_cpu=on pci=off iommu=off acpi=off debug console=hvc0" \
            -qmp unix:/run/vc/vm/qmp.socket,server,nowait -D -disable-seccomp \
            -machine type=microvm,dump-guest-core=off,mem-share=on \
            -object rng-random,id=objrng0,filename=/dev/urandom -device virtio-rng-device,rng=objrng0,id=virtio-rng0 \
            -device virtio-serial-device,id=virtio-serial0 \
            -chardev socket,id=charconsole0,path=/run/vc/vm/console.socket,server,nowait \
            -device virtconsole,chardev=charconsole0,id=virtio-console0,nr=0 \
            -drive id=rootfs,file=/k/kata.img,readonly=on,direct=off \
            -device virtio-blk-device,drive=rootfs,id=virtio-blk0 \
            -device vhost-vsock-device,id=vsock-id,guest-cid=1234567,vhostfd=3 \
            -chardev socket,id=virtio_fs,path=/run/vc/vm/virtiofs_kata.socket,server,nowait \
            -device vhost-user-fs-device,chardev=virtio_fs,tag=kataShared,id=virtio-fs0 \
            -netdev tap,id=eth0,fds=4 -device virtio-net-device,netdev=eth0,id=eth0,mac=02:42:ac:11:00:02
            """)
        #expect(options.name == "sandbox-5f0c2a")
        #expect(options.uuid == "0a1b2c3d-0000-4000-8000-00000000abcd")
        #expect(options.memory.size == 2 << 30)
        #expect(options.kernelArguments.hasSuffix("acpi=off debug console=hvc0"))
        #expect(options.log == .standardError)
        #expect(!options.usesSeccomp)
        #expect(!options.machine.dumpsGuestCore && options.machine.sharesMemory)
        #expect(
            options.devices == [
                .entropy(EntropyDeviceSpec(id: "virtio-rng0", source: "objrng0", limit: nil)),
                .serialBus(SerialBusSpec(id: "virtio-serial0", maximumPorts: 31)),
                .console(SerialPortSpec(id: "virtio-console0", chardev: "charconsole0", number: 0)),
                .block(
                    BlockDeviceSpec(
                        id: "virtio-blk0", drive: "rootfs", serial: nil, iothread: nil, bootIndex: nil, queues: nil,
                        queueSize: 256)),
                .vsock(VsockDeviceSpec(id: "vsock-id", guestCID: 1_234_567, vhostDescriptor: 3, socket: nil)),
                .fileSystem(FileSystemDeviceSpec(id: "virtio-fs0", chardev: "virtio_fs", tag: "kataShared")),
                .network(
                    NetworkDeviceSpec(
                        id: "eth0", netdev: "eth0", mac: MACAddress("02:42:ac:11:00:02"), iothread: nil,
                        receiveIOThread: nil, transmitIOThread: nil, isMultiqueue: false, queueSize: 256)),
            ])
        #expect(
            options.netdevs == [
                NetdevSpec(
                    id: "eth0",
                    backend: .tap(
                        TapSpec(interface: nil, descriptors: [4], usesVhost: false, vhostDescriptors: [])),
                    queuePairs: 1)
            ])
    }

    @Test(
        "Lines of StratoVirt's own tests and of the guide",
        arguments: [
            "\(least) -machine type=MicroVm,mem-share=off -name vm1 -serial socket,path=/s,server,nowait",
            "\(least) -daemonize -pidfile /p -D /l -freeze -disable-seccomp",
            "\(least) -device virtio-serial-device -device virtio-balloon-device,deflate-on-oom=true",
            "\(least) -object rng-random,id=objrng0,filename=/dev/random -device virtio-rng-device,rng=objrng0",
            "\(least) -object rng-random,id=r,filename=/r -device virtio-rng-device,rng=r,max-bytes=1234,period=1000",
            "\(least) -netdev tap,id=n,ifname=tap0,vhostfd=2 -device virtio-net-device,netdev=n,id=net0",
            "\(least) -netdev tap,id=n,ifname=tap0,vhost=on,vhostfd=2 -device virtio-net-device,netdev=n,id=n,iothread=io "
                + "-object iothread,id=io",
            "\(least) -device virtio-serial-device -chardev socket,path=/c,id=c,server,nowait "
                + "-device virtconsole,chardev=c,id=console_id",
            "\(least) -device vhost-vsock-device,id=v,guest-cid=3",
            "\(least) -serial chardev:c -chardev socket,id=c,path=/c,server,nowait",
            "\(least) -serial file,path=/s -mem-path /dev/hugepages -mem-prealloc",
            "\(least) -mem-path '\"/dev/hugepages\"'",
            "\(least) -overcommit mem-lock=off -no-user-config -nodefaults -sandbox on,obsolete=deny -msg timestamp=on",
            "\(least) -rtc base=utc -boot strict=on -nographic -realtime mlock=off -usb -display none",
            "\(least) -cpu host,pmu=on,sve=off,kvm-steal-time=on -accel kvm:tcg",
            "\(least) -- anything --else -at all",
        ])
    func accepted(line: String) throws {
        _ = try launch(line)
    }

    @Test("A QMP monitor on a chardev, beside -qmp and alone")
    func monitors() throws {
        let chardev = "-chardev socket,id=m,host=127.0.0.1,port=4444,server,nowait -mon id=mon0,chardev=m,mode=control"
        let tcp = QMPSpec(endpoint: .tcp(host: try #require(IPv4Address("127.0.0.1")), port: 4444))
        #expect(try launch("-kernel /k -initrd /i \(chardev)").monitors == [tcp])
        #expect(
            try launch("\(least) \(chardev)").monitors == [QMPSpec(endpoint: .unix(path: "/q")), tcp])
    }

    @Test("-append adds up, keeps its quotes, and may be empty")
    func append() throws {
        #expect(try launch("\(least) -append a -append \"b  c\" d").kernelArguments == "a b  c d")
        #expect(try launch("\(least) -append ''").kernelArguments == "")
        #expect(try launch("\(least) -append 'dyndbg=\"file x +p\"'").kernelArguments == "dyndbg=\"file x +p\"")
    }

    @Test("-D with a path")
    func log() throws {
        #expect(try launch("\(least) -D /var/log/vm").log == .file(path: "/var/log/vm"))
    }

    @Test("-accel wins over -machine's accel")
    func accelerator() throws {
        #expect(try launch("\(least) -machine microvm,accel=kvm:tcg -accel kvm").accelerator == .kvm)
    }

    @Test("Help and version win over whatever else is on the line, the first of them over the other")
    func requests() throws {
        #expect(try LaunchOptions.parse(["-smp", "0", "-foo", "-help"], .microvm) == .help(Usage.help(.microvm)))
        #expect(try LaunchOptions.parse(["-h"], .microvm) == .help(Usage.help(.microvm)))
        #expect(try LaunchOptions.parse(["-V", "-h"], .microvm) == .version("apus 0.1.0"))
        #expect(try LaunchOptions.parse(["-version"], .microvm) == .version("apus 0.1.0"))
        #expect(throws: OptionError.self) { try LaunchOptions.parse(["--", "-help"], .microvm) }
    }
}

/// Something turned out to be another thing than the test expects.
struct Surprise: Error {}
