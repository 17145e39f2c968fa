import Host
import Testing

@testable import Virtio

/// The table of connections alone: slots, ports and sockets.
@Suite struct VsockTableTests {
    /// Takes a slot for a program that has connected.
    ///
    /// - Returns: the slot, if there was one, and the program's end.
    private static func connect(_ table: ConnectionTable) throws -> (slot: Int?, program: HostProgram) {
        let pair = try Socket.pair()
        let slot = table.open(fromHost: pair.first)
        return (slot, try HostProgram(pair.second))
    }

    private static func open(_ table: ConnectionTable, _ guest: UInt32, _ host: UInt32) -> Int? {
        table.open(fromGuest: VsockPorts(guest: guest, host: host), VsockHeader())
    }

    /// Takes a connection to the point where only the guest's confirmation is missing.
    private static func end(_ table: ConnectionTable, _ slot: Int) {
        table[slot].reach(-1)
        _ = table[slot].takeReply(guestCID: 3)
        table[slot].loseHost()
        _ = table[slot].settle()
        _ = table[slot].takeReply(guestCID: 3)
        _ = table[slot].settle()
        #expect(table[slot].phase == .ending)
    }

    // MARK: Slots

    @Test func aFullTableTakesNoMore() throws {
        let table = ConnectionTable(capacity: 3)
        var slots: [Int] = []
        for port in 0..<3 as Range<UInt32> { slots.append(try #require(Self.open(table, port, 9))) }
        #expect(Set(slots) == [0, 1, 2] && table.isFull && table.count == 3)
        #expect(Self.open(table, 3, 9) == nil && table.find(VsockPorts(guest: 3, host: 9)) == nil)
        let refused = try Self.connect(table)
        #expect(refused.slot == nil && refused.program.isAtEnd)
        table.forgetPorts(slots[1])
        table.release(slots[1])
        #expect(!table.isFull && table.count == 2)
        #expect(Self.open(table, 3, 9) == slots[1])
    }

    @Test func onlyAConnectionThatWaitsForTheGuestCanBeEvicted() throws {
        let table = ConnectionTable(capacity: 2)
        let first = try #require(Self.open(table, 1, 9))
        Self.end(table, first)
        #expect(table.evictable == nil, "there is a free slot")
        let second = try #require(Self.open(table, 2, 9))
        #expect(table.evictable == first)
        table.release(first)
        _ = try #require(Self.open(table, 3, 9))
        #expect(table.evictable == nil, "both are in use")
        Self.end(table, second)
        #expect(table.evictable == second)
    }

    @Test func socketsAreClosedWithTheirSlots() throws {
        let programs: [HostProgram]
        do {
            let table = ConnectionTable(capacity: 2)
            let (first, second) = (try Self.connect(table), try Self.connect(table))
            programs = [first.program, second.program]
            #expect(programs.allSatisfy { !$0.isAtEnd })
            table.release(try #require(first.slot))
            #expect(programs.map(\.isAtEnd) == [true, false])
        }
        #expect(programs.map(\.isAtEnd) == [true, true])
    }

    @Test func manyConnectionsGetSmallerWindows() throws {
        let table = ConnectionTable(capacity: 65)
        for port in 0..<65 as Range<UInt32> { _ = try #require(Self.open(table, port, 9)) }
        #expect((0..<64).allSatisfy { table[$0].credit.window == 256 << 10 })
        #expect(table[64].credit.window == 64 << 10)
    }

    // MARK: Ports

    @Test func connectionsAreFoundByBothPorts() throws {
        let table = ConnectionTable(capacity: 64)
        var slots: [Int: VsockPorts] = [:]
        for index in 0..<64 as Range<UInt32> {
            let ports = VsockPorts(guest: index % 8, host: .max - index / 8)
            let slot = try #require(table.open(fromGuest: ports, VsockHeader()))
            slots[slot] = ports
        }
        for (slot, ports) in slots { #expect(table.find(ports) == slot) }
        #expect(table.find(VsockPorts(guest: .max, host: 0)) == nil)
        for (slot, ports) in slots {
            table.forgetPorts(slot)
            #expect(table.find(ports) == nil)
            table.release(slot)
        }
        #expect(table.count == 0)
    }

    @Test func portsAreFreeForOthersWhileTheirConnectionEnds() throws {
        let table = ConnectionTable(capacity: 3)
        let old = try #require(Self.open(table, 1, 9))
        table.forgetPorts(old)
        let new = try #require(Self.open(table, 1, 9))
        #expect(table.find(VsockPorts(guest: 1, host: 9)) == new)
        // The end of the old one does not touch the new one.
        table.forgetPorts(old)
        table.release(old)
        #expect(table.find(VsockPorts(guest: 1, host: 9)) == new)
    }

    @Test func theHostsPortsGoRoundAndSkipThoseInUse() throws {
        let table = ConnectionTable(capacity: 8)
        let range = ConnectionTable.hostPorts
        func connect(_ guestPort: UInt32) throws -> UInt32 {
            let slot = try #require(Self.connect(table).slot)
            #expect(table.request(slot, guestPort: guestPort))
            #expect(table.find(table[slot].ports) == slot)
            return table[slot].ports.host
        }
        #expect(try connect(52) == range.lowerBound)
        #expect(try connect(52) == range.lowerBound + 1)
        table.nextPort = range.upperBound
        #expect(try connect(52) == range.upperBound)
        // Another port of the guest leaves the first of the host's free.
        #expect(try connect(53) == range.lowerBound)
        table.nextPort = range.lowerBound
        #expect(try connect(52) == range.lowerBound + 2)
        #expect(table.nextPort == range.lowerBound + 3)
    }

    @Test(arguments: [0, 52, 1 << 30 - 1, 1 << 31, .max] as [UInt32])
    func otherPortsAreNotTheHosts(_ port: UInt32) {
        let table = ConnectionTable(capacity: 1)
        table.nextPort = port
        #expect(table.nextPort == ConnectionTable.hostPorts.lowerBound)
    }
}
