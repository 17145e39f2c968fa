/// `-machine`: the board and how its memory is treated.
package struct MachineSpec: Equatable, Sendable {
    /// The boards.
    package enum Board: String, Equatable, Sendable {
        /// The light machine: MMIO devices only, no PCI, no firmware.
        case microvm
    }

    package let board: Board
    /// Whether guest memory is part of a core dump of this process (`dump-guest-core`, on unless said otherwise).
    package let dumpsGuestCore: Bool
    /// Whether guest memory is shared with other processes (`mem-share`); vhost-user devices need it.
    package let sharesMemory: Bool
    /// The id of the `-object memory-backend-*` that is the guest's memory (`memory-backend`); nil for what `-m`,
    /// `-mem-path`, `-mem-prealloc` and the two keys above say.
    package let memoryBackend: String?
    /// Whether the guest gets places for devices that are plugged in later (`hotplug`); nil if its kernel decides.
    package let hotPlug: Bool?
    /// How many threads are kept for `object-add` (`spare-iothreads`); nil if `hotPlug` decides.
    package let spareIOThreads: Int?
    /// `accel=`, which `-accel` overrides.
    package let accelerator: AcceleratorSpec?

    /// What holds without `-machine`.
    package static let standard = MachineSpec(
        board: .microvm, dumpsGuestCore: true, sharesMemory: false, memoryBackend: nil, hotPlug: nil,
        spareIOThreads: nil, accelerator: nil)
}

extension MachineSpec {
    private enum Keys {
        static let type = OptionKey(
            "type", .board, .required, "the board; microvm (MicroVm) is the one there is so far")
        static let dumpGuestCore = OptionKey(
            "dump-guest-core", .onOff, .standard("on"), "include guest memory in a core dump of apus")
        static let memShare = OptionKey(
            "mem-share", .onOff, .standard("off"), "share guest memory with other processes; vhost-user devices need it"
        )
        static let memoryBackend = OptionKey(
            "memory-backend", .identifier, "the -object memory-backend-* that is the guest's memory")
        static let hotPlug = OptionKey(
            "hotplug", .onOff, "spare places for device_add; on if not given and the guest has no ACPI")
        static let spareIOThreads = spareIOThreads(most: Int(UInt8.max))
        static let accel = OptionKey("accel", .accelerator, "as -accel, which wins if both are given")
        static let usb = OptionKey("usb", .usb, "off; a MicroVm has no USB")

        static func spareIOThreads(most: Int) -> OptionKey<Int> {
            OptionKey(
                "spare-iothreads", .number("a number of threads", 0...most),
                "threads kept for object-add of an iothread; 1 if not given and hotplug=on is")
        }
    }

    static let keys = [
        Keys.type.description, Keys.dumpGuestCore.description, Keys.memShare.description,
        Keys.memoryBackend.description,
        Keys.hotPlug.description, Keys.spareIOThreads.description,
        Keys.accel.description,
        Keys.usb.description,
    ]

    /// Reads the value of `-machine`. Throws an error for a board that is unknown or not supported yet.
    package static func parse(_ text: String, _ limits: Limits) throws(OptionError) -> MachineSpec {
        let list = try KeyValueList(option: "-machine", firstKey: "type", parsing: text)
        let reader = try KeyReader(list, keys: keys)
        let name = try reader.value(Keys.type)
        guard let board = Board(rawValue: name) else {
            throw .notSupportedYet("-machine", list.text(of: "type") ?? name)
        }
        _ = try reader.optional(Keys.usb)
        return MachineSpec(
            board: board, dumpsGuestCore: try reader.value(Keys.dumpGuestCore),
            sharesMemory: try reader.value(Keys.memShare),
            memoryBackend: try reader.optional(Keys.memoryBackend),
            hotPlug: try reader.optional(Keys.hotPlug),
            spareIOThreads: try reader.optional(Keys.spareIOThreads(most: limits.iothreads)),
            accelerator: try reader.optional(Keys.accel))
    }
}

extension ValueType where Value == String {
    /// The name of a board in lower case; the boards that come later are names too.
    fileprivate static let board = ValueType(
        placeholder: "microvm", expectation: "a machine type; microvm is the one that is supported"
    ) { text in
        let name = text.utf8.count <= 16 ? text.lowercased() : ""
        return ["microvm", "q35", "virt", "none"].contains(name) ? name : nil
    }
}

extension ValueType where Value == Bool {
    fileprivate static let usb = ValueType(placeholder: "off", expectation: "off; a MicroVm has no USB") {
        $0 == "off" ? false : nil
    }
}
