import Bus
import Testing

@Suite struct BoardLayoutTests {
    @Test func slotsFollowEachOther() {
        let window = BoardLayout.microvm.virtio
        #expect(window.addresses(ofSlot: 0) == .memory(0xf010_0000, count: 0x200))
        #expect(window.addresses(ofSlot: 18) == .memory(0xf010_2400, count: 0x200))
        #expect(window.line(ofSlot: 0) == 5 && window.line(ofSlot: 18) == 23)
    }

    @Test func aSlotForEachLineBehindTheBoards() {
        var layout = BoardLayout.microvm
        #expect(layout.slots(acpi: true) == 19 && layout.slots(acpi: false) == 11)
        layout.virtio.firstLine = 8
        layout.interrupts.lines = 48
        #expect(layout.slots(acpi: true) == 40 && layout.slots(acpi: false) == 8)
    }

    @Test func nothingOfAMicroVMOverlaps() {
        let layout = BoardLayout.microvm
        var map = AddressMap()
        var ranges = [
            layout.serial.addresses, layout.keyboard.addresses, layout.panic, layout.power.addresses,
            layout.absentClock, .memory(UInt64(layout.interrupts.localAPIC), count: 0x1000),
            .memory(UInt64(layout.interrupts.ioAPIC), count: 0x1000), .memory(layout.memory.identityMap, count: 0x1000),
            .memory(layout.memory.taskState, count: 0x3000), .memory(0, count: layout.memory.lowEnd),
            .memory(layout.memory.highStart, count: 1 << 39),
        ]
        ranges += (0..<layout.slots(acpi: true)).map { layout.virtio.addresses(ofSlot: $0) }
        #expect(ranges.filter { !map.insert(BusRange($0, constant: 0)) } == [])
        #expect(layout.power.sleepControl >= layout.power.addresses.firstPort)
        for port in [layout.power.sleepControl, layout.power.sleepStatus, layout.power.reset] {
            #expect(map.range(at: UInt64(port), size: 1, in: .ports)?.addresses == layout.power.addresses)
        }
    }

    @Test func rangesAreWrittenByTheirEnds() {
        #expect("\(AddressRange.ports(0x3f8, count: 8))" == "0x3f8-0x3ff")
        #expect("\(BoardLayout.microvm.virtio.addresses(ofSlot: 1))" == "0xf0100200-0xf01003ff")
    }
}
