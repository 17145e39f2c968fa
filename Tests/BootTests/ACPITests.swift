import Bus
import Foundation
import Memory
import Testing

@testable import Boot

/// What a guest finds when it follows the pointers from the RSDP.
private struct ParsedACPI {
    var tables: [String: [UInt8]] = [:]
    var end: UInt64 = 0

    init(_ memory: GuestMemory) throws {
        let rsdp = try memory.bytes(0xe_0000, 36)
        try #require(rsdp.starts(with: "RSD PTR ".utf8))
        try #require(rsdp[0..<20].reduce(0, &+) == 0 && rsdp.reduce(0, &+) == 0)
        try #require(rsdp[15] == 2 && rsdp[20] == 36)
        try read(memory.value(0xe_0000 + 24, UInt64.self), memory)
        for entry in stride(from: 36, to: try #require(tables["XSDT"]).count, by: 8) {
            try read(try #require(tables["XSDT"]?.load(at: entry, as: UInt64.self)), memory)
        }
        try read(try #require(tables["FACP"]?.load(at: 140, as: UInt64.self)), memory)
    }

    private mutating func read(_ address: UInt64, _ memory: GuestMemory) throws {
        try #require(address >= 0xe_0024 && address % 16 == 0)
        let length = try memory.value(address + 4, UInt32.self)
        let bytes = try memory.bytes(address, Int(length))
        try #require(bytes.reduce(0, &+) == 0)
        #expect(bytes[10..<16].elementsEqual("APUS  ".utf8))
        tables[String(decoding: bytes[0..<4], as: UTF8.self)] = bytes
        end = max(end, address + UInt64(length))
    }
}

@Suite struct ACPITests {
    private func tables(_ plan: BootPlan) throws -> ParsedACPI {
        let memory = try dirtyMemory()
        try load(.linux, plan, into: memory)
        return try ParsedACPI(memory)
    }

    @Test func allTablesAreFoundFromTheRSDP() throws {
        let acpi = try tables(BootPlan(layout: .microvm, cpuCount: 1))
        #expect(acpi.tables.keys.sorted() == ["APIC", "DSDT", "FACP", "XSDT"])
    }

    @Test func theFADTSaysHardwareReduced() throws {
        let fadt = try #require(try tables(BootPlan(layout: .microvm, cpuCount: 1)).tables["FACP"])
        #expect(fadt.count == 276)
        #expect(fadt[8] == 6 && fadt[131] == 5)
        // No VGA, no CMOS clock; no 8042 and no legacy devices.
        #expect(fadt.load(at: 109, as: UInt16.self) == 0x24)
        // WBINVD, no fixed power and sleep buttons, reset register, hardware reduced.
        #expect(fadt.load(at: 112, as: UInt32.self) == 0x10_0431)
        // Reset by writing 1 to port 0x602; sleep control at 0x600, sleep status at 0x601; each a byte.
        #expect(Array(fadt[116..<129]) == [1, 8, 0, 1, 2, 6, 0, 0, 0, 0, 0, 0, 1])
        #expect(Array(fadt[244..<256]) == [1, 8, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0])
        #expect(Array(fadt[256..<268]) == [1, 8, 0, 1, 1, 6, 0, 0, 0, 0, 0, 0])
        #expect(Array(fadt[268..<276]) == Array("APUS\0\0\0\0".utf8))
        #expect(fadt[36..<109].allSatisfy { $0 == 0 })
        #expect(fadt[148..<244].allSatisfy { $0 == 0 })
    }

    @Test(arguments: [1, 2, 254])
    func theMADTListsProcessorsAndTheIOAPIC(cpuCount: Int) throws {
        let madt = try #require(try tables(BootPlan(layout: .microvm, cpuCount: cpuCount)).tables["APIC"])
        #expect(madt.load(at: 36, as: UInt32.self) == 0xfee0_0000)
        #expect(madt.load(at: 40, as: UInt32.self) == 0)
        var expected: [UInt8] = []
        for identifier in 0..<cpuCount { expected += [0, 8, UInt8(identifier), UInt8(identifier), 1, 0, 0, 0] }
        expected += [1, 12, UInt8(cpuCount), 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0]
        expected += [4, 6, 0xff, 0, 0, 1]
        #expect(Array(madt[44...]) == expected)
    }

    /// The AML of one device and a serial port, byte by byte as `iasl` compiles it.
    @Test func theDSDTOfASmallBoard() throws {
        let plan = BootPlan(
            layout: .microvm, cpuCount: 1, devices: [VirtioMMIODevice(base: 0xf010_0000, size: 0x200, irq: 5)],
            hasSerial: true)
        let dsdt = try #require(try tables(plan).tables["DSDT"])
        #expect(dsdt[8] == 2)
        let expected = """
            08 _S5_ 12 07 04 0a 05 00 00 00
            10 45 0a _SB_
            5b 82 31 COM1
            08 _HID 0c 41 d0 05 01
            08 _UID 01
            08 _CRS 11 16 0a 13
            47 01 f8 03 f8 03 01 08
            89 06 00 03 01 04 00 00 00
            79 00
            5b 82 27 PEVT
            08 _HID 0d QEMU 30 30 30 31 00
            08 _CRS 11 0d 0a 0a
            47 01 05 05 05 05 01 01
            79 00
            5b 82 41 04 V000
            08 _HID 0d LNRO 30 30 30 35 00
            08 _UID 00
            08 _CCA 01
            08 _CRS 11 1a 0a 17
            86 09 00 01 00 00 10 f0 00 02 00 00
            89 06 00 03 01 05 00 00 00
            79 00
            """
        let bytes = expected.split(whereSeparator: \.isWhitespace).flatMap { word in
            word.count == 2 ? [UInt8(word, radix: 16) ?? 0] : Array(word.utf8)
        }
        #expect(Array(dsdt[36...]) == bytes)
    }

    /// Everything the tables say of the board comes from its layout.
    @Test func anotherBoardHasOtherTables() throws {
        var layout = BoardLayout.microvm
        layout.serial = BoardLayout.Device(.ports(0x2e8, count: 8), line: 3)
        layout.panic = .ports(0x1234, count: 2)
        layout.power = BoardLayout.PowerRegisters(
            .ports(0x700, count: 8), sleepControl: 0x704, sleepStatus: 0x705, reset: 0x706, resetValue: 6, softOff: 7)
        layout.interrupts = BoardLayout.InterruptControllers(
            localAPIC: 0xfed0_0000, ioAPIC: 0xfeb0_0000, lines: 48, isaLines: 16)
        layout.virtio.start = 0xe000_0000
        layout.virtio.slotSize = 0x1000
        layout.virtio.firstLine = 24
        let device = VirtioMMIODevice(slot: 2, of: layout.virtio)
        #expect(device == VirtioMMIODevice(base: 0xe000_2000, size: 0x1000, irq: 26))

        let acpi = try tables(BootPlan(layout: layout, cpuCount: 1, devices: [device], hasSerial: true))
        let fadt = try #require(acpi.tables["FACP"])
        #expect(Array(fadt[116..<129]) == [1, 8, 0, 1, 6, 7, 0, 0, 0, 0, 0, 0, 6])
        #expect(Array(fadt[248..<250]) == [4, 7])
        #expect(Array(fadt[260..<262]) == [5, 7])
        let madt = try #require(acpi.tables["APIC"])
        #expect(madt.load(at: 36, as: UInt32.self) == 0xfed0_0000)
        #expect(madt.load(at: 56, as: UInt32.self) == 0xfeb0_0000)
        let dsdt = try #require(acpi.tables["DSDT"])
        for resource: [UInt8] in [
            [0x12, 7, 4, 0x0a, 7, 0, 0, 0],  // _S5
            [0x47, 1, 0xe8, 2, 0xe8, 2, 1, 8], [0x89, 6, 0, 3, 1, 3, 0, 0, 0],  // COM1
            [0x47, 1, 0x34, 0x12, 0x34, 0x12, 1, 2],  // pvpanic
            [0x86, 9, 0, 1, 0, 0x20, 0, 0xe0, 0, 0x10, 0, 0], [0x89, 6, 0, 3, 1, 26, 0, 0, 0],  // virtio
        ] {
            #expect(dsdt.indices.contains { dsdt[$0...].starts(with: resource) }, "\(resource)")
        }
        #expect(!dsdt.indices.contains { dsdt[$0...].starts(with: [0xf8, 0x03]) })
    }

    @Test func theTablesStayBelow1MiB() throws {
        let devices = (0..<1600).map { VirtioMMIODevice(base: 0xf010_0000 + 0x200 * UInt32($0), size: 0x200, irq: 5) }
        let acpi = try tables(BootPlan(layout: .microvm, cpuCount: 254, devices: devices, hasSerial: true))
        #expect(acpi.end <= 0xf_fff0)
        let error = #expect(throws: BootError.self) {
            try tables(BootPlan(layout: .microvm, cpuCount: 254, devices: devices + devices, hasSerial: true))
        }
        #expect(error?.field == "devices")
    }

    @Test(
        arguments: [
            (0, [0x00]), (1, [0x01]), (2, [0x0a, 2]), (0xff, [0x0a, 0xff]), (0x100, [0x0b, 0, 1]),
            (0xffff, [0x0b, 0xff, 0xff]), (0x1_0000, [0x0c, 0, 0, 1, 0]), (UInt32.max, [0x0c, 0xff, 0xff, 0xff, 0xff]),
        ] as [(UInt32, [UInt8])])
    func integersAreAsShortAsTheyCanBe(value: UInt32, expected: [UInt8]) {
        #expect(AML.integer(value) == expected)
    }

    /// Bodies with their name's four bytes, at the edges of each width of a PkgLength.
    @Test(
        arguments: [
            (58, [0x3f]), (59, [0x41, 0x04]), (4089, [0x4f, 0xff]), (4090, [0x81, 0x00, 0x01]),
            (1_048_568, [0x8f, 0xff, 0xff]), (1_048_569, [0xc1, 0x00, 0x00, 0x01]),
        ] as [(Int, [UInt8])])
    func packageLengthsCountThemselves(count: Int, prefix: [UInt8]) {
        let scope = AML.scope("ABCD", [UInt8](repeating: 0, count: count))
        #expect(Array(scope.prefix(1 + prefix.count)) == [0x10] + prefix)
        #expect(scope.count == 1 + prefix.count + 4 + count)
    }

    /// Intel's own compiler takes our byte code apart and makes the same bytes again.
    @Test(.enabled(if: FileManager.default.isExecutableFile(atPath: "/usr/bin/iasl")))
    func iaslAgrees() throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "apus-acpi-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        // Not by Foundation's Process, which reads beyond a buffer when it looks for open descriptors.
        func iasl(_ arguments: String) throws -> String {
            let command = "cd '\(directory.path)' && /usr/bin/iasl \(arguments) 2>&1"
            guard let pipe = unsafe popen(command, "r") else { throw POSIXError(.EMFILE) }
            let output = unsafe FileHandle(fileDescriptor: fileno(pipe)).readDataToEndOfFile()
            let text = String(decoding: output, as: UTF8.self)
            let status = unsafe pclose(pipe)
            #expect(status == 0, "\(text)")
            return text
        }
        let devices = (0..<20).map {
            VirtioMMIODevice(base: 0xf010_0000 + 0x200 * UInt32($0), size: 0x200, irq: 5 + UInt32($0))
        }
        for (name, bytes) in try tables(BootPlan(layout: .microvm, cpuCount: 3, devices: devices, hasSerial: true))
            .tables
        {
            try Data(bytes).write(to: directory.appending(path: "\(name).dat"))
            let text = try iasl("-d \(name).dat")
            #expect(!text.contains("Warning") && !text.contains("Error"), "\(text)")
        }
        let report = try iasl("-p again DSDT.dsl")
        #expect(report.contains("0 Errors, 0 Warnings, 0 Remarks, 0 Optimizations"), "\(report)")
        let first = try Data(contentsOf: directory.appending(path: "DSDT.dat"))
        let again = try Data(contentsOf: directory.appending(path: "again.aml"))
        // The compiler puts its own name and version, and so another checksum, into the header.
        #expect(first.dropFirst(36) == again.dropFirst(36))
    }
}
