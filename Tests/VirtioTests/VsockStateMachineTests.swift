import Host
import Testing

@testable import Virtio

/// One connection alone: what each packet, event and completion makes of it.
@Suite struct VsockStateMachineTests {
    private static let window: UInt32 = 256 << 10

    private static func packet(
        _ operation: VsockOperation, length: UInt32 = 0, flags: UInt32 = 0, buffer: UInt32 = 10_000,
        forwarded: UInt32 = 0
    ) -> VsockHeader {
        VsockHeader(
            sourceCID: 3, destinationCID: 2, sourcePort: 52, destinationPort: 1 << 30, length: length,
            operation: operation, flags: flags, bufferSize: buffer, forwarded: forwarded)
    }

    /// A connection that the host began and the guest accepted, with its socket being watched.
    private static func connected(buffer: UInt32 = 10_000) -> VsockConnection {
        var connection = VsockConnection(fromHost: 7, window: window)
        connection.start(.watch)
        connection.request(VsockPorts(guest: 52, host: 1 << 30))
        _ = connection.settle()
        _ = connection.takeReply(guestCID: 3)
        #expect(connection.take(packet(.response, buffer: buffer), dataCount: 0) == .accepted)
        return connection
    }

    // MARK: Credit

    @Test func creditTowardsTheGuestWrapsAround() {
        var credit = VsockCredit(window: 1)
        var total: UInt32 = 0
        for _ in 0..<9 {
            credit.update(Self.packet(.creditUpdate, buffer: 0x7000_0000, forwarded: total))
            #expect(credit.available == 0x7000_0000)
            credit.send(0x6000_0000)
            total &+= 0x6000_0000
            #expect(credit.available == 0x1000_0000)
            credit.send(0x1000_0000)
            total &+= 0x1000_0000
            #expect(credit.available == 0)
        }
    }

    @Test func creditTowardsTheHostWrapsAround() {
        var credit = VsockCredit(window: Self.window)
        for round in 0..<50_000 as Range<UInt32> {
            credit.receive(Self.window)
            #expect(credit.allowance == 0 && credit.unforwarded == Self.window)
            #expect(!credit.forward(1000) && credit.allowance == 1000)
            #expect(credit.forward(Int(Self.window) - 1000) && credit.unforwarded == 0)
            #expect(credit.announce() == (round &+ 1) &* Self.window)
        }
    }

    @Test(
        arguments: [
            // A buffer, bytes that are said to have left it, and the credit after 1000 bytes.
            (0, 0, 0), (999, 0, 0), (1000, 0, 0), (1001, 0, 1), (.max, 0, .max - 1000), (10_000, 1000, 10_000),
            // More than was sent is no credit, but for a buffer that is as wrong.
            (10_000, 1001, 0), (10_000, 0x8000_0000, 0), (.max, 1001, 0), (.max, .max, .max - 1001),
        ] as [(UInt32, UInt32, UInt32)])
    func creditOfAGuestThatMayLie(_ buffer: UInt32, _ forwarded: UInt32, _ expected: UInt32) {
        var credit = VsockCredit(window: Self.window)
        credit.send(1000)
        credit.update(Self.packet(.creditUpdate, buffer: buffer, forwarded: forwarded))
        #expect(credit.available == expected)
    }

    @Test func theGuestIsAskedForCreditOnceUntilItSendsAPacket() {
        var connection = Self.connected(buffer: 0)
        for _ in 0..<2 {
            #expect(connection.settle() == .serveGuest)
            #expect(connection.takeReply(guestCID: 3)?.operation == .creditRequest)
            #expect(connection.settle().isEmpty && connection.takeReply(guestCID: 3) == nil)
            #expect(connection.take(Self.packet(.creditUpdate, buffer: 0), dataCount: 0) == .noted)
        }
        #expect(connection.take(Self.packet(.creditUpdate, buffer: 5), dataCount: 0) == .noted)
        #expect(connection.settle() == .serveGuest && connection.canRead)
        #expect(connection.takeReply(guestCID: 3) == nil)
    }

    @Test func theGuestHearsOfAQuarterOfTheWindowAndWithEachPacket() {
        var connection = Self.connected()
        let quarter = Self.window / 4
        #expect(connection.take(Self.packet(.data, length: quarter), dataCount: Int(quarter)) == .data)
        connection.forward(Int(quarter) - 1)
        #expect(connection.pendingReplies.isEmpty)
        connection.forward(1)
        #expect(connection.pendingReplies == .creditUpdate)
        // Any packet says as much.
        let header = connection.takeData(length: 9, guestCID: 3)
        #expect(header.forwarded == quarter && header.bufferSize == Self.window && header.length == 9)
        #expect(connection.takeReply(guestCID: 3) == nil)
    }

    // MARK: Hostile headers

