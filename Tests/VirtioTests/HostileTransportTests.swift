import Bus
import EventLoop
import Host
import Memory
import TestSupport
import Testing
import Virtio

/// What a driver can do wrong in the registers. The numbers are those of the list of hostile inputs that every
/// device has to survive.
@Suite struct HostileTransportTests {
    private static let needed: DeviceStatus = [.acknowledge, .driver, .featuresOK]

    @Test(arguments: [0, 3, 6, 9, 16, 255, 0x8000, 0x10000, 0x10001, 0x10008, 0xffff_ffff] as [UInt32])
    func case01QueueSizes(size: UInt32) throws {
        let rig = try Rig()
        try rig.driver.negotiate()
        let layout = try rig.driver.layOut(size: 8)
        rig.driver.setUp(0, layout)
        #expect(rig.driver.read(.queueReady) == 1)
        rig.driver.write(.queueReady, 0)
        #expect(rig.driver.read(.queueReady) == 0)
        rig.driver.write(.queueNum, size)
        rig.driver.write(.queueReady, 1)
        #expect(rig.driver.read(.queueReady) == 0)
        rig.driver.addStatus(.driverOK)
        rig.driver.write(.queueNotify, 0)
        rig.driver.settle()
        #expect(rig.device.context == nil && rig.device.requests == 0)
        try rig.expectStopped()
    }

    @Test(
        arguments: [
            (0x1008, 0x2000, 0x3000), (0x1000, 0x2001, 0x3000), (0x1000, 0x2000, 0x3002), (1, 1, 1),
            (UInt64.max, UInt64.max, UInt64.max),
        ] as [(UInt64, UInt64, UInt64)])
    func case02MisalignedRings(descriptors: UInt64, available: UInt64, used: UInt64) throws {
        let rig = try Rig()
        try rig.driver.negotiate()
        rig.driver.setUp(0, Self.layout(descriptors, available, used))
        #expect(rig.driver.read(.queueReady) == 0)
        try rig.expectWorksAfterReset()
    }

    @Test func case02RingsNeverSet() throws {
        let rig = try Rig()
        try rig.driver.negotiate()
        rig.driver.write(.queueReady, 1)
        #expect(rig.driver.read(.queueReady) == 0, "a queue without a size")
        rig.driver.write(.queueNum, 8)
        rig.driver.write(.queueReady, 1)
        rig.driver.addStatus(.driverOK)
        rig.driver.settle()
        try rig.expectWorksAfterReset()
    }

    static let placesOutsideMemory: [UInt64] = [
        Rig.hole, Rig.high - 16, Rig.end, Rig.end - 16, Rig.border - 16, Rig.hole - 16, 0xd000_0000, 1 << 63,
        UInt64.max - 15,
    ]

    @Test(arguments: placesOutsideMemory, [QueueLayout.Part.descriptorTable, .availableRing, .usedRing])
    func case03RingsOutsideMemory(place: UInt64, part: QueueLayout.Part) throws {
        let rig = try Rig()
        try rig.driver.negotiate()
        var layout = Self.layout(0x1000, 0x2000, 0x3000)
        switch part {
        case .descriptorTable: layout.descriptorTable = GuestAddress(place)
        case .availableRing: layout.availableRing = GuestAddress(place + 14 - (place + 14) % 2)
        case .usedRing: layout.usedRing = GuestAddress(place)
        }
        rig.driver.setUp(0, layout)
        #expect(rig.driver.read(.queueReady) == 0)
        try rig.expectWorksAfterReset()
    }

    @Test(
        arguments: [(0x1000, 0x1000, 0x1000), (0x1000, 0x1010, 0x1004), (0x1000, 0x2000, 0x2000)]
            as [(
                UInt64, UInt64, UInt64
            )])
    func case04OverlappingRings(descriptors: UInt64, available: UInt64, used: UInt64) throws {
        let rig = try Rig(queueSizes: [8, 8])
        try rig.driver.negotiate()
        let layout = Self.layout(descriptors, available, used)
        rig.driver.setUp(0, layout)
        rig.driver.setUp(1, layout)
        rig.driver.addStatus(.driverOK)
        let before = rig.memory.host.bytes
        let queue = try rig.driver.queue(0, layout, features: .version1)
        for round in 0..<64 as Range<UInt16> {
            queue.offer(round % 8)
            queue.publish()
            queue.kick()
            rig.driver.write(.queueNotify, 1)
            rig.driver.settle()
        }
        rig.expectOnlyChanged(since: before, in: [(GuestAddress(0x1000), 0x2000)])
        try rig.expectBystanderWorks()
        try rig.expectWorksAfterReset()
    }

