import Backends
import EventLoop
import Host
import Memory
import TestSupport
import Testing
import Virtio

/// A device made from another one's state: the driver is told to end its connections, and gets no packet before it has.
@Suite struct VsockRestoreTests {
    typealias Operation = GuestPacket.Operation

    /// Offers buffers for events, as a driver does; answers where they are.
    @discardableResult
    private func offerEvents(_ rig: VsockRig, _ heads: Range<UInt16>, size: UInt32 = 8) throws -> [GuestAddress] {
        let queue = rig.guest.eventQueue
        var buffers: [GuestAddress] = []
        for head in heads {
            let buffer = try rig.guest.driver.allocate(8)
            try rig.guest.driver.memory.store(UInt64.max, at: buffer)
            queue.setChain([DriverQueue.Buffer(buffer, size, isWritable: true)], head: head)
            queue.offer(head)
            buffers.append(buffer)
        }
        queue.publish()
        queue.kickIfWanted()
        return buffers
    }

    /// Waits for the event, and handles it as Linux does: the buffer goes back once all connections have ended.
    private func takeEvent(_ rig: VsockRig) throws -> DriverQueue.Used {
        try rig.wait { rig.guest.eventQueue.usedCount > 0 }
        return try #require(rig.guest.eventQueue.takeUsed())
    }

    private func giveBack(_ rig: VsockRig, _ head: UInt32) {
        rig.guest.eventQueue.submit(UInt16(head))
    }

    private static let state = DeviceState.unixVsock(UnixVsockDevice.State(guestCID: 3, nextPort: 1 << 30 + 5))

    // MARK: State

    @Test func theStateHasTheNextPort() throws {
        let rig = try VsockRig()
        let fresh = UnixVsockDevice.State(guestCID: 3, nextPort: 1 << 30)
        #expect(rig.device.deviceState == .unixVsock(fresh))
        let (_, port) = try rig.connectFromHost()
        let state = UnixVsockDevice.State(guestCID: 3, nextPort: port + 1)
        #expect(rig.device.deviceState == .unixVsock(state))
        // The guest may still know the connection with that port.
        let restored = try VsockRig(restoring: rig.device.deviceState)
        #expect(restored.device.deviceState == rig.device.deviceState)
        #expect(try restored.connectFromHost().1 == port + 1)
    }

    @Test(
        arguments: [
            (.none, "another type"),
            (.unixVsock(UnixVsockDevice.State(guestCID: 4, nextPort: 1 << 30)), "guest CID 4, this one has 3"),
            (.unixVsock(UnixVsockDevice.State(guestCID: 1 << 32 | 3, nextPort: 1 << 30)), "this one has 3"),
            (.unixVsock(UnixVsockDevice.State(guestCID: 3, nextPort: 1 << 30 - 1)), "port 1073741823"),
            (.unixVsock(UnixVsockDevice.State(guestCID: 3, nextPort: 1 << 31)), "port 2147483648"),
        ] as [(DeviceState, String)])
    func aStateThatTheDeviceCannotHave(_ state: DeviceState, _ problem: String) throws {
        let rig = try VsockRig()
        let before = rig.device.deviceState
        let error = try #require(throws: StateError.self) { try rig.device.restore(state) }
        #expect(error.description.contains(problem) && error.description.hasPrefix("vsock0: "))
        #expect(rig.device.deviceState == before)
        try offerEvents(rig, 0..<1)
        try rig.expectWorks()
        #expect(rig.guest.eventQueue.usedCount == 0)
    }

    // MARK: The event

    @Test func theDriverIsToldOnce() throws {
        let rig = try VsockRig(restoring: Self.state)
        let buffers = try offerEvents(rig, 0..<8)
        let event = try takeEvent(rig)
        #expect(event.head == 0 && event.written == 4)
        let words = try buffers.map { try rig.guest.driver.memory.load(at: $0, as: UInt64.self) }
        // `VIRTIO_VSOCK_EVENT_TRANSPORT_RESET`, and nothing else.
        #expect(words == [0xffff_ffff_0000_0000] + [UInt64](repeating: .max, count: 7))
        giveBack(rig, event.head)
        try rig.expectWorks()
        rig.guest.driver.settle()
        #expect(rig.guest.eventQueue.usedCount == 0)
    }

    @Test(arguments: [1, 2, 8, 127, 128, 256] as [UInt16])
    func noPacketComesBeforeTheAnswer(_ buffers: UInt16) throws {
        let rig = try VsockRig(restoring: Self.state)
        try offerEvents(rig, 0..<buffers)
        let listener = try rig.listener(9)
        let early = try rig.program("CONNECT 52\n")
        let event = try takeEvent(rig)
        // Neither a request of the host nor an answer to one of the guest.
        try rig.guest.send(GuestPacket(Operation.request, 70, 9))
        var answers = rig.guest.settled()
        #expect(answers.isEmpty, "\(answers)")
        giveBack(rig, event.head)
        answers = [try rig.guest.next(), try rig.guest.next()]
        #expect(Set(answers.map(\.operation)) == [Operation.request, Operation.response])
        let request = try #require(answers.first { $0.operation == Operation.request })
        #expect(request.sourcePort == 1 << 30 + 5)
        try rig.guest.send(GuestPacket(Operation.response, 52, request.sourcePort))
        try rig.wait { early.text == "OK \(request.sourcePort)\n" }
        let program = try listener.accept()
        program.write([7])
        #expect(try rig.guest.next().data == [7])
        try rig.expectWorks()
    }