    @Test(
        arguments: [
            (packet(.data, length: 2), 1, .violation(.length(2, of: 1))),
            (packet(.data, length: .max), 0, .violation(.length(.max, of: 0))),
            (packet(.data, length: window + 1), 1 << 20, .violation(.credit(window + 1, of: window))),
            (packet(.data, length: window), 1 << 20, .data),
            (packet(.data), 5, .ignored),
            (packet(.request), 0, .violation(.outOfOrder(.request))),
            (packet(.response), 0, .violation(.outOfOrder(.response))),
            (packet(VsockOperation(rawValue: 0)), 0, .violation(.outOfOrder(VsockOperation(rawValue: 0)))),
            (packet(VsockOperation(rawValue: .max)), 0, .violation(.outOfOrder(VsockOperation(rawValue: .max)))),
            (packet(.shutdown, flags: 0xffff_fffc), 0, .noted),
            (packet(.shutdown, flags: .max), 0, .left(wantsReset: true)),
            (packet(.reset, length: .max, flags: .max), 0, .left(wantsReset: false)),
            (packet(.creditUpdate, length: 77), 0, .noted),
        ] as [(VsockHeader, Int, VsockConnection.Outcome)])
    func packetsForAConnection(_ packet: VsockHeader, _ count: Int, _ expected: VsockConnection.Outcome) {
        var connection = Self.connected()
        #expect(connection.take(packet, dataCount: count) == expected)
    }