    @Test(arguments: [false, true])
    func case05QueueRegistersAfterDriverOK(whileRunning: Bool) throws {
        let rig = try Rig()
        let queue = try rig.driver.start()[0]
        rig.device.holdsRequests = whileRunning
        let address = try rig.driver.allocate(16)
        queue.setChain([DriverQueue.Buffer(address, 16, isWritable: true)])
        queue.submit(0)
        try rig.driver.wait { rig.device.requests == 1 }
        for value in [0, 1, 0x10000, 0xffff_ffff] as [UInt32] {
            for register in [
                MMIORegister.queueNum, .queueDescLow, .queueDescHigh, .queueDriverLow, .queueDriverHigh,
                .queueDeviceLow, .queueDeviceHigh,
            ] { rig.driver.write(register, value) }
            rig.driver.write(.queueReady, 1)
        }
        rig.device.releaseHeld()
        try rig.driver.wait { queue.usedCount == 1 }
        rig.device.holdsRequests = false
        _ = queue.takeUsed()
        #expect(try rig.driver.exchange(on: queue, readable: [[9]], writable: [1]).bytes == [9])
    }

    @Test func case05QueueDisabledWhileRequestsAreInFlight() throws {
        let rig = try Rig(queueSizes: [8, 8])
        let queues = try rig.driver.start()
        rig.device.holdsRequests = true
        queues[0].setChain([DriverQueue.Buffer(try rig.driver.allocate(16), 16)])
        queues[0].submit(0)
        try rig.driver.wait { rig.device.requests == 1 }
        rig.driver.write(.queueSel, 0)
        rig.driver.write(.queueReady, 0)
        #expect(rig.driver.read(.queueReady) == 1, "a request is in flight")
        rig.device.releaseHeld()
        rig.device.holdsRequests = false
        try rig.driver.wait { queues[0].usedCount == 1 }
        #expect(rig.driver.read(.queueReady) == 0)
        queues[0].submit(0)
        rig.driver.write(.queueReady, 1)
        rig.driver.settle()
        #expect(rig.device.requests == 1, "a disabled queue takes nothing")
        rig.driver.virtio.pause {}
        rig.driver.virtio.resume()
        rig.driver.settle()
        #expect(rig.device.requests == 1, "a pause does not enable it again")
        #expect(try rig.driver.exchange(on: queues[1], readable: [[9]], writable: [1]).bytes == [9])
    }

    @Test(arguments: [1, 2, 63, 64, 65, 0xffff, 0x10000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] as [UInt32])
    func case06QueueSelectOutOfRange(index: UInt32) throws {
        let rig = try Rig()
        try rig.driver.negotiate()
        rig.driver.write(.queueSel, index)
        #expect(rig.driver.read(.queueNumMax) == 0)
        rig.driver.setUp(Int(index), Self.layout(0x1000, 0x2000, 0x3000))
        #expect(rig.driver.read(.queueReady) == 0)
        rig.driver.write(.queueReady, 0)
        rig.driver.write(.queueNotify, index)
        rig.driver.addStatus(.driverOK)
        rig.driver.write(.queueNotify, index)
        rig.driver.settle()
        #expect(rig.device.requests == 0)
        try rig.expectWorksAfterReset()
    }

    /// Writes of the status, and what it must read after each.
    static let statusWrites: [[(UInt32, UInt32)]] = [
        [(2, 0), (1, 1), (4, 1), (5, 1), (8, 1), (3, 3)],
        [(1, 1), (3, 3), (7, 3), (0xf, 3), (0, 0)],
        [(0xf, 3)],
        [(1, 1), (3, 3), (1, 3), (2, 3), (0, 0)],
        [(0x30, 0), (0xffff_ff00, 0), (0x40, 0), (0x41, 1)],
        [(1, 1), (0x81, 0x81), (0x83, 0x81), (0x8f, 0x81), (1, 0x81), (0, 0)],
        [(0x80, 0x80), (0, 0), (1, 1), (0, 0), (3, 3), (0, 0)],
    ]

