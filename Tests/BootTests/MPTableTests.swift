import Bus
import Memory
import Testing

@testable import Boot

/// What a guest finds when it reads the MP table by the specification's chapter 4, from the floating pointer on.
private struct ParsedMPTable {
    var address: UInt64 = 0
    var oem = ""
    var product = ""
    var localAPIC: UInt32 = 0
    var processors: [(identifier: UInt8, version: UInt8, flags: UInt8)] = []
    var buses: [(identifier: UInt8, name: String)] = []
    var ioAPICs: [(identifier: UInt8, flags: UInt8, address: UInt32)] = []
    var interrupts: [(type: UInt8, flags: UInt16, bus: UInt8, irq: UInt8, destination: UInt8, pin: UInt8)] = []
    var localInterrupts: [(type: UInt8, flags: UInt16, destination: UInt8, pin: UInt8)] = []
    var end: UInt64 = 0

    init(_ memory: GuestMemory) throws {
        func text(_ bytes: some Sequence<UInt8>) -> String { String(decoding: Array(bytes), as: UTF8.self) }
        let pointer = try memory.bytes(0x9_fc00, 16)
        try #require(text(pointer[0..<4]) == "_MP_")
        try #require(pointer[8] == 1 && pointer[9] == 4)
        try #require(pointer.reduce(0, &+) == 0)
        #expect(pointer[11...].elementsEqual([0, 0, 0, 0, 0]))
        address = UInt64(pointer[4]) | UInt64(pointer[5]) << 8 | UInt64(pointer[6]) << 16 | UInt64(pointer[7]) << 24

        let header = try memory.bytes(address, 44)
        try #require(text(header[0..<4]) == "PCMP")
        try #require(header[6] == 4)
        let length = Int(header[4]) | Int(header[5]) << 8
        let table = try memory.bytes(address, length)
        try #require(table.reduce(0, &+) == 0)
        oem = text(header[8..<16])
        product = text(header[16..<28])
        localAPIC = try memory.value(address + 36, UInt32.self)
        end = address + UInt64(length)

        var count = Int(header[34]) | Int(header[35]) << 8
        var rest = table[44...]
        while let type = rest.first {
            let entry = Array(rest.prefix(type == 0 ? 20 : 8))
            rest = rest.dropFirst(entry.count)
            count -= 1
            let flags = UInt16(entry[2]) | UInt16(entry[3]) << 8
            switch type {
            case 0: processors.append((entry[1], entry[2], entry[3]))
            case 1: buses.append((entry[1], text(entry[2...])))
            case 2:
                let address = entry[4...].reversed().reduce(0) { $0 << 8 | UInt32($1) }
                ioAPICs.append((entry[1], entry[3], address))
            case 3: interrupts.append((entry[1], flags, entry[4], entry[5], entry[6], entry[7]))
            case 4: localInterrupts.append((entry[1], flags, entry[6], entry[7]))
            default: Issue.record("entry of type \(type)")
            }
        }
        try #require(count == 0)
    }
}

@Suite struct MPTableTests {
    @Test(arguments: [1, 2, 40, 41, 128, 253, 254])
    func describesTheMachine(cpuCount: Int) throws {
        let memory = try dirtyMemory()
        try load(.linux, BootPlan(layout: .microvm, cpuCount: cpuCount), into: memory)
        let table = try ParsedMPTable(memory)

        #expect(table.oem == "APUS    ")
        #expect(table.product == "1.0         ")
        #expect(table.localAPIC == 0xfee0_0000)
        #expect(table.processors.map(\.identifier) == (0..<cpuCount).map { UInt8($0) })
        #expect(table.processors.allSatisfy { $0.version == 0x14 })
        #expect(table.processors.map(\.flags) == [3] + [UInt8](repeating: 1, count: cpuCount - 1))
        #expect(table.buses.map(\.name) == ["ISA   "])

        try #require(table.ioAPICs.count == 1)
        let ioAPIC = table.ioAPICs[0]
        #expect(ioAPIC.address == 0xfec0_0000 && ioAPIC.flags == 1)
        #expect(!table.processors.contains { $0.identifier == ioAPIC.identifier })
        #expect(ioAPIC.identifier != 0xff)

        #expect(table.interrupts.map(\.irq) == Array(0..<16))
        #expect(table.interrupts.map(\.pin) == Array(0..<16))
        for interrupt in table.interrupts {
            #expect(interrupt.type == 0 && interrupt.flags == 0 && interrupt.bus == table.buses[0].identifier)
            #expect(interrupt.destination == ioAPIC.identifier)
        }
        #expect(table.localInterrupts.map(\.type) == [3, 1])
        #expect(table.localInterrupts.map(\.pin) == [0, 1])
        #expect(table.localInterrupts[1].destination == 0xff)
    }

