import Backends
import Host
import TestSupport
import Testing
import Virtio

/// A network device's state as a value: a fresh one on another tap continues from it.
@Suite struct NetStateTests {
    private static let other: [UInt8] = [2, 1, 1, 1, 1, 1]
    private static let group: [UInt8] = [3, 1, 1, 1, 1, 1]

    private func state(_ device: NetDevice) throws -> NetDevice.State {
        guard case .network(let state) = device.deviceState else { throw VirtioDriver.Failure.stopped }
        return state
    }

    /// A device whose driver has set all that it can.
    private func configured() throws -> NetworkRig {
        let rig = try NetworkRig()
        let count: ([[UInt8]]) -> [UInt8] = { [UInt8($0.count), 0, 0, 0] + $0.flatMap(\.self) }
        #expect(try rig.command(0, 0, [0]) == 0)
        #expect(try rig.command(1, 0, count([Self.other]) + count([Self.group])) == 0)
        #expect(try rig.command(1, 1, [2, 7, 7, 7, 7, 7]) == 0)
        #expect(try rig.command(2, 0, [5, 0]) == 0)
        #expect(try rig.command(5, 0, [2, 0, 0, 0, 0, 0, 0, 0]) == 0)
        return rig
    }

    private func tagged(_ vlan: UInt8) -> [UInt8] {
        var frame = NetworkRig.frame(100, to: Self.other)
        frame.replaceSubrange(12..<16, with: [0x81, 0, 0, vlan])
        return frame
    }

    @Test func aFreshDeviceContinues() throws {
        let rig = try configured()
        try rig.offer([2048], count: 8)
        rig.hostSends(NetworkRig.frame(100, to: Self.other))
        #expect(try rig.guestReceives().count == 112)
        let before = try state(rig.device)
        try rig.restore()
        #expect(try state(rig.device) == before)
        #expect((0..<6).map { rig.driver.readConfig(UInt8.self, at: $0) } == [2, 7, 7, 7, 7, 7])
        // The buffers that the first device held receive on the second, without a kick.
        for (frame, isWanted) in [
            (NetworkRig.frame(100, to: Self.other), true), (NetworkRig.frame(100, to: Self.group), true),
            (NetworkRig.frame(100, to: [2, 7, 7, 7, 7, 7]), true), (NetworkRig.frame(100), false),
            (NetworkRig.frame(100, to: [3, 2, 2, 2, 2, 2]), false), (tagged(5), true), (tagged(6), false),
        ] { #expect(try rig.passes(frame) == isWanted) }
        try rig.guestSends([NetworkRig.header + NetworkRig.frame(80)])
        #expect(rig.hostReceives()?.count == 92)
    }

    @Test func theAddressAfterAResetIsTheSavedOne() throws {
        let rig = try configured()
        try rig.restore()
        rig.driver.write(.status, 0)
        #expect((0..<6).map { rig.driver.readConfig(UInt8.self, at: $0) } == NetworkRig.mac)
        let state = try self.state(rig.device)
        #expect(try state.filter == self.state(NetworkRig().device).filter)
        #expect(state.offloads == nil && state.activePairs == 1)
    }

    @Test func aTableThatIsTooLongStaysOpen() throws {
        let rig = try NetworkRig()
        #expect(try rig.command(0, 0, [0]) == 0)
        let many = (0..<65 as Range<UInt8>).flatMap { [2, 0, 0, 0, 0, $0] as [UInt8] }
        #expect(try rig.command(1, 0, [65, 0, 0, 0] + many + [0, 0, 0, 0]) == 0)
        #expect(try state(rig.device).filter.unicast == nil)
        try rig.offer([2048], count: 4)
        try rig.restore()
        #expect(try rig.passes(NetworkRig.frame(100, to: Self.other)))
        #expect(try !rig.passes(NetworkRig.frame(100, to: Self.group)))
    }

    @Test func aLinkThatIsDownStaysDown() throws {
        let rig = try NetworkRig()
        rig.device.setLink(up: false)
        try rig.offer([2048], count: 2)
        try rig.restore()
        #expect(rig.driver.readConfig(UInt16.self, at: 6) == 0)
        #expect(try !rig.passes(NetworkRig.frame(100)))
        rig.device.setLink(up: true)
        #expect(try rig.passes(NetworkRig.frame(100)))
    }

    @Test func aFrameThatWaitsForTheTapIsSentOnce() throws {
        let rig = try NetworkRig()
        try rig.offerFrames(0..<256)
        try rig.driver.wait { rig.sending.usedCount > 0 }
        rig.driver.settle()
        // The rest waits: the first wire is full.
        let sent = Int(rig.device.sent.packets)
        #expect(sent < 256)
        try rig.restore()
        var seen: [Int] = []
        try rig.driver.wait {
            while let frame = rig.hostReceives() { seen.append(Int(frame[16]) << 8 | Int(frame[17])) }
            return seen.count >= 256 - sent
        }
        #expect(seen == Array(sent..<256))
        try rig.driver.wait { rig.sending.usedCount == 256 }
    }

    @Test(
        arguments: [
            { $0.permanentMAC = [] }, { $0.mac.append(0) }, { $0.pairs = 2 }, { $0.activePairs = 0 },
            { $0.activePairs = 2 }, { $0.activePairs = .max }, { $0.offloads = 1 }, { $0.offloads = .max },
            { $0.filter.modes = 0x40 }, { $0.filter.unicast = Array(repeating: 0, count: 65) },
            { $0.filter.multicast = [1 << 48] }, { $0.filter.vlans = [] },
            { $0.filter.vlans = Array(repeating: 0, count: 65) },
        ] as [@Sendable (inout NetDevice.State) -> Void])
    func aHostileStateIsRefused(change: @Sendable (inout NetDevice.State) -> Void) throws {
        let rig = try NetworkRig()
        let before = try state(rig.device)
        #expect(throws: StateError.self) { try rig.restore(change) }
        #expect(try state(rig.device) == before)
        #expect(throws: StateError.self) { try rig.device.restore(.none) }
    }
}
