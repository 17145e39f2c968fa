/// One row of the table of device types: what `-device`, `device_add` and `-help` know of a type.
struct DeviceType: Sendable {
    /// The type's name, its other names after it.
    let names: [String]
    let summary: String
    let keys: [KeyDescription]
    let example: String
    let decode: @Sendable (KeyReader) throws(OptionError) -> DeviceSpec
}

extension DeviceType {
    /// Every type that has a spec.
    static let all = [
        DeviceType(
            names: ["virtio-blk-device"], summary: "a disk (at most 6)",
            keys: BlockDeviceSpec.keys, example: "virtio-blk-device,drive=rootfs,id=disk0,iothread=io0"
        ) { (reader) throws(OptionError) in .block(try BlockDeviceSpec.decode(reader)) },
        DeviceType(
            names: ["virtio-net-device"], summary: "a network card (at most 2)",
            keys: NetworkDeviceSpec.keys, example: "virtio-net-device,netdev=net0,id=nic0,mac=52:54:00:12:34:56"
        ) { (reader) throws(OptionError) in .network(try NetworkDeviceSpec.decode(reader)) },
        DeviceType(
            names: ["vhost-vsock-device", "virtio-vsock-device"], summary: "sockets between host and guest",
            keys: VsockDeviceSpec.keys, example: "vhost-vsock-device,id=vsock0,guest-cid=3"
        ) { (reader) throws(OptionError) in .vsock(try VsockDeviceSpec.decode(reader)) },
        DeviceType(
            names: ["virtio-serial-device"], summary: "the bus of consoles and ports (at most 1)",
            keys: SerialBusSpec.keys, example: "virtio-serial-device,id=virtio-serial0"
        ) { (reader) throws(OptionError) in .serialBus(try SerialBusSpec.decode(reader)) },
        DeviceType(
            names: ["virtconsole"], summary: "a console, hvc0, on the serial bus (at most 1)",
            keys: SerialPortSpec.keys, example: "virtconsole,chardev=console0,id=hvc0"
        ) { (reader) throws(OptionError) in .console(try SerialPortSpec.decode(reader, isConsole: true)) },
        DeviceType(
            names: ["virtserialport"], summary: "a port for programs, on the serial bus",
            keys: SerialPortSpec.keys, example: "virtserialport,chardev=agent0,id=port1,nr=1"
        ) { (reader) throws(OptionError) in .serialPort(try SerialPortSpec.decode(reader, isConsole: false)) },
        DeviceType(
            names: ["virtio-rng-device"], summary: "a source of entropy",
            keys: EntropyDeviceSpec.keys, example: "virtio-rng-device,rng=objrng0,id=rng0"
        ) { (reader) throws(OptionError) in .entropy(try EntropyDeviceSpec.decode(reader)) },
        DeviceType(
            names: ["virtio-balloon-device"], summary: "takes memory from the guest and returns it (at most 1)",
            keys: BalloonDeviceSpec.keys, example: "virtio-balloon-device,deflate-on-oom=true"
        ) { (reader) throws(OptionError) in .balloon(try BalloonDeviceSpec.decode(reader)) },
        DeviceType(
            names: ["vhost-user-fs-device"], summary: "a shared directory, served by virtiofsd",
            keys: FileSystemDeviceSpec.keys, example: "vhost-user-fs-device,chardev=fs0,tag=shared,id=fs0"
        ) { (reader) throws(OptionError) in .fileSystem(try FileSystemDeviceSpec.decode(reader)) },
    ]

    /// Types that StratoVirt has beyond those: on MMIO, and on its standard machine whose names don't end in `-pci`.
    private static let later: Set<String> = [
        "virtio-mem-device", "virtio-pmem-device", "vhost-user-blk-device", "virtio-input-device",
        "virtio-multitouch-device",
    ]
    private static let standardMachine: Set<String> = [
        "pcie-root-port", "vfio-pci", "nec-usb-xhci", "usb-kbd", "usb-tablet", "usb-consumer", "usb-storage",
        "usb-uas", "usb-host", "usb-camera", "ramfb", "pvpanic", "ivshmem-scream", "pcie-demo-dev", "scsi-hd",
        "scsi-cd", "virtio-scsi-pci", "virtio-gpu-pci", "vhost-user-gpu-pci",
    ]

    /// The row of a type; nil if it has none.
    static func named(_ name: String) -> DeviceType? {
        all.first { $0.names.contains(name) }
    }

    /// The error for a type that has no row.
    static func error(unknown name: String, option: String) -> OptionError {
        if later.contains(name) { return .notSupportedYet(option, name) }
        let pci = "-pci"
        if name.utf8.count <= 64, name.utf8.reversed().starts(with: pci.utf8.reversed()) {
            let variant = String(Substring(name.utf8.dropLast(pci.utf8.count))) + "-device"
            if named(variant) != nil || later.contains(variant) {
                return OptionError(
                    option: option, offending: name,
                    problem: "\(quoted(name)) needs PCI, and there is no PCI on MicroVm",
                    remedy: "use \(variant)")
            }
        }
        if standardMachine.contains(name) {
            return OptionError(
                option: option, offending: name,
                problem: "\(quoted(name)) belongs to the standard machine, which is not supported yet")
        }
        let known = all.flatMap(\.names)
        let remedy =
            nearest(to: name, among: known).map { "did you mean \(quoted($0))?" } ?? "-help lists those that there are"
        return OptionError(
            option: option, offending: name, problem: "unsupported device \(quoted(name))", remedy: remedy)
    }
}