    @Test(arguments: statusWrites.indices)
    func case07Status(row: Int) throws {
        let rig = try Rig()
        for (written, read) in Self.statusWrites[row] {
            rig.driver.write(.status, written)
            #expect(rig.driver.status.rawValue == read, "after \(written)")
        }
        try rig.expectWorksAfterReset()
    }

    @Test func case07StatusOfARunningDevice() throws {
        let rig = try Rig()
        for steps in 0...4 {
            let all: [DeviceStatus] = [.acknowledge, .driver, .featuresOK, .driverOK]
            rig.driver.write(.status, 0)
            for step in all.prefix(steps) {
                if step == .featuresOK { rig.driver.chooseFeatures(.version1) }
                rig.driver.addStatus(step)
            }
            #expect(rig.driver.status == DeviceStatus(all.prefix(steps)))
            rig.driver.write(.status, 0)
            #expect(rig.driver.status == [])
        }
        let queue = try rig.driver.start()[0]
        rig.driver.addStatus(.failed)
        queue.setChain([DriverQueue.Buffer(try rig.driver.allocate(16), 16)])
        queue.submit(0)
        rig.driver.settle()
        #expect(rig.device.requests == 0, "nothing runs after FAILED")
        try rig.expectWorksAfterReset()
    }

    @Test func case08Features() throws {
        let rig = try Rig(refused: Features(bit: 5))
        for (features, isAccepted) in [
            (Features.version1, true), ([.version1, .ringEventIndex], true), ([], false), (.splitRing, false),
            ([.version1, Features(bit: 0)], false), ([.version1, Features(bit: 63)], false),
            ([.version1, Features(bit: 34)], false), (Features(rawValue: .max), false),
            ([.version1, Features(bit: 5)], false),
        ] as [(Features, Bool)] {
            let result = Result { try rig.driver.negotiate(features) }
            #expect(((try? result.get()) != nil) == isAccepted, "\(features)")
        }
    }

    @Test func case08FeaturesAfterTheyWereAgreed() throws {
        let rig = try Rig()
        try rig.driver.negotiate(.version1)
        rig.driver.chooseFeatures([.version1, .ringEventIndex, Features(bit: 7)])
        let queue = try rig.driver.makeQueue(0, features: .version1)
        rig.driver.addStatus(.driverOK)
        #expect(rig.device.context?.features == .version1)
        #expect(try rig.driver.exchange(on: queue, readable: [[7]], writable: [1]).bytes == [7])
    }

    @Test(arguments: [2, 3, 0x8000_0000, 0xffff_ffff] as [UInt32])
    func case08FeatureSelect(selector: UInt32) throws {
        let rig = try Rig()
        rig.driver.addStatus(.acknowledge)
        rig.driver.addStatus(.driver)
        rig.driver.write(.deviceFeaturesSel, selector)
        #expect(rig.driver.read(.deviceFeatures) == 0)
        rig.driver.chooseFeatures(.version1)
        rig.driver.write(.driverFeaturesSel, selector)
        rig.driver.write(.driverFeatures, 0xffff_ffff)
        rig.driver.addStatus(.featuresOK)
        #expect(rig.driver.status.contains(.featuresOK))
    }

    @Test func case09ConfigurationSpace() throws {
        let rig = try Rig()
        let bytes: [UInt8] = [1, 2, 3, 4, 5, 6, 7, 8, 0xef, 0xbe, 0xad, 0xde]
        for offset in 0..<0x100 {
            for size in [1, 2, 4, 8] {
                let expected = (0..<size).reduce(UInt64(0)) { value, position in
                    bytes.indices.contains(offset + position)
                        ? value | UInt64(bytes[offset + position]) << UInt64(8 * position) : value
                }
                #expect(rig.driver.transport.read(at: 0x100 + UInt64(offset), size: size) == expected)
                _ = rig.driver.transport.write(at: 0x100 + UInt64(offset), size: size, value: .max)
            }
        }
        for offset in [UInt64.max, UInt64.max - 7, 1 << 63, UInt64(Int.max) + 0xff] {
            #expect(rig.driver.transport.read(at: offset, size: 8) == 0)
            _ = rig.driver.transport.write(at: offset, size: 8, value: .max)
        }
        #expect(rig.device.config.bytes == bytes)
        try rig.expectWorksAfterReset()
    }

