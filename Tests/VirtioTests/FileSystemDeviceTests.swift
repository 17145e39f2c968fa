import Backends
import Bus
import EventLoop
import Host
import Memory
import TestSupport
import Testing
import Virtio

/// A file system device with shared memory, its driver, and a back end that a test has in its hands.
final class FileSystemRig {
    typealias Request = FakeBackEnd.Request

    let backEnd: FakeBackEnd
    let device: FileSystemDevice
    let driver: VirtioDriver

    init(_ backEnd: FakeBackEnd, isShared: Bool = true, patience: UInt64 = 20_000_000_000) throws {
        self.backEnd = backEnd
        let reactor = try Reactor(name: "test")
        let size = 4 << 20
        let file = try FileDescriptor.memory(name: "test")
        try file.truncate(to: UInt64(size))
        let memory = try GuestMemory(
            ranges: [(GuestAddress(0), 1 << 20), (GuestAddress(1 << 32), 3 << 20)],
            mapping: try MappedRegion(file: file, count: size, shared: true), file: isShared ? consume file : nil)
        let client = VhostUserClient(
            try VhostUserEndpoint.connect(backEnd.path), name: "fs0", reactor: reactor, patience: patience)
        device = FileSystemDevice(id: "fs0", tag: "shared", client)
        driver = try VirtioDriver(device, memory: memory, reactor: reactor)
        _ = backEnd.takeMessages()
        backEnd.onChange { [handle = reactor.handle] in handle.send { _ in } }
    }

    deinit { backEnd.stop() }

    /// Collects what the back end is told, until the last message is this one.
    func messages(upTo last: UInt32, count: Int = 1) throws -> [FakeBackEnd.Message] {
        var messages: [FakeBackEnd.Message] = []
        try driver.wait {
            messages += backEnd.takeMessages()
            return messages.filter { $0.request == last }.count >= count
        }
        return messages
    }

    /// Starts the device, and waits until the back end has been told everything.
    func start() throws -> ([DriverQueue], [FakeBackEnd.Message]) {
        let queues = try driver.start()
        let messages = try messages(upTo: Request.setRingEnable, count: 2)
        driver.settle()
        return (queues, messages)
    }

    /// Waits for the back end to serve the device with these bases of its rings.
    func expectServed(bases: [UInt64], _ location: SourceLocation = #_sourceLocation) throws {
        let messages = try messages(upTo: Request.setRingEnable, count: 2)
        let told = messages.filter { $0.request == Request.setRingBase }.suffix(2).map { $0.word(0) >> 32 }
        #expect(told == bases, sourceLocation: location)
        driver.settle()
    }
}

@Suite(.serialized) struct FileSystemDeviceTests {
    private typealias Request = FakeBackEnd.Request

    @Test func theDriverFindsTheTagAndTheQueues() throws {
        let rig = try FileSystemRig(FakeBackEnd(features: .max))
        #expect(rig.driver.read(.deviceID) == 26)
        #expect(rig.driver.offeredFeatures == Features.splitRing.union(.version1), "nothing that nobody serves")
        let tag = (0..<36).map { rig.driver.readConfig(UInt8.self, at: $0) }
        #expect(tag == Array("shared".utf8) + [UInt8](repeating: 0, count: 30))
        #expect(rig.driver.readConfig(UInt32.self, at: 36) == 1)
    }

