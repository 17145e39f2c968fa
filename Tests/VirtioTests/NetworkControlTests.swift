import TestSupport
import Testing
import Virtio

/// What a driver may command, and which frames it then gets.
@Suite struct NetworkControlTests {
    private typealias Rig = NetworkRig

    private static let broadcast = [UInt8](repeating: 0xff, count: 6)
    private static let group: [UInt8] = [0x33, 0x33, 0, 0, 0, 1]
    private static let otherGroup: [UInt8] = [0x01, 0, 0x5e, 0, 0, 1]
    private static let other: [UInt8] = [0x02, 1, 2, 3, 4, 5]

    struct Case: CustomTestStringConvertible, Sendable {
        let testDescription: String
        /// Class, number and data of each command.
        var commands: [[UInt8]]
        /// Whether frames to the card, to another, to a group, to another group and to all arrive.
        var arrivals: [Bool]
    }

    private static func table(_ unicast: [[UInt8]], _ multicast: [[UInt8]]) -> [UInt8] {
        [1, 0] + [UInt8(unicast.count), 0, 0, 0] + unicast.joined() + [UInt8(multicast.count), 0, 0, 0]
            + multicast.joined()
    }

    static let cases: [Case] = [
        Case(testDescription: "at first, all", commands: [], arrivals: [true, true, true, true, true]),
        Case(
            testDescription: "not promiscuous", commands: [[0, 0, 0]],
            arrivals: [true, false, false, false, true]),
        Case(
            testDescription: "promiscuous again", commands: [[0, 0, 0], [0, 0, 1]],
            arrivals: [true, true, true, true, true]),
        Case(
            testDescription: "all groups", commands: [[0, 0, 0], [0, 1, 1]],
            arrivals: [true, false, true, true, true]),
        Case(
            testDescription: "all cards", commands: [[0, 0, 0], [0, 2, 1]],
            arrivals: [true, true, false, false, true]),
        Case(
            testDescription: "no groups", commands: [[0, 0, 0], [0, 1, 1], [0, 3, 1]],
            arrivals: [true, false, false, false, true]),
        Case(
            testDescription: "no cards", commands: [[0, 0, 0], [0, 4, 1]],
            arrivals: [false, false, false, false, true]),
        Case(
            testDescription: "nothing for all", commands: [[0, 0, 0], [0, 5, 1]],
            arrivals: [true, false, false, false, false]),
        Case(
            testDescription: "one group", commands: [[0, 0, 0], table([], [group])],
            arrivals: [true, false, true, false, true]),
        Case(
            testDescription: "one other card", commands: [[0, 0, 0], table([other], [])],
            arrivals: [true, true, false, false, true]),
        Case(
            testDescription: "a table after another", commands: [[0, 0, 0], table([other], [group]), table([], [])],
            arrivals: [true, false, false, false, true]),
        Case(
            testDescription: "more groups than the table holds",
            commands: [[0, 0, 0], table([], Array(repeating: other, count: 65))],
            arrivals: [true, false, true, true, true]),
        Case(
            testDescription: "another address", commands: [[0, 0, 0], [1, 1] + other],
            arrivals: [false, true, false, false, true]),
    ]

    @Test(arguments: cases) func theDriverGetsWhatItWants(_ filter: Case) throws {
        let rig = try Rig()
        try rig.offer([1526], count: 20)
        for command in filter.commands {
            #expect(try rig.command(command[0], command[1], Array(command.dropFirst(2))) == 0)
        }
        let arrivals = try [Rig.mac, Self.other, Self.group, Self.otherGroup, Self.broadcast].map {
            try rig.passes(Rig.frame(60, to: $0))
        }
        // Without VLANs of its own the driver wants no tagged frames; these here have none.
        #expect(arrivals == filter.arrivals)
        // A new driver begins with everything again.
        rig.driver.write(.status, 0)
        try rig.driver.wait { rig.driver.read(.status) == 0 }
        #expect((0..<6).map { rig.driver.readConfig(UInt8.self, at: $0) } == Rig.mac)
        try rig.start(rig.driver.offeredFeatures)
        try rig.offer([1526], count: 20)
        #expect(try rig.passes(Rig.frame(60, to: Self.other)))
    }

    private static func tagged(_ number: UInt16) -> [UInt8] {
        var frame = Rig.frame(100)
        frame[12...15] = [0x81, 0, UInt8(number >> 8) | 0x60, UInt8(number & 0xff)]
        return frame
    }

    @Test func theDriverGetsItsVLANs() throws {
        let rig = try Rig()
        try rig.offer([1526], count: 20)
        #expect(try rig.passes(Rig.frame(60)))
        #expect(try rig.passes(Self.tagged(0)))
        #expect(!(try rig.passes(Self.tagged(5))))
        for (number, low, high) in [(UInt16(5), UInt8(5), UInt8(0)), (4095, 0xff, 0xf)] {
            #expect(try rig.command(2, 0, [low, high]) == 0)
            #expect(try rig.passes(Self.tagged(number)))
            #expect(!(try rig.passes(Self.tagged(number - 1))))
            #expect(try rig.command(2, 1, [low, high]) == 0)
            #expect(!(try rig.passes(Self.tagged(number))))
        }
        let plain = try Rig(without: .netControlVLAN)
        try plain.offer([1526], count: 20)
        #expect(try plain.passes(Self.tagged(5)))
    }

