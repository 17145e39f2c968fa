import Bus
import Testing

@Suite struct PublishedRegistersTests {
    @Test func valuesAreReadInTheirWidthOnly() {
        let registers = PublishedRegisters([
            .value(at: 5, size: 1), .value(at: 8, size: 4), .value(at: 0x102, size: 2),
        ])
        #expect(registers.load(at: 8, size: 4) == nil, "withdrawn at first")
        registers.store(.max, at: 8)
        registers.store(0, at: 5)
        registers.store(0x1234, at: 0x102)
        #expect(registers.load(at: 8, size: 4) == .max)
        #expect(registers.load(at: 5, size: 1) == 0)
        #expect(registers.load(at: 0x102, size: 2) == 0x1234)
        for size in [1, 2, 8] as [UInt8] { #expect(registers.load(at: 8, size: size) == nil) }
        for offset in [0, 4, 6, 9, 0x103, 0x104, .max] as [UInt64] {
            #expect(registers.load(at: offset, size: 1) == nil)
            registers.store(1, at: offset)
        }
        registers.store(nil, at: 8)
        #expect(registers.load(at: 8, size: 4) == nil)
        #expect(!registers.acknowledge(1, at: 8, size: 4))
    }

    @Test func causesAreReadAndTakenAway() {
        let status = InterruptStatus()
        let registers = PublishedRegisters([.causes(status, at: 0x60), .acknowledge(status, at: 0x64)])
        status.insert(3)
        #expect(registers.load(at: 0x60, size: 4) == 3)
        #expect(registers.load(at: 0x64, size: 4) == nil)
        #expect(!registers.acknowledge(3, at: 0x60, size: 4))
        #expect(!registers.acknowledge(3, at: 0x64, size: 2))
        #expect(status.value == 3)
        #expect(registers.acknowledge(2, at: 0x64, size: 4))
        #expect(status.value == 1)
        // Only the device's causes say what is read there.
        registers.store(7, at: 0x60)
        #expect(registers.load(at: 0x60, size: 4) == 1)
        status.setStanding(1)
        status.clear()
        #expect(status.value == 1)
    }

    @Test func aTableWithoutRegistersHasNone() {
        let registers = PublishedRegisters([])
        #expect(registers.load(at: 0, size: 1) == nil)
        let far = PublishedRegisters([.value(at: .max, size: 1), .value(at: 4096, size: 1), .value(at: 4095, size: 1)])
        far.store(1, at: 4096)
        far.store(2, at: 4095)
        #expect(far.load(at: 4096, size: 1) == nil)
        #expect(far.load(at: 4095, size: 1) == 2)
    }
}
