import Backends
import EventLoop
import Host
import TestSupport
import Testing
import Virtio

/// A console's state as a value: a fresh one with host ends of its own continues from it.
@Suite struct ConsoleStateTests {
    private typealias Message = ConsoleRig.Message
    private typealias Event = ConsoleRig.Event

    private func state(_ device: ConsoleDevice) throws -> ConsoleDevice.State {
        guard case .console(let state) = device.deviceState else { throw VirtioDriver.Failure.stopped }
        return state
    }

    @Test func aFreshDeviceContinuesAndAnnouncesTheClosedEnd() throws {
        let rig = try ConsoleRig(consoles: [0], channels: [2])
        try rig.boot()
        let first = try rig.connect(2)
        #expect(try rig.takeMessages() == [Message(port: 2, event: Event.open)])
        try rig.write(2, "before")
        #expect(try state(rig.device).ports.map(\.isHostOpen) == [false, true])
        _ = try rig.restore()
        #expect(try state(rig.device).ports.map(\.isGuestOpen) == [true, true])
        #expect(try state(rig.device).ports.map(\.isReady) == [true, true])
        // The first client stays with the source.
        #expect(try rig.takeMessages() == [Message(port: 2, event: Event.open, value: 0)])
        let second = try rig.connect(2)
        #expect(try rig.takeMessages() == [Message(port: 2, event: Event.open)])
        try rig.write(2, "after")
        try rig.driver.wait { second.text == "after" }
        second.write("input")
        var input: [UInt8] = []
        try rig.driver.wait {
            input += try rig.takeInput(2)
            return input.count >= 5
        }
        #expect(input == Array("input".utf8))
        #expect(first.text == "before")
    }

    @Test func outputThatWasSentInPartContinuesWithTheRest() throws {
        let rig = try ConsoleRig(consoles: [], channels: [1])
        try rig.boot()
        let first = try rig.connect(1)
        let output = pattern(1 << 20)
        try rig.offer(1, output)
        rig.driver.settle()
        let taken = try #require(try state(rig.device).ports[0].output).taken
        #expect(taken > 0 && taken < 1 << 20)
        let second = try rig.restore(clients: [1])[0]
        try rig.driver.wait {
            _ = (first.read(), second.read())
            return rig.outputQueue(1).usedCount == 1
        }
        try rig.driver.wait { first.read().count + second.read().count == output.count }
        #expect(first.received.count == Int(taken))
        let isSame = first.received + second.received == output
        #expect(isSame)
    }

    @Test func aPartOfAnotherChainIsIgnored() throws {
        let rig = try ConsoleRig(consoles: [], channels: [1])
        try rig.boot()
        let client = try rig.restore(clients: [1]) { state in
            state.ports[0].output = ConsoleDevice.State.PartialOutput(head: 77, taken: .max)
            state.ports[0].announcements = 31
        }[0]
        try rig.write(1, "all of it")
        try rig.driver.wait { client.text == "all of it" }
        #expect(try rig.takeMessages().map(\.event) == [Event.add, Event.console, Event.name, Event.open, Event.open])
    }

    @Test func aDriverWithoutControlMessagesContinues() throws {
        let rig = try ConsoleRig()
        try rig.start([.version1])
        try rig.supply(rig.inputQueue(0), 4)
        let client = try rig.restore(clients: [0])[0]
        client.write("typed")
        var input: [UInt8] = []
        try rig.driver.wait {
            input += try rig.takeInput(0)
            return input.count >= 5
        }
        try rig.write(0, "printed")
        try rig.driver.wait { client.text == "printed" }
    }

    @Test(
        arguments: [
            { $0.ports = [] }, { $0.ports.append($0.ports[0]) }, { $0.ports[0].number = 5 },
            { $0.ports[0].isConsole = false }, { $0.ports[1].name = [1] }, { $0.ports[1].announcements = 32 },
        ] as [@Sendable (inout ConsoleDevice.State) -> Void])
    func aHostileStateIsRefused(change: @Sendable (inout ConsoleDevice.State) -> Void) throws {
        let rig = try ConsoleRig(consoles: [0], channels: [1])
        try rig.boot()
        let before = try state(rig.device)
        #expect(throws: StateError.self) { try rig.restore(change) }
        #expect(try state(rig.device) == before)
        #expect(throws: StateError.self) { try rig.device.restore(.entropy(nil)) }
    }
}