    @Test func theBackEndLearnsEverything() throws {
        let rig = try FileSystemRig(FakeBackEnd())
        let (queues, messages) = try rig.start()
        let ring = [
            Request.setRingSize, Request.setRingBase, Request.setRingAddress, Request.setRingCall, Request.setRingKick,
        ]
        #expect(
            messages.map(\.request) == [
                Request.getFeatures, Request.getProtocolFeatures, Request.setProtocolFeatures, Request.getQueueCount,
                Request.setOwner, Request.setFeatures, Request.setMemoryTable,
            ] + ring + ring + [Request.setRingEnable, Request.setRingEnable])
        let asked = messages.filter { $0.flags & 8 != 0 }.map(\.request)
        #expect(asked == messages.dropFirst(4).map(\.request), "what has no reply is acknowledged")
        let table = try #require(messages.first { $0.request == Request.setMemoryTable })
        let memory = rig.driver.memory
        #expect(table.word(0) == 2 && table.payload.count == 8 + 2 * 32)
        for (index, region) in memory.regions.enumerated() {
            #expect(
                (1...4).map { table.word(4 * index + $0) } == [
                    region.start.rawValue, UInt64(region.memory.count), UInt64(region.memory.address),
                    region.fileOffset,
                ])
        }
        let addresses = messages.filter { $0.request == Request.setRingAddress }
        for (index, (message, queue)) in zip(addresses, queues).enumerated() {
            #expect(
                (0...4).map(message.word) == [
                    UInt64(index), UInt64(queue.descriptors.address), UInt64(queue.used.address),
                    UInt64(queue.available.address), 0,
                ])
        }
        // Nobody missed anything while the back end was being told.
        try rig.driver.wait { rig.driver.interrupt.takeRaised() > 0 }
        let bell = try FileDescriptor(duplicating: rig.driver.virtio.doorbells[1])
        #expect(try bell.read(count: 8) == [1, 0, 0, 0, 0, 0, 0, 0])
    }

    @Test func aBackEndWithoutExtensions() throws {
        let rig = try FileSystemRig(FakeBackEnd(features: 1 << 32))
        _ = try rig.driver.start()
        let messages = try rig.messages(upTo: Request.setRingKick, count: 2)
        #expect(messages.prefix(4).map(\.request) == [Request.getFeatures, Request.setOwner, Request.setFeatures, 5])
        #expect(messages.allSatisfy { $0.flags == 1 })
        #expect(messages[2].word(0) == 1 << 32)
    }

    @Test func aPauseStopsTheQueuesAndTheyGoOnWhereTheyWere() throws {
        let rig = try FileSystemRig(FakeBackEnd())
        let (queues, _) = try rig.start()
        var isPaused = false
        rig.driver.virtio.pause { isPaused = true }
        #expect(!isPaused && !rig.driver.virtio.isAtRest)
        try rig.driver.wait { isPaused }
        #expect(rig.backEnd.takeMessages().map(\.request) == [Request.getRingBase, Request.getRingBase])
        queues[1].used.store(UInt16(3), at: 2)
        rig.driver.virtio.resume()
        try rig.expectServed(bases: [0, 3])
    }

    @Test func aPauseInTheMiddleOfTheStartEndsAfterIt() throws {
        let rig = try FileSystemRig(FakeBackEnd())
        _ = try rig.driver.start()
        try rig.driver.pause()
        #expect(rig.driver.virtio.isAtRest)
        #expect(rig.backEnd.takeMessages().suffix(2).map(\.request) == [Request.getRingBase, Request.getRingBase])
    }

    @Test func aResetWaitsAndAnotherDriverIsServed() throws {
        let rig = try FileSystemRig(FakeBackEnd())
        _ = try rig.start()
        rig.driver.write(.status, 0)
        #expect(rig.driver.status == .deviceNeedsReset)
        try rig.driver.wait { rig.driver.status == [] }
        _ = try rig.driver.start()
        try rig.expectServed(bases: [0, 0])
        #expect(rig.backEnd.connections == 1)
        try rig.driver.retire()
    }

    @Test func aBackEndThatComesBackGetsWhatWasNotAnswered() throws {
        let rig = try FileSystemRig(FakeBackEnd())
        let (queues, _) = try rig.start()
        for round in 1...3 as ClosedRange<UInt16> {
            _ = rig.driver.interrupt.takeRaised()
            queues[0].used.store(round * 7, at: 2)
            rig.backEnd.hangUp()
            try rig.expectServed(bases: [UInt64(round) * 7, 0])
            #expect(rig.backEnd.connections == 1 + Int(round))
            // The one before may have had no time for it.
            try rig.driver.wait { rig.driver.interrupt.takeRaised() > 0 }
        }
    }

    @Test func aBackEndThatKeepsGoingIsLookedForEverMoreRarely() throws {
        let rig = try FileSystemRig(FakeBackEnd())
        _ = try rig.start()
        let start = Clock.monotonic
        for _ in 0..<4 {
            rig.backEnd.hangUp()
            try rig.expectServed(bases: [0, 0])
        }
        // Twice as long each time; and where a slow machine let one live long enough to start over, that took longer.
        #expect(Clock.monotonic - start >= 15 * ReconnectDelay.shortest)
    }

    @Test func aPauseWithoutBackEndIsDoneAtOnce() throws {
        let rig = try FileSystemRig(FakeBackEnd())
        _ = try rig.start()
        rig.backEnd.behave { _ in .close }
        rig.backEnd.hangUp()
        try rig.driver.wait { rig.driver.virtio.isAtRest }
        try rig.driver.pause()
        rig.backEnd.behave { _ in .proper }
        rig.driver.virtio.resume()
        try rig.expectServed(bases: [0, 0])
    }

    @Test func aBackEndThatLosesFeaturesIsNotUsed() throws {
        let rig = try FileSystemRig(FakeBackEnd())
        _ = try rig.start()
        rig.backEnd.offer(1 << 32)
        rig.backEnd.hangUp()
        try rig.driver.wait { rig.backEnd.connections > 3 }
        #expect(!rig.backEnd.takeMessages().contains { $0.request == Request.setFeatures })
        rig.backEnd.offer(1 << 32 | 1 << 30 | 3 << 28)
        try rig.expectServed(bases: [0, 0])
    }

    @Test func memoryThatCannotBeSharedFailsTheDevice() throws {
        let rig = try FileSystemRig(FakeBackEnd(), isShared: false)
        _ = try rig.driver.start()
        try rig.driver.wait { rig.driver.status.contains(.deviceNeedsReset) }
        #expect(rig.backEnd.takeMessages().isEmpty)
    }

    /// What a back end may do wrong about a message.
    enum Wrong: String, CaseIterable {
        case otherRequest, noReplyFlag, otherVersion, short, long, huge, halfAHeader, halfAReply, twice, silence, hangUp
        case garbage

        func answer(_ message: FakeBackEnd.Message, _ value: UInt64) -> FakeBackEnd.Answer {
            let good = FakeBackEnd.reply(to: message, value)
            return switch self {
            case .otherRequest: .bytes(FakeBackEnd.reply(to: message, value, request: 99))
            case .noReplyFlag: .bytes(FakeBackEnd.reply(to: message, value, flags: 1))
            case .otherVersion: .bytes(FakeBackEnd.reply(to: message, value, flags: 6))
            case .short: .bytes(Array(FakeBackEnd.reply(to: message, value, size: 4).dropLast(4)))
            case .long: .bytes(FakeBackEnd.reply(to: message, value, size: 16) + [UInt8](repeating: 0, count: 8))
            case .huge: .bytes(FakeBackEnd.reply(to: message, value, size: .max))
            case .halfAHeader: .bytes(Array(good.prefix(7)))
            case .halfAReply: .bytes(Array(good.dropLast(1)))
            case .twice: .bytes(good + good)
            case .silence: .none
            case .hangUp: .close
            case .garbage: .bytes([UInt8](repeating: 0xff, count: 100))
            }
        }
    }

    @Test(
        "What a back end says wrong ends its connection, and it gets another chance", .timeLimit(.minutes(2)),
        arguments: Wrong.allCases,
        [Request.getFeatures, Request.getProtocolFeatures, Request.getQueueCount, Request.setMemoryTable])
    func wrongReplies(_ wrong: Wrong, request: UInt32) throws {
        let values: [UInt32: UInt64] = [
            Request.getFeatures: 1 << 32 | 1 << 30 | 3 << 28, Request.getProtocolFeatures: 9, Request.getQueueCount: 8,
        ]
        let value = values[request] ?? 0
        let rig = try FileSystemRig(FakeBackEnd(), patience: 50_000_000)
        rig.backEnd.behave { $0.request == request ? wrong.answer($0, value) : .proper }
        _ = try rig.driver.start()
        try rig.driver.wait { rig.backEnd.connections > 2 }
        #expect(!rig.driver.status.contains(.deviceNeedsReset), "the guest waits")
        rig.backEnd.behave { _ in .proper }
        try rig.expectServed(bases: [0, 0])
    }

    @Test("What a back end says wrong at a pause does not hold it up", arguments: Wrong.allCases)
    func wrongRepliesToAStop(_ wrong: Wrong) throws {
        let rig = try FileSystemRig(FakeBackEnd(), patience: 50_000_000)
        _ = try rig.start()
        rig.backEnd.behave { $0.request == Request.getRingBase ? wrong.answer($0, $0.word(0)) : .proper }
        try rig.driver.pause()
        rig.backEnd.behave { _ in .proper }
        rig.driver.virtio.resume()
        try rig.expectServed(bases: [0, 0])
    }

    @Test func requestsThatAreRefused() throws {
        let rig = try FileSystemRig(FakeBackEnd())
        rig.backEnd.behave {
            $0.request == Request.setRingKick ? .bytes(FakeBackEnd.reply(to: $0, 1)) : .proper
        }
        _ = try rig.driver.start()
        try rig.driver.wait { rig.backEnd.connections > 2 }
        rig.backEnd.behave {
            // It serves too few queues, and tells of the wrong one when it stops.
            switch $0.request {
            case Request.getQueueCount: .bytes(FakeBackEnd.reply(to: $0, 1))
            default: .proper
            }
        }
        let before = rig.backEnd.connections
        try rig.driver.wait { rig.backEnd.connections > before + 1 }
        rig.backEnd.behave { _ in .proper }
        try rig.expectServed(bases: [0, 0])
    }

    @Test func whatComesUnaskedEndsTheConnection() throws {
        let rig = try FileSystemRig(FakeBackEnd())
        _ = try rig.start()
        rig.backEnd.send([1])
        try rig.expectServed(bases: [0, 0])
        #expect(rig.backEnd.connections == 2)
    }
}

