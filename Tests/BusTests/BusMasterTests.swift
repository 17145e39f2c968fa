import Bus
import EventLoop
import Host
import Synchronization
import Testing

@Suite struct BusMasterTests {
    /// What a vCPU's thread has read.
    private final class Values: Sendable {
        private let values = Mutex<[UInt64]>([])
        var all: [UInt64] { values.withLock { $0 } }
        func add(_ value: UInt64) { values.withLock { $0.append(value) } }
    }

    @Test func accessesReachTheirDeviceAtTheirOffset() throws {
        let rig = try BusRig()
        let probes = (0..<3).map { Probe(UInt64($0)) }
        for (index, probe) in probes.enumerated() {
            #expect(rig.devices.attach(probe, at: .memory(0x1000 + UInt64(index) * 0x100, count: 0x100)))
        }
        let port = Probe(7)
        #expect(rig.devices.attach(port, at: .ports(0x1000, count: 4)))
        let read = Values()
        try rig.run { _, master in
            read.add(master.read(.memory, at: 0x1104, size: 4))
            read.add(master.read(.memory, at: 0x12ff, size: 1))
            read.add(master.read(.ports, at: 0x1002, size: 2))
            master.write(.memory, at: 0x1010, size: 8, value: 0x1234_5678_9abc_def0)
            master.write(.ports, at: 0x1003, size: 1, value: 5)
        }
        #expect(read.all == [0x104, 0x2ff, 0x702])
        #expect(
            probes[0].writes == [BusAccess(isWrite: true, size: 8, offset: 0x10, value: 0x1234_5678_9abc_def0)])
        #expect(port.writes == [BusAccess(isWrite: true, size: 1, offset: 3, value: 5)])
    }

    @Test func noReactorTurnsForWhatNoDeviceAnswers() throws {
        let rig = try BusRig()
        let probe = Probe()
        #expect(rig.devices.attach(probe, at: .memory(0x1000, count: 0x100)))
        #expect(rig.bus.insert(BusRange(.ports(0x70, count: 2), constant: 0)))
        var master = try rig.master()
        // On the reactor's own thread, where a forwarded access would never be answered.
        let read = [
            master.read(.memory, at: 0xfff, size: 1), master.read(.memory, at: 0x10fd, size: 4),
            master.read(.ports, at: 0x1000, size: 4), master.read(.ports, at: 0x71, size: 1),
            master.read(.ports, at: 0x70, size: 2), master.read(.ports, at: 0x71, size: 2),
        ]
        #expect(read == [.max, .max, .max, 0, 0, .max])
        master.write(.memory, at: 0x10ff, size: 2, value: 1)
        master.write(.ports, at: 0x70, size: 1, value: 1)
        master.write(.ports, at: 0x80, size: 1, value: 1)
        #expect(probe.writes.isEmpty)
    }

    @Test func publishedRegistersNeedNoReactor() throws {
        let rig = try BusRig()
        let status = InterruptStatus()
        let published = PublishedRegisters([
            .value(at: 5, size: 1), .causes(status, at: 0x60), .acknowledge(status, at: 0x64),
        ])
        let probe = Probe(1)
        #expect(rig.devices.attach(probe, at: .memory(0x1000, count: 0x100), published: published))
        published.store(0x42, at: 5)
        status.insert(3)
        var master = try rig.master()
        let own = [master.read(.memory, at: 0x1005, size: 1), master.read(.memory, at: 0x1060, size: 4)]
        #expect(own == [0x42, 3])
        master.write(.memory, at: 0x1064, size: 4, value: 1)
        #expect(status.value == 2)
        published.store(nil, at: 5)
        let read = Values()
        try rig.run { _, master in
            read.add(master.read(.memory, at: 0x1005, size: 1))
            read.add(master.read(.memory, at: 0x1060, size: 2))
            master.write(.memory, at: 0x1060, size: 4, value: 2)
            master.write(.memory, at: 0x1064, size: 1, value: 2)
        }
        #expect(read.all == [0x105, 0x160], "the device answers what is not published")
        #expect(probe.writes.map(\.offset) == [0x60, 0x64])
        #expect(status.value == 2)
    }

    @Test(arguments: [false, true]) func accessesOfManyThreadsAreAllServed(maySpin: Bool) throws {
        let rig = try BusRig(vcpus: 4, maySpin: maySpin)
        let probe = Probe()
        #expect(rig.devices.attach(probe, at: .ports(0, count: 1)))
        try rig.run { _, master in
            for _ in 0..<2000 { master.write(.ports, at: 0, size: 1, value: 1) }
        }
        #expect(probe.writes.count == 8000)
    }

    @Test func aReadSeesWhatItsThreadPostedBefore() throws {
        let rig = try BusRig(vcpus: 2)
        let probe = Probe()
        #expect(rig.devices.attach(probe, at: .ports(0x3f8, count: 8), postsFirst: true))
        try rig.run { vcpu, master in
            for round in 0..<1500 as Range<UInt64> {
                master.write(.ports, at: 0x3f8, size: 1, value: round & 0x7f | UInt64(vcpu) << 7)
                if round % 7 == 0 { master.write(.ports, at: 0x3ff, size: 1, value: UInt64(vcpu) << 7) }
            }
            master.write(.ports, at: 0x3ff, size: 1, value: UInt64(vcpu) << 7)
        }
        for vcpu in 0..<2 as Range<UInt64> {
            let mine = probe.writes.filter { $0.value >> 7 == vcpu }
            // Between two writes that were waited for there are seven bytes, all in their order.
            #expect(mine.filter { $0.offset == 0 }.map(\.value) == (0..<1500).map { $0 & 0x7f | vcpu << 7 })
            let waited = mine.indices.filter { mine[$0].offset == 7 }
            #expect(waited.dropLast().enumerated().allSatisfy { $1 == 1 + 8 * $0 })
        }
    }

    @Test func onlyAByteToTheFirstPortIsPosted() throws {
        let rig = try BusRig()
        let probe = Probe()
        #expect(rig.devices.attach(probe, at: .ports(0x3f8, count: 8), postsFirst: true))
        var master = try rig.master()
        for byte in 0..<3 as Range<UInt64> { master.write(.ports, at: 0x3f8, size: 1, value: 0xab00 | byte) }
        #expect(probe.writes.isEmpty)
        rig.reactor.turn(waiting: false)
        #expect(probe.writes.map(\.value) == [0, 1, 2])
        probe.writes = []
        try rig.run { _, master in
            master.write(.ports, at: 0x3f8, size: 2, value: 0x0102)
            master.write(.ports, at: 0x3f9, size: 1, value: 3)
        }
        #expect(probe.writes.map(\.size) == [2, 1])
    }

    @Test func aFullQueueOfPostedWritesIsWaitedFor() throws {
        let rig = try BusRig()
        let probe = Probe()
        #expect(rig.devices.attach(probe, at: .ports(0, count: 1), postsFirst: true))
        // More than the queue holds, while the reactor does not turn.
        while rig.reactor.handle.post(0) {}
        try rig.run { _, master in
            master.write(.ports, at: 0, size: 1, value: 9)
        }
        #expect(probe.writes.map(\.value) == [9])
    }

    @Test func actionsReachTheMachine() throws {
        var actions: [BusAction] = []
        let rig = try BusRig { actions.append($0) }
        let probe = Probe()
        #expect(rig.devices.attach(probe, at: .ports(0x64, count: 1), postsFirst: true))
        try rig.run { _, master in master.write(.ports, at: 0x64, size: 1, value: 0) }
        #expect(actions.isEmpty)
        probe.action = .reset
        try rig.run { _, master in master.write(.ports, at: 0x64, size: 1, value: 0) }
        #expect(actions == [.reset])
    }

    @Test func noMasterForAVCPUThatThereIsNot() throws {
        func has(_ bus: SystemBus, _ vcpu: Int) -> Bool { if BusMaster(bus, vcpu: vcpu) == nil { false } else { true } }
        let bus = SystemBus(vcpus: 2)
        #expect(has(bus, 1))
        for vcpu in [-1, 2, Int.max] { #expect(!has(bus, vcpu)) }
        #expect(!has(SystemBus(vcpus: 1000), ReactorHandle.maximumCallers))
        #expect(!has(SystemBus(vcpus: -1), 0))
    }
}
