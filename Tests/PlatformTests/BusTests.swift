import EventLoop
import Platform
import Testing

private final class Probe: BusDevice {
    var action = BusAction.none
    var last: (offset: UInt64, size: Int, value: UInt64)?

    func read(at offset: UInt64, size: Int) -> UInt64 { offset + 0x50 }

    func write(at offset: UInt64, size: Int, value: UInt64) -> BusAction {
        last = (offset, size, value)
        return action
    }
}

@Suite struct BusTests {
    private func read(_ bus: Bus, _ space: BusAccess.Space, _ address: UInt64, size: UInt8 = 1) -> UInt64 {
        var access = BusAccess(space: space, isWrite: false, size: size, address: address)
        bus.serve(&access)
        return access.value
    }

    @Test func accessesFindTheirDevice() {
        let bus = Bus { _ in }
        let devices = (0..<20).map { _ in Probe() }
        for (index, device) in devices.enumerated() {
            #expect(bus.attach(device, .memory, at: UInt64(index) * 0x200, count: 0x100))
        }
        for index in 0..<20 as Range<UInt64> {
            #expect(read(bus, .memory, index * 0x200) == 0x50)
            #expect(read(bus, .memory, index * 0x200 + 0xfc, size: 4) == 0x14c)
            #expect(read(bus, .memory, index * 0x200 + 0xfd, size: 4) == 0xffff_ffff, "crosses the end")
            #expect(read(bus, .memory, index * 0x200 + 0x100) == 0xff)
            #expect(read(bus, .ports, index * 0x200) == 0xff)
        }
    }

    @Test func rangesExcludeEachOther() {
        let bus = Bus { _ in }
        #expect(bus.attach(Probe(), .ports, at: 0x3f8, count: 8))
        for (start, count) in [(0x3f8, 8), (0x3f0, 9), (0x3ff, 1), (0, 0x1000), (0x3f9, 2)] as [(UInt64, UInt64)] {
            #expect(!bus.attach(Probe(), .ports, at: start, count: count))
        }
        #expect(!bus.attach(Probe(), .ports, at: 0x10, count: 0))
        #expect(!bus.attach(Probe(), .memory, at: .max, count: 2))
        #expect(bus.attach(Probe(), .memory, at: 0x3f8, count: 8))
        #expect(bus.attach(Probe(), .ports, at: 0x400, count: 8))
    }

    @Test func actionsReachTheMachineAndDetachedDevicesAreGone() {
        var actions: [BusAction] = []
        let bus = Bus { actions.append($0) }
        let device = Probe()
        #expect(bus.attach(device, .ports, at: 0x64, count: 1))
        var access = BusAccess(space: .ports, isWrite: true, size: 1, address: 0x64, value: 0xfe)
        bus.serve(&access)
        #expect(actions.isEmpty)
        device.action = .reset
        bus.serve(&access)
        #expect(actions == [.reset])
        bus.detach(device)
        bus.serve(&access)
        #expect(actions == [.reset])
    }
}