@Suite struct VhostUserEndpointTests {
    @Test("A start fails with what is wrong", arguments: FileSystemDeviceTests.Wrong.allCases)
    private func wrongFirstReplies(_ wrong: FileSystemDeviceTests.Wrong) throws {
        let backEnd = try FakeBackEnd()
        defer { backEnd.stop() }
        backEnd.behave { wrong.answer($0, 1 << 32) }
        let isSilent = [.silence, .halfAHeader, .halfAReply].contains(wrong)
        // One that answers may be slow to.
        let error = #expect(throws: VhostUserError.self) {
            _ = try VhostUserEndpoint.connect(backEnd.path, patience: isSilent ? 50_000_000 : 30_000_000_000)
        }
        if isSilent {
            #expect(error == .silent)
        } else if wrong == .hangUp {
            #expect(error == .closed)
        } else if case .reply? = error {
        } else {
            Issue.record("\(String(describing: error))")
        }
    }

    @Test func aBackEndOfAnotherTime() throws {
        let backEnd = try FakeBackEnd(features: 1 << 30)
        defer { backEnd.stop() }
        #expect(throws: VhostUserError.lacks("VIRTIO_F_VERSION_1")) {
            _ = try VhostUserEndpoint.connect(backEnd.path)
        }
    }

    @Test func nobodyListens() throws {
        #expect(throws: VhostUserError.connection(.noEntry)) {
            _ = try VhostUserEndpoint.connect("/tmp/apus-test-nobody-\(HostProcess.id)")
        }
    }
}