    @Test(arguments: [.data, .shutdown, .creditRequest, .request] as [VsockOperation])
    func packetsBeforeTheGuestHasAccepted(_ operation: VsockOperation) {
        var connection = VsockConnection(fromHost: 7, window: Self.window)
        connection.request(VsockPorts(guest: 52, host: 1 << 30))
        // A response comes too early as long as the request has not left.
        #expect(
            connection.take(Self.packet(.response), dataCount: 0) == .violation(.outOfOrder(.response)))
        #expect(connection.takeReply(guestCID: 3)?.operation == .request)
        let expected = operation == .data ? VsockViolation.dataTooEarly : .outOfOrder(operation)
        #expect(connection.take(Self.packet(operation, length: 1), dataCount: 1) == .violation(expected))
    }

    @Test func dataBeforeTheResponse() {
        var connection = VsockConnection(
            fromGuest: VsockPorts(guest: 52, host: 9), Self.packet(.request), window: Self.window)
        #expect(connection.take(Self.packet(.data, length: 1), dataCount: 1) == .violation(.dataTooEarly))
        connection.reach(8)
        #expect(connection.take(Self.packet(.data, length: 1), dataCount: 1) == .violation(.dataTooEarly))
        #expect(connection.takeReply(guestCID: 3)?.operation == .response)
        #expect(connection.take(Self.packet(.data, length: 1), dataCount: 1) == .data)
    }

    @Test func dataForAProgramThatTakesNoneCountsAsForwarded() {
        var connection = Self.connected()
        #expect(connection.completeSend(-Errno.connectionReset.rawValue, of: 10) == .discard)
        for _ in 0..<10 {
            #expect(connection.take(Self.packet(.data, length: Self.window), dataCount: 1 << 20) == .noted)
        }
        #expect(connection.credit.unforwarded == 0 && connection.pendingReplies.contains(.creditUpdate))
    }

    // MARK: Shutdown

    @Test func theHostShutsDownFirst() {
        var connection = Self.connected()
        connection.start(.receive)
        connection.complete(.receive)
        let isLost = connection.completeRead(0, room: 100)
        #expect(!isLost)
        #expect(connection.settle() == .serveGuest)
        #expect(connection.takeReply(guestCID: 3)?.flags == VsockShutdown.sending.rawValue)
        // The guest still sends, and then ends its direction as well.
        #expect(connection.take(Self.packet(.data, length: 3), dataCount: 3) == .data)
        #expect(connection.settle() == .send)
        #expect(connection.take(Self.packet(.shutdown, flags: 2), dataCount: 0) == .noted)
        #expect(connection.take(Self.packet(.data, length: 1), dataCount: 1) == .violation(.dataAfterShutdown))
        // The program sees the end after the data only.
        connection.start(.send)
        #expect(connection.settle().isEmpty)
        connection.complete(.send)
        #expect(connection.completeSend(3, of: 3) == .none)
        #expect(connection.settle() == .shutDownWriting)
        #expect(connection.settle().isEmpty)
        #expect(connection.take(Self.packet(.shutdown, flags: 1), dataCount: 0) == .left(wantsReset: true))
        let isDraining = connection.loseGuest()
        #expect(!isDraining)
    }

    @Test func theGuestShutsDownFirst() {
        var connection = Self.connected()
        #expect(connection.take(Self.packet(.shutdown, flags: 1), dataCount: 0) == .noted)
        #expect(connection.settle() == .shutDownReading)
        #expect(!connection.takesData && !connection.canRead)
        // What the guest has shut down stays so.
        #expect(connection.take(Self.packet(.shutdown, flags: 0), dataCount: 0) == .noted)
        #expect(connection.settle().isEmpty)
        // A program that leaves is lost at once, as the guest takes nothing that it has sent.
        #expect(connection.notice(isLast: true, isGone: true) == .discard)
        #expect(connection.settle() == .serveGuest)
        #expect(connection.takeReply(guestCID: 3)?.flags == VsockShutdown.both.rawValue)
        #expect(connection.settle() == .cancelWaiting && connection.phase == .ending)
    }

    @Test func theHostLeavesAndTheGuestConfirms() {
        var connection = Self.connected()
        #expect(connection.notice(isLast: true, isGone: true) == .discard)
        // What the program has sent is read first.
        #expect(connection.settle() == .serveGuest && connection.canRead)
        #expect(connection.takeReply(guestCID: 3)?.flags == VsockShutdown.receiving.rawValue)
        connection.start(.receive)
        #expect(!connection.canRead)
        connection.complete(.receive)
        #expect(!connection.completeRead(10, room: 100) && connection.canRead)
        connection.start(.receive)
        connection.complete(.receive)
        #expect(!connection.completeRead(0, room: 100) && !connection.canRead)
        #expect(connection.settle() == .serveGuest)
        #expect(connection.takeReply(guestCID: 3)?.flags == VsockShutdown.both.rawValue)
        #expect(connection.settle() == .cancelWaiting)
        connection.complete(.watch)
        #expect(connection.settle() == .closeSocket && connection.takeSocket() == 7 && connection.socket == -1)
        // Data on its way is not answered; the ports may be used again.
        #expect(connection.take(Self.packet(.data, length: 1), dataCount: 1) == .ignored)
        #expect(connection.take(Self.packet(.request), dataCount: 0) == .restart)
        #expect(connection.take(Self.packet(.shutdown, flags: 3), dataCount: 0) == .left(wantsReset: true))
        let isDraining = connection.loseGuest()
        #expect(!isDraining)
        connection.close()
        #expect(connection.settle() == .release)
    }

    @Test func theGuestLeavesAndItsDataDrains() {
        var connection = Self.connected()
        #expect(connection.take(Self.packet(.data, length: 8), dataCount: 8) == .data)
        #expect(connection.take(Self.packet(.reset), dataCount: 0) == .left(wantsReset: false))
        #expect(connection.loseGuest() && connection.phase == .draining)
        #expect(connection.settle() == .send && connection.canSend)
        connection.start(.send)
        #expect(connection.settle().isEmpty && !connection.canSend)
        connection.complete(.send)
        // Slowly: the socket takes a part, and later the rest.
        #expect(connection.completeSend(5, of: 8) == .blocked)
        #expect(connection.settle() == .awaitWritable)
        connection.start(.writable)
        #expect(connection.settle().isEmpty && !connection.canSend)
        connection.complete(.writable)
        #expect(connection.settle() == .send)
        connection.start(.send)
        connection.complete(.send)
        #expect(connection.completeSend(3, of: 3) == .none)
        // The guest hears nothing of it any more.
        #expect(connection.settle() == .cancelWaiting && connection.pendingReplies.isEmpty)
        connection.complete(.watch)
        #expect(connection.settle() == .release)
    }

    // MARK: Sockets

    @Test(
        arguments: [
            (100, true, false), (99, false, false), (-Errno.again.rawValue, false, false),
            (-Errno.interrupted.rawValue, true, false), (-Errno.connectionReset.rawValue, false, true),
        ] as [(Int32, Bool, Bool)])
    func whatAReadSaysOfTheSocket(_ result: Int32, _ mayHaveMore: Bool, _ isLost: Bool) {
        var connection = Self.connected()
        connection.start(.receive)
        connection.complete(.receive)
        #expect(connection.completeRead(result, room: 100) == isLost)
        #expect(connection.canRead == mayHaveMore)
    }

    @Test func aSocketThatCannotBeWatched() {
        var connection = VsockConnection(fromHost: 7, window: 1)
        #expect(connection.isWatched && connection.loseWatch() == .close)
        connection.request(VsockPorts(guest: 52, host: 1 << 30))
        #expect(connection.isWatched && connection.loseWatch() == .reset)
        connection = Self.connected()
        #expect(connection.isWatched && connection.loseWatch() == .discard)
        #expect(connection.settle() == .serveGuest)
        #expect(connection.takeReply(guestCID: 3)?.flags == VsockShutdown.both.rawValue)
    }

    @Test func aProgramThatLeavesBeforeItsConnection() {
        var connection = VsockConnection(fromHost: 7, window: 1)
        #expect(connection.notice(isLast: true, isGone: true) == .readLine)
        connection.request(VsockPorts(guest: 52, host: 1 << 30))
        #expect(connection.notice(isLast: true, isGone: false) == .none)
        #expect(connection.notice(isLast: true, isGone: true) == .reset)
    }
}
