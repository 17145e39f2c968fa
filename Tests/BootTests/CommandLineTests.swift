import Bus
import Memory
import Testing

@testable import Boot

@Suite struct CommandLineTests {
    static let devices = [
        VirtioMMIODevice(base: 0xf010_0000, size: 0x200, irq: 5), VirtioMMIODevice(base: 0x1000, size: 0x1000, irq: 15),
    ]
    static let parameters = "virtio_mmio.device=512@0xf0100000:5 virtio_mmio.device=4096@0x00001000:15"

    @Test(arguments: [
        ("", true), ("quiet", true), ("acpi=off", false), ("quiet acpi=off panic=1", false), ("\tacpi=off\n", false),
        ("acpi=offline", true), ("noacpi=off", true), ("acpi=of", true), ("ACPI=off", true), ("pci=off", true),
        ("\"acpi=off\"", false), ("acpi=\"off\"", false), ("a=\"b acpi=off c\"", true), ("a=\"b\" acpi=off", false),
        ("-- acpi=off", true), ("acpi=off -- x", false), ("a=\"--\" acpi=off", false),
        ("acpi=off acpi=force", true), ("acpi=force acpi=off", false), ("acpi=off acpi=noirq", false),
        ("ä=ö acpi=off", false),
    ])
    func acpiIsUsedUnlessSwitchedOff(text: String, allowed: Bool) {
        #expect(CommandLine.allowsACPI(text) == allowed)
    }

    @Test(arguments: [
        ("acpi=off", "acpi=off \(parameters)"),
        ("", " \(parameters)"),
        ("a b -- c", "a b \(parameters) -- c"),
        ("-- c", "\(parameters) -- c"),
        ("a --", "a \(parameters) --"),
        ("a=\" -- \"", "a=\" -- \" \(parameters)"),
    ])
    func devicesAreAddedForTheKernelNotForInit(text: String, expected: String) throws {
        #expect(try CommandLine(text, devices: Self.devices, acpi: false).text == expected)
    }

    @Test func nothingIsAddedWhereAThingIsFoundByACPIOrNotThere() throws {
        #expect(try CommandLine("a -- b", devices: Self.devices, acpi: true).text == "a -- b")
        #expect(try CommandLine("a -- b", devices: [], acpi: false).text == "a -- b")
    }

    @Test func aDeviceIsDescribedOnce() throws {
        for (text, byACPI) in [("quiet", true), ("quiet acpi=off", false)] {
            let memory = try dirtyMemory()
            try load(
                .linux, BootPlan(commandLine: text, layout: .microvm, cpuCount: 1, devices: Self.devices), into: memory)
            let words = try memory.bytes(0x2_0000, 2048).split(separator: 0)[0]
            #expect(String(decoding: words, as: UTF8.self) == (byACPI ? text : "\(text) \(Self.parameters)"))
            #expect(try memory.value(0x7070, UInt64.self) == (byACPI ? 0xe_0000 : 0))
            let signature = try memory.bytes(0xe_0000, 8)
            #expect((signature == Array("RSD PTR ".utf8)) == byACPI)
        }
    }

    struct Limit: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let kernel: Image
        let maximum: Int

        init(_ name: String, _ kernel: Image, _ maximum: Int) {
            testDescription = name
            self.kernel = kernel
            self.maximum = maximum
        }
    }

    @Test(arguments: [
        Limit("bzImage, usual", .bzImage(), 2047),
        Limit("bzImage with cmdline_size 0", .bzImage().with(0x238, UInt32(0)), 0),
        Limit("bzImage with cmdline_size 4095", .bzImage().with(0x238, UInt32(4095)), 4095),
        Limit("bzImage that would take more than there is room for", .bzImage().with(0x238, UInt32.max), 0x7_fbff),
        Limit("ELF", .linux, 2047),
        Limit("PVH", .pvh, 2047),
        Limit("raw binary", Image(bytes: [0xf4]), 2047),
    ])
    func itsLengthIsLimited(_ limit: Limit) throws {
        let memory = try dirtyMemory()
        let text = String(repeating: "x", count: limit.maximum)
        try load(limit.kernel, BootPlan(commandLine: text, layout: .microvm, cpuCount: 1), into: memory)
        #expect(try memory.bytes(0x2_0000, limit.maximum + 1) == Array(text.utf8) + [0])
        #expect(try memory.bytes(0x9_fc00, 4) == Array("_MP_".utf8))

        let error = #expect(throws: BootError.self) {
            try load(limit.kernel, BootPlan(commandLine: text + "x", layout: .microvm, cpuCount: 1), into: memory)
        }
        #expect(error?.place == "-append")
        #expect(error?.field == "length")
    }

    @Test func theLimitCountsBytesAndWhatIsAdded() throws {
        let umlauts = String(repeating: "ä", count: 1024)
        #expect(throws: BootError.self) {
            try load(.linux, BootPlan(commandLine: umlauts, layout: .microvm, cpuCount: 1), into: dirtyMemory())
        }
        let text = "acpi=off" + String(repeating: "x", count: 2000)
        try load(
            .linux, BootPlan(commandLine: text, layout: .microvm, cpuCount: 1, devices: Self.devices),
            into: dirtyMemory())
        #expect(throws: BootError.self) {
            let plan = BootPlan(commandLine: "acpi=off " + text, layout: .microvm, cpuCount: 1, devices: Self.devices)
            try load(.linux, plan, into: dirtyMemory())
        }
    }

    @Test func aNULIsRefused() throws {
        let error = #expect(throws: BootError.self) {
            try load(.linux, BootPlan(commandLine: "a\0b", layout: .microvm, cpuCount: 1), into: dirtyMemory())
        }
        #expect(error?.description == "-append: text: contains a NUL character")
    }
}