    /// Everything the table says of the board comes from its layout.
    @Test func anotherBoardHasAnotherTable() throws {
        var layout = BoardLayout.microvm
        layout.interrupts = BoardLayout.InterruptControllers(
            localAPIC: 0xfed0_0000, ioAPIC: 0xfeb0_0000, lines: 48, isaLines: 12)
        layout.power.reset = 0x1234
        layout.power.resetValue = 6
        let memory = try dirtyMemory()
        try load(.linux, BootPlan(layout: layout, cpuCount: 2), into: memory)
        let table = try ParsedMPTable(memory)
        #expect(table.localAPIC == 0xfed0_0000)
        #expect(table.ioAPICs.map(\.address) == [0xfeb0_0000])
        #expect(table.interrupts.map(\.irq) == Array(0..<12))
        // The reset vector writes the layout's value to the layout's port.
        #expect(try memory.bytes(0xf_fff0, 6) == [0xba, 0x34, 0x12, 0xb0, 6, 0xee])
    }

    @Test func noMoreProcessorsThanTheBoardCanHave() throws {
        var layout = BoardLayout.microvm
        layout.limits.vcpus = 2
        let error = #expect(throws: BootError.self) {
            try load(.linux, BootPlan(layout: layout, cpuCount: 3), into: dirtyMemory())
        }
        #expect(error?.description == "-smp: cpus: is 3, not 1 to 2")
    }

    /// In memory that the map of `MemoryMap` reserves, and away from the ACPI tables.
    @Test(arguments: [(1, 0x9_fc10), (40, 0x9_fc10), (41, 0xd_0000), (254, 0xd_0000)] as [(Int, UInt64)])
    func liesInReservedMemory(cpuCount: Int, address: UInt64) throws {
        let memory = try dirtyMemory()
        try load(.linux, BootPlan(layout: .microvm, cpuCount: cpuCount), into: memory)
        let table = try ParsedMPTable(memory)
        #expect(table.address == address)
        #expect(table.end <= (address < 0xa_0000 ? 0xa_0000 : 0xe_0000))
        #expect(try memory.bytes(table.end, 16).allSatisfy { $0 == 0xee } || table.end == 0xa_0000)
        #expect(try memory.value(0xa_0000, UInt8.self) == 0xee)
    }
}

@Suite struct APICIdentifierTests {
    @Test(
        arguments: [
            ([], 2, [0, 1], 2), ([0, 1, 2, 4, 5, 6], 6, [0, 1, 2, 4, 5, 6], 7), ([0, 254], 2, [0, 254], 1),
        ] as [([UInt8], Int, [UInt8], UInt8)])
    func theIOAPICTakesAFreeOne(given: [UInt8], count: Int, expected: [UInt8], ioAPIC: UInt8) throws {
        let identifiers = try APICIdentifiers(BootPlan(layout: .microvm, cpuCount: count, apicIDs: given))
        #expect(identifiers.processors == expected)
        #expect(identifiers.ioAPIC == ioAPIC)
    }

    @Test(arguments: [[0, 0], [0, 255], [0]] as [[UInt8]]) func impossibleOnesAreRefused(given: [UInt8]) {
        #expect(throws: BootError.self) { try APICIdentifiers(BootPlan(layout: .microvm, cpuCount: 2, apicIDs: given)) }
    }
}
