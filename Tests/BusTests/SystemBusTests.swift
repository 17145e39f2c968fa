import Bus
import EventLoop
import Host
import Synchronization
import Testing

@Suite struct SystemBusTests {
    @Test func aDetachedDeviceIsGoneAtOnce() throws {
        let rig = try BusRig()
        var isReleased = false
        var probe: Probe? = Probe(1)
        probe?.onEnd = { isReleased = true }
        let device = try #require(probe)
        #expect(rig.devices.attach(device, at: .memory(0x1000, count: 8)))
        #expect(rig.devices.attach(device, at: .ports(0x10, count: 8)))
        #expect(rig.devices.attach(Probe(2), at: .ports(0x18, count: 8)))
        #expect(!rig.devices.attach(device, at: .ports(0x17, count: 1)))
        rig.devices.detach(device)
        #expect(rig.bus.snapshot.ranges(of: .memory).isEmpty)
        #expect(rig.bus.snapshot.ranges(of: .ports).map(\.addresses) == [.ports(0x18, count: 8)])
        probe = nil
        withExtendedLifetime(device) {}
        _ = consume device
        #expect(isReleased)
    }

    /// What a vCPU's thread does that found the range before the device was detached: it holds the map of before.
    @Test func aStaleAccessReadsAllOnesAndKeepsNoDevice() throws {
        let rig = try BusRig()
        let released = Futex(0)
        var device: Probe? = Probe(1)
        device?.onEnd = { _ = released.add(1) }
        if let device { #expect(rig.devices.attach(device, at: .ports(0x10, count: 8), postsFirst: true)) }
        let old = rig.bus.snapshot
        var master = try rig.master()
        master.write(.ports, at: 0x10, size: 1, value: 1)
        if let device { rig.devices.detach(device) }
        device = nil
        #expect(released.load() == 1)
        let cell = try #require(old.range(at: 0x10, size: 4, in: .ports)?.cell)
        for (size, expected) in [(1, 0xff), (2, 0xffff), (4, 0xffff_ffff), (8, .max)] as [(UInt8, UInt64)] {
            var access = BusAccess(isWrite: false, size: size, offset: 0)
            rig.devices.perform(&access, on: cell)
            #expect(access.value == expected)
        }
        var write = BusAccess(isWrite: true, size: 1, offset: 0, value: 5)
        rig.devices.perform(&write, on: cell)
        // The byte that was posted before finds no device either, and not the next one that is attached there.
        let next = Probe(2)
        #expect(rig.devices.attach(next, at: .ports(0x10, count: 8), postsFirst: true))
        rig.reactor.turn(waiting: false)
        #expect(next.writes.isEmpty)
    }

    @Test func aRangeMovesInOneChange() throws {
        let rig = try BusRig()
        let probe = Probe(1)
        let first = AddressRange.memory(0x1000, count: 0x100)
        #expect(rig.devices.attach(probe, at: first))
        #expect(rig.devices.attach(Probe(2), at: .memory(0x2000, count: 0x100)))
        #expect(!rig.devices.move(probe, from: first, to: 0x20ff))
        #expect(!rig.devices.move(probe, from: first, to: .max))
        #expect(!rig.devices.move(probe, from: .memory(0x1000, count: 1), to: 0x3000))
        #expect(rig.bus.snapshot.range(at: 0x1000, size: 1, in: .memory) != nil, "a refused move changes nothing")
        #expect(rig.devices.move(probe, from: first, to: 0x1080), "over its own old place")
        #expect(rig.bus.snapshot.range(at: 0x1000, size: 1, in: .memory) == nil)
        #expect(rig.bus.snapshot.range(at: 0x117f, size: 1, in: .memory)?.addresses.start == 0x1080)
        rig.devices.detach(probe)
        #expect(rig.bus.snapshot.range(at: 0x1080, size: 1, in: .memory) == nil)
    }

    /// Two ranges change places again and again while vCPUs read both: no access sees a map in between, in which one
    /// of them is missing.
    @Test func readersSeeWholeMapsOnly() throws {
        let rig = try BusRig(vcpus: 3)
        let other = BusRange(.memory(0x5000, count: 0x10), constant: 5)
        #expect(rig.bus.insert(other))
        #expect(rig.bus.insert(BusRange(.memory(0x1000, count: 0x10), constant: 1)))
        let mistakes = Atomic<Int>(0)
        let isDone = Atomic<Bool>(false)
        let changer = Joiner(
            try HostThread(name: "changer") { [bus = rig.bus] in
                var range = other
                for round in 0..<4000 as Range<UInt64> {
                    if let moved = bus.move(range, to: 0x5000 + (round & 1) * 8) { range = moved }
                }
                isDone.store(true, ordering: .releasing)
            })
        try rig.run { _, master in
            while !isDone.load(ordering: .acquiring) {
                // Always in both places, and the first range nowhere else.
                if master.read(.memory, at: 0x5008, size: 8) != 5 || master.read(.memory, at: 0x1000, size: 1) != 1 {
                    mistakes.wrappingAdd(1, ordering: .relaxed)
                }
            }
        }
        changer.join()
        #expect(mistakes.load(ordering: .relaxed) == 0)
    }

    /// A guest that moves a range by a write, as one that programs a PCI base address does, finds it there next.
    @Test func aChangeIsSeenByTheVCPUThatCausedIt() throws {
        let rig = try BusRig()
        let mover = Mover()
        let probe = Probe(1)
        mover.move = { [devices = rig.devices] start in
            let old = mover.range
            mover.range = .memory(start, count: 0x10)
            return devices.move(probe, from: old, to: start)
        }
        #expect(rig.devices.attach(probe, at: mover.range))
        #expect(rig.devices.attach(mover, at: .ports(0xcfc, count: 4)))
        let mistakes = Atomic<Int>(0)
        try rig.run { _, master in
            for round in 0..<500 as Range<UInt64> {
                let start = 0x10_0000 + round % 3 * 0x1000
                master.write(.ports, at: 0xcfc, size: 4, value: start)
                if master.read(.memory, at: start + 4, size: 4) != 0x104 {
                    mistakes.wrappingAdd(1, ordering: .relaxed)
                }
            }
        }
        #expect(mistakes.load(ordering: .relaxed) == 0)
        mover.move = nil
    }

    private final class Mover: BusDevice {
        var range = AddressRange.memory(0x1000, count: 0x10)
        var move: ((UInt64) -> Bool)?

        func read(at offset: UInt64, size: Int) -> UInt64 { 0 }

        func write(at offset: UInt64, size: Int, value: UInt64) -> BusAction {
            _ = move?(value)
            return .none
        }
    }

    /// Devices of two reactors, one of which comes and goes while vCPUs use it.
    @Test func devicesOfAnotherReactorAreServedThere() throws {
        let rig = try BusRig(vcpus: 2)
        #expect(rig.devices.attach(Probe(1), at: .memory(0x1000, count: 8)))
        let ready = Futex(0)
        let isDone = Atomic<Bool>(false)
        let mistakes = Atomic<Int>(0)
        let other = Joiner(
            try HostThread(name: "other") { [bus = rig.bus] in
                guard let reactor = try? Reactor(name: "other") else { return }
                let devices = ReactorBus(reactor, bus) { _ in }
                let number = HostThread.currentID
                ready.store(1)
                ready.wake()
                while !isDone.load(ordering: .acquiring) {
                    let probe = Probe(2)
                    let check = {
                        if HostThread.currentID != number { mistakes.wrappingAdd(1, ordering: .relaxed) }
                    }
                    probe.onRead = check
                    probe.onEnd = check
                    if !devices.attach(probe, at: .memory(0x2000, count: 8)) {
                        mistakes.wrappingAdd(1, ordering: .relaxed)
                    }
                    for _ in 0..<20 { reactor.turn(waiting: false) }
                    devices.detach(probe)
                }
            })
        while ready.load() == 0 { ready.wait(while: 0) }
        let left = Atomic<Int>(2)
        try rig.run { _, master in
            for _ in 0..<2000 {
                if master.read(.memory, at: 0x1000, size: 4) != 0x100 {
                    mistakes.wrappingAdd(1, ordering: .relaxed)
                }
                let value = master.read(.memory, at: 0x2000, size: 4)
                if value != 0x200, value & 0xffff_ffff != 0xffff_ffff {
                    mistakes.wrappingAdd(1, ordering: .relaxed)
                }
            }
            if left.wrappingSubtract(1, ordering: .relaxed).newValue == 0 { isDone.store(true, ordering: .releasing) }
        }
        other.join()
        #expect(mistakes.load(ordering: .relaxed) == 0)
    }
}