    @Test func theDriverChangesItsMindAboutOffloads() throws {
        let rig = try Rig()
        try rig.offer([65562], count: 4)
        let large: [UInt8] = [1, 1] + Rig.header.dropFirst(2)
        rig.hostSends(Rig.frame(5000), header: large)
        #expect(try rig.guestReceives().prefix(2) == [1, 1])
        #expect(try rig.command(5, 0, [0, 0, 0, 0, 0, 0, 0, 0]) == 0)
        // What the host had sent before it knew cannot be taken any more.
        rig.hostSends(Rig.frame(5000), header: large)
        rig.hostSends(Rig.frame(60), header: [2, 0] + Rig.header.dropFirst(2))
        #expect(try rig.guestReceives() == Rig.header.prefix(10) + [1, 0] + Rig.frame(60))
        #expect(rig.device.received.drops == 1)
        #expect(try rig.command(5, 0, [0x82, 0, 0, 0, 0, 0, 0, 0]) == 0)
        rig.hostSends(Rig.frame(5000), header: large)
        #expect(try rig.guestReceives().prefix(2) == [1, 1])
    }

    @Test func theAddressCanBeChanged() throws {
        let rig = try Rig()
        #expect(try rig.command(1, 1, Self.other) == 0)
        #expect((0..<6).map { rig.driver.readConfig(UInt8.self, at: $0) } == Self.other)
    }

    @Test(
        arguments: [
            ("nothing at all", []), ("half a command", [0]), ("unknown class", [9, 0, 0]),
            ("unknown number", [0, 9, 0]), ("largest class", [255, 255]), ("mode without a value", [0, 0]),
            ("mode with two values", [0, 0, 1, 1]), ("address too short", [1, 1, 2, 0, 0, 0, 0]),
            ("address too long", [1, 1, 2, 0, 0, 0, 0, 0, 0]), ("no table", [1, 0]),
            ("half a table", [1, 0, 0, 0, 0, 0]), ("table of 2 with 1", [1, 0, 2, 0, 0, 0, 2, 0, 0, 0, 0, 0]),
            ("table of 4 billion", [1, 0, 255, 255, 255, 255, 0, 0, 0, 0]),
            ("second table of 4 billion", [1, 0, 0, 0, 0, 0, 255, 255, 255, 255]),
            ("tables and a byte", [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]), ("VLAN 4096", [2, 0, 0, 16]),
            ("VLAN 65535", [2, 1, 255, 255]), ("VLAN of one byte", [2, 0, 1]), ("announcement", [3, 0]),
            ("two pairs of queues", [4, 0, 2, 0]), ("half a set of offloads", [5, 0, 0, 0, 0, 0]),
            ("an offload not negotiated", [5, 0, 0, 0, 0, 0, 0, 0, 64, 0]),
            ("all offloads", [5, 0, 255, 255, 255, 255, 255, 255, 255, 255]),
            ("hash", [4, 2, 0, 0, 0, 0]),
        ] as [(String, [UInt8])])
    func aBadCommandIsRefused(name: String, bytes: [UInt8]) throws {
        let rig = try Rig()
        for isSplit in [false, true] {
            let pieces = isSplit ? bytes.map { [$0] } : bytes.isEmpty ? [] : [bytes]
            let reply = try rig.driver.exchange(on: rig.control, readable: pieces, writable: [1])
            #expect(reply.bytes == [1])
            #expect(reply.written == 1)
        }
        // A table that does not hold together leaves the driver with too much rather than too little.
        try rig.offer([1526], count: 4)
        #expect(try rig.passes(Rig.frame(60)))
        #expect(!rig.driver.status.contains(.deviceNeedsReset))
    }

    @Test func aCommandWithoutRoomForItsAnswerIsObeyed() throws {
        let rig = try Rig()
        let reply = try rig.driver.exchange(on: rig.control, readable: [[1, 1] + Self.other])
        #expect(reply.written == 0)
        #expect(rig.driver.readConfig(UInt8.self, at: 1) == 1)
    }

    @Test(arguments: [
        Features.netControlReceive, .netControlVLAN, .netControlMAC, .netControlReceiveExtra,
    ]) func aCommandNeedsItsFeature(_ feature: Features) throws {
        let rig = try Rig(without: feature)
        let commands: [(Features, [UInt8])] = [
            (.netControlReceive, [0, 0, 1]), (.netControlReceiveExtra, [0, 2, 1]), (.netControlVLAN, [2, 0, 1, 0]),
            (.netControlMAC, [1, 1] + Self.other),
        ]
        for (needed, command) in commands {
            let answer = try rig.command(command[0], command[1], Array(command.dropFirst(2)))
            #expect(answer == (needed == feature ? 1 : 0))
        }
    }
}