    @Test func case09GenerationAndInterruptOfAChange() throws {
        let rig = try Rig()
        _ = try rig.driver.start()
        let before = rig.driver.read(.configGeneration)
        rig.device.config.set(UInt32(5), at: 8)
        rig.device.context?.configChanged()
        #expect(rig.driver.read(.configGeneration) == before + 1)
        #expect(rig.driver.readConfig(UInt32.self, at: 8) == 5)
        let interrupts = rig.driver.takeInterrupts()
        #expect(interrupts.count == 1)
        #expect(interrupts.causes == .configurationChange)
    }

    @Test func case10OddAccesses() throws {
        let rig = try Rig()
        let queue = try rig.driver.start()[0]
        for offset in 0..<0x100 as Range<UInt64> {
            for size in [0, 1, 2, 3, 4, 5, 8, 16, -1, Int.max] {
                guard size != 4 || offset % 4 != 0 else { continue }
                #expect(rig.driver.transport.read(at: offset, size: size) == 0)
                #expect(rig.driver.transport.write(at: offset, size: size, value: 0) == .none)
            }
        }
        for causes in [0, 4, 0xffff_fffc] as [UInt32] { rig.driver.write(.interruptACK, causes) }
        #expect(try rig.driver.exchange(on: queue, readable: [[7]], writable: [1]).bytes == [7])
    }

    /// Every register that only reads, and everything that is no register, ignores what is written.
    @Test func case10WritesToReadOnlyRegisters() throws {
        let rig = try Rig()
        let fixed: [(MMIORegister, UInt32)] = [
            (.magicValue, 0x7472_6976), (.version, 2), (.deviceID, 42), (.vendorID, 0), (.queueNumMax, 8),
            (.interruptStatus, 0), (.shmLenLow, .max), (.shmLenHigh, .max), (.shmBaseLow, .max),
            (.shmBaseHigh, .max), (.configGeneration, 0),
        ]
        for (register, value) in fixed {
            for written in [0, 1, UInt32.max] {
                rig.driver.write(register, written)
                #expect(rig.driver.read(register) == value)
            }
        }
        rig.driver.write(.interruptACK, .max)
        try rig.expectWorksAfterReset()
    }

    @Test func case11KicksBeforeDriverOKAndFloods() throws {
        let rig = try Rig(queueSizes: [8, 8, 8])
        for status in [0, 1, 3, 11] as [UInt32] {
            rig.driver.write(.status, status)
            for index in 0..<4 as Range<UInt32> { rig.driver.write(.queueNotify, index) }
            for doorbell in rig.driver.virtio.doorbells { rig.reactor.signal(doorbell) }
            rig.driver.settle()
        }
        #expect(rig.device.requests == 0)
        let queues = try rig.driver.start()
        for _ in 0..<2000 {
            for queue in queues { queue.kick() }
            rig.driver.write(.queueNotify, 1)
        }
        try rig.expectBystanderWorks()
        #expect(try rig.driver.exchange(on: queues[2], readable: [[7]], writable: [1]).bytes == [7])
        #expect(rig.device.requests == 1)
    }

    @Test func case11ResetStorm() throws {
        let rig = try Rig()
        for round in 0..<2000 {
            rig.driver.nextFree = 0x1000
            let queue = try rig.driver.start()[0]
            if round % 100 == 0 {
                #expect(try rig.driver.exchange(on: queue, readable: [[7]], writable: [1]).bytes == [7])
            }
            rig.driver.write(.status, 0)
            rig.driver.write(.status, 0)
        }
        #expect(rig.device.resets == 2000)
        try rig.expectWorksAfterReset()
    }

    private static func layout(_ descriptors: UInt64, _ available: UInt64, _ used: UInt64) -> QueueLayout {
        QueueLayout(
            size: 8, descriptorTable: GuestAddress(descriptors), availableRing: GuestAddress(available),
            usedRing: GuestAddress(used))
    }
}