    @Test func aBufferTooSmallForTheEventIsGivenBack() throws {
        let rig = try VsockRig(restoring: Self.state)
        try offerEvents(rig, 0..<2, size: 3)
        try offerEvents(rig, 2..<3)
        #expect(try takeEvent(rig) == DriverQueue.Used(head: 0, written: 0))
        #expect(try takeEvent(rig) == DriverQueue.Used(head: 1, written: 0))
        let event = try takeEvent(rig)
        #expect(event == DriverQueue.Used(head: 2, written: 4))
        giveBack(rig, event.head)
        try rig.expectWorks()
    }

    @Test func aDriverWithoutABufferForTheEventIsServed() throws {
        let rig = try VsockRig(restoring: Self.state)
        let listener = try rig.listener(9)
        let (program, port) = try rig.connectFromHost()
        let other = try rig.connectFromGuest(70, to: listener, 9)
        let greeting = try rig.program("CONN")
        try rig.wait { rig.device.connectionCount == 3 }
        // It hears of the reset when it offers one, and ends the connections that it has by then.
        try offerEvents(rig, 0..<1)
        let event = try takeEvent(rig)
        #expect(event.written == 4)
        try rig.wait { program.isAtEnd && other.isAtEnd }
        #expect(rig.device.connectionCount == 1 && !greeting.isAtEnd)
        try rig.guest.send(GuestPacket(Operation.data, 52, port, [1]))
        #expect(rig.guest.settled().isEmpty)
        giveBack(rig, event.head)
        greeting.write(Array("ECT 60\n".utf8))
        #expect(try rig.guest.next().destinationPort == 60)
        try rig.expectWorks()
    }

    @Test func aDriverThatResetsTheDeviceNeedNotAnswer() throws {
        let rig = try VsockRig(restoring: Self.state)
        try offerEvents(rig, 0..<1)
        _ = try takeEvent(rig)
        try rig.guest.restart()
        try rig.expectWorks()
        #expect(rig.guest.eventQueue.usedCount == 0)
    }

    @Test func aPauseChangesNothing() throws {
        let rig = try VsockRig(restoring: Self.state)
        try offerEvents(rig, 0..<4)
        let event = try takeEvent(rig)
        let program = try rig.program("CONNECT 52\n")
        for _ in 0..<2 {
            try rig.guest.driver.pause()
            rig.guest.driver.virtio.resume()
            #expect(rig.guest.settled().isEmpty && rig.guest.eventQueue.usedCount == 0)
        }
        giveBack(rig, event.head)
        #expect(try rig.guest.next().destinationPort == 52)
        // Nor later.
        try rig.guest.driver.pause()
        rig.guest.driver.virtio.resume()
        try rig.expectWorks()
        #expect(rig.guest.eventQueue.usedCount == 0 && !program.isAtEnd)
    }

    // MARK: Packets that were on their way

    /// Packets that the source held are in the queue before all others.
    @Test func packetsOfEndedConnectionsGoBackUnsent() throws {
        let rig = try VsockRig(restoring: Self.state)
        let listener = try rig.listener(9)
        for index in 0..<40 as Range<UInt32> {
            try rig.guest.send(GuestPacket(Operation.data, 70 + index % 2, 9, [UInt8](repeating: 1, count: 3000)))
        }
        try rig.guest.send(GuestPacket(Operation.shutdown, 71, 9))
        // The guest uses ports of the past again.
        try rig.guest.send(GuestPacket(Operation.request, 70, 9))
        try offerEvents(rig, 0..<2)
        let event = try takeEvent(rig)
        try rig.wait { rig.guest.packetsHeld == 0 }
        giveBack(rig, event.head)
        // A reset for what was before would end the new connection.
        let answers = [try rig.guest.next()] + rig.guest.settled()
        #expect(answers.map(\.operation) == [Operation.response], "\(answers)")
        let program = try listener.accept()
        try rig.guest.send(GuestPacket(Operation.data, 70, 9, [5]))
        try rig.wait { program.collect() == [5] }
        try rig.expectWorks()
    }

    @Test func aDriverThatIsNotToldGetsResets() throws {
        let rig = try VsockRig(restoring: Self.state)
        try rig.guest.send(GuestPacket(Operation.data, 70, 9, [1]))
        let answer = try rig.guest.next()
        #expect(answer.operation == Operation.reset && answer.destinationPort == 70 && answer.sourcePort == 9)
        #expect(rig.guest.packetsHeld == 0)
    }

    @Test func aRequestThatCannotBeServedIsRefusedAfterTheAnswer() throws {
        let rig = try VsockRig(restoring: Self.state)
        try offerEvents(rig, 0..<1)
        let event = try takeEvent(rig)
        var sequenced = GuestPacket(Operation.request, 71, 9)
        sequenced.type = 2
        try rig.guest.send(GuestPacket(Operation.request, 70, 9))
        try rig.guest.send(sequenced)
        #expect(rig.guest.settled().isEmpty && rig.guest.packetsHeld == 0)
        giveBack(rig, event.head)
        let answers = [try rig.guest.next(), try rig.guest.next()]
        #expect(answers.allSatisfy { $0.operation == Operation.reset } && answers.map(\.type) == [1, 2])
        #expect(answers.map(\.destinationPort) == [70, 71])
    }

    // MARK: The source

    @Test func theSourceGoesOnWithItsConnections() throws {
        let rig = try VsockRig()
        try offerEvents(rig, 0..<8)
        let (program, port) = try rig.connectFromHost()
        try rig.guest.driver.pause()
        let restored = try VsockRig(restoring: rig.device.deviceState)
        try offerEvents(restored, 0..<8)
        _ = try takeEvent(restored)
        rig.guest.driver.virtio.resume()
        try rig.guest.send(GuestPacket(Operation.data, 52, port, [1]))
        try rig.wait { program.collect() == [1] }
        program.write([2])
        #expect(try rig.guest.next().data == [2])
        #expect(rig.guest.eventQueue.usedCount == 0)
    }
}
