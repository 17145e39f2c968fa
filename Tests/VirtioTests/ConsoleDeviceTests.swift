import Backends
import EventLoop
import Host
import Memory
import TestSupport
import Testing
import Virtio

@Suite struct ConsoleDeviceTests {
    private typealias Message = ConsoleRig.Message
    private typealias Event = ConsoleRig.Event

    // MARK: What the driver learns

    @Test(arguments: [(0, 1), (1, 2), (7, 8), (30, 31)]) func hasRoomForItsPorts(highest: Int, ports: UInt32) throws {
        let rig = try ConsoleRig(channels: highest == 0 ? [] : [highest])
        #expect(rig.driver.offeredFeatures == [.splitRing, .version1, .consoleMultiport, .consoleEmergencyWrite])
        #expect(rig.driver.read(.deviceID) == 3)
        #expect(rig.driver.readConfig(UInt32.self, at: 0) == 0)
        #expect(rig.driver.readConfig(UInt32.self, at: 4) == ports)
        #expect(rig.device.queueSizes.count == 2 + 2 * Int(ports))
        #expect(Array(rig.device.queueSizes.prefix(4)) == [128, 128, 32, 32])
        #expect(rig.device.queueSizes.dropFirst(4).allSatisfy { $0 == 128 })
    }

    @Test func tellsOfItsPorts() throws {
        let rig = try ConsoleRig(consoles: [0], channels: [2, 5])
        let peer = try rig.connect(5)
        #expect(
            try rig.boot() == [
                Message(port: 0, event: Event.add), Message(port: 2, event: Event.add),
                Message(port: 5, event: Event.add), Message(port: 0, event: Event.console),
                Message(port: 0, event: Event.name, name: "org.port.0"), Message(port: 0, event: Event.open),
                Message(port: 2, event: Event.name, name: "org.port.2"),
                Message(port: 5, event: Event.name, name: "org.port.5"), Message(port: 5, event: Event.open),
            ])
        peer.close()
    }

    @Test func tellsWhoComesAndGoes() throws {
        let rig = try ConsoleRig(channels: [1])
        try rig.boot()
        for _ in 0..<50 {
            let peer = try rig.connect(1)
            #expect(try rig.takeMessages() == [Message(port: 1, event: Event.open)])
            peer.close()
            try rig.driver.wait { try !rig.chardev(1).isOpen }
            #expect(try rig.takeMessages() == [Message(port: 1, event: Event.open, value: 0)])
        }
        // The console's host end is open all the time.
        let peer = try rig.connect(0)
        peer.close()
        #expect(try rig.takeMessages() == [])
    }

    @Test func aDriverWithoutBuffersIsToldEachThingOnce() throws {
        let rig = try ConsoleRig(channels: [1])
        try rig.start()
        for _ in 0..<200 {
            try rig.send(Message(port: 0, event: Event.deviceReady))
            for port in [UInt32(0), 1] { try rig.send(Message(port: port, event: Event.ready)) }
        }
        for _ in 0..<20 {
            let peer = try rig.connect(1)
            peer.close()
            try rig.driver.wait { try !rig.chardev(1).isOpen }
        }
        let last = try rig.connect(1)
        try rig.supply(rig.queues[2], 32)
        // That one client has ended is told before the next one's coming.
        #expect(
            try rig.takeMessages() == [
                Message(port: 0, event: Event.console), Message(port: 0, event: Event.name, name: "org.port.0"),
                Message(port: 0, event: Event.open), Message(port: 1, event: Event.name, name: "org.port.1"),
                Message(port: 1, event: Event.open, value: 0), Message(port: 1, event: Event.open),
            ])
        last.close()
    }

    @Test func aDriverThatKnowsOfNoPortsHasTheFirst() throws {
        let rig = try ConsoleRig(channels: [1])
        try rig.start(.version1)
        let peer = try rig.connect(0)
        try rig.supply(rig.inputQueue(0), 4)
        peer.write("in")
        var input: [UInt8] = []
        try rig.driver.wait {
            input += try rig.takeInput(0)
            return input == Array("in".utf8)
        }
        try rig.write(0, "out")
        try rig.driver.wait { peer.text == "out" }
    }

    @Test func aCharacterNeedsNoQueue() throws {
        let rig = try ConsoleRig()
        let peer = try rig.connect(0)
        rig.driver.addStatus(.acknowledge)
        rig.driver.addStatus(.driver)
        for character in "panic".utf8 { rig.driver.writeConfig(UInt32(character), at: 8) }
        try rig.driver.wait { peer.text == "panic" }
    }

    // MARK: A console

    @Test func aConsoleTalks() throws {
        let rig = try ConsoleRig()
        try rig.boot()
        let peer = try rig.connect(0)
        try rig.write(0, "login: ")
        peer.write("root\r")
        var input: [UInt8] = []
        try rig.driver.wait {
            input += try rig.takeInput(0)
            return peer.text == "login: " && input == Array("root\r".utf8)
        }
    }

    @Test func aConsoleWithoutAReaderSwallowsAndShowsTheLastOfIt() throws {
        let rig = try ConsoleRig()
        try rig.boot()
        let output = pattern(300_000)
        for start in stride(from: 0, to: output.count, by: 1500) {
            try rig.write(0, Array(output[start..<min(start + 1500, output.count)]))
        }
        for _ in 0..<2 {
            let late = try rig.connect(0)
            try rig.driver.wait { late.read().count >= 65536 }
            let isLast = late.received == output.suffix(65536)
            #expect(isLast)
            late.close()
            try rig.driver.wait { try !rig.chardev(0).isOpen }
        }
    }

    @Test func aConsoleNeverWaitsForItsReader() throws {
        let rig = try ConsoleRig()
        try rig.boot()
        let peer = try rig.connect(0)
        let output = pattern(4 << 20)
        // Each of these would hang if the device kept the buffer.
        for start in stride(from: 0, to: output.count, by: 65536) {
            try rig.write(0, Array(output[start..<start + 65536]))
        }
        try rig.driver.wait { peer.read().suffix(5000) == output.suffix(5000) }
        #expect(peer.received.count < output.count)
        peer.write("still here")
        var input: [UInt8] = []
        try rig.driver.wait {
            input += try rig.takeInput(0)
            return input == Array("still here".utf8)
        }
    }

    // MARK: A channel

    /// Both ways at once, with a client that takes and gives as fast as it can.
    @Test func aChannelLosesNothing() throws {
        let rig = try ConsoleRig(channels: [1])
        try rig.boot()
        let peer = try rig.connect(1)
        let amount = 3 << 20
        let (output, toGuest) = (pattern(amount), Array(pattern(amount).reversed()))
        var unwritten = toGuest
        var input: [UInt8] = []
        let pieces = stride(from: 0, to: amount, by: 30_000).map { Array(output[$0..<min($0 + 30_000, amount)]) }
        for piece in pieces {
            let mark = rig.driver.nextFree
            try rig.offer(1, piece)
            try rig.driver.wait {
                unwritten = peer.write(unwritten)
                peer.read()
                input += try rig.takeInput(1)
                return rig.outputQueue(1).takeUsed() != nil
            }
            rig.driver.nextFree = mark
        }
        try rig.driver.wait {
            unwritten = peer.write(unwritten)
            input += try rig.takeInput(1)
            return peer.read().count >= amount && input.count >= amount
        }
        let isSame = (peer.received == output, input == toGuest)
        #expect(isSame == (true, true))
    }

    @Test func aChannelWaitsForItsReader() throws {
        let rig = try ConsoleRig(channels: [1], memory: 8 << 20)
        try rig.boot()
        let peer = try rig.connect(1)
        let output = pattern(2 << 20)
        try rig.offer(1, output)
        for _ in 0..<500 { rig.reactor.turn(waiting: false) }
        #expect(rig.outputQueue(1).usedCount == 0)
        #expect(try rig.chardev(1).room >= 0)
        // The rest of the device, and of the machine, goes on.
        try rig.write(0, "a console beside it")
        #expect(rig.device.isIdle, "what waits for a reader is no I/O under way")
        try rig.driver.wait { peer.read().count == output.count && rig.outputQueue(1).usedCount == 1 }
        let isSame = peer.received == output
        #expect(isSame)
    }

    @Test func whatAClientLeavesUnreadIsGoneWithIt() throws {
        let rig = try ConsoleRig(channels: [1], memory: 8 << 20)
        try rig.boot()
        let first = try rig.connect(1)
        try rig.offer(1, pattern(2 << 20))
        #expect(rig.outputQueue(1).usedCount == 0)
        first.close()
        try rig.driver.wait { rig.outputQueue(1).takeUsed() != nil }
        // With nobody there a write ends at once.
        try rig.write(1, "to nobody")
        let second = try rig.connect(1)
        try rig.write(1, "to the second")
        try rig.driver.wait { second.text == "to the second" }
    }

    @Test func inputWaitsForTheProgramInTheGuest() throws {
        let rig = try ConsoleRig(channels: [1])
        try rig.boot(opening: false)
        let peer = try rig.connect(1)
        let toGuest = pattern(1 << 20)
        var unwritten = peer.write(toGuest)
        for _ in 0..<200 { rig.reactor.turn(waiting: false) }
        #expect(!unwritten.isEmpty)
        #expect(try rig.takeInput(1) == [])
        var input: [UInt8] = []
        for round in 0..<4 {
            try rig.send(Message(port: 1, event: Event.open))
            let goal = round < 3 ? input.count + 100_000 : toGuest.count
            try rig.driver.wait {
                unwritten = peer.write(unwritten)
                input += try rig.takeInput(1)
                return input.count >= goal
            }
            // What is in the program's buffers when it closes is the program's; nothing more comes.
            try rig.send(Message(port: 1, event: Event.open, value: 0))
            input += try rig.takeInput(1)
            for _ in 0..<100 { rig.reactor.turn(waiting: false) }
            #expect(try rig.takeInput(1) == [])
        }
        let isSame = input == toGuest
        #expect(isSame)
    }

    @Test(arguments: [1, 7, 4096]) func inputFillsBuffersOfAnySize(size: Int) throws {
        let rig = try ConsoleRig(channels: [1])
        try rig.boot(opening: false)
        let queue = rig.inputQueue(1)
        try rig.supply(queue, 100, size: size)
        try rig.send(Message(port: 1, event: Event.open))
        let peer = try rig.connect(1)
        let toGuest = pattern(3000)
        #expect(peer.write(toGuest).isEmpty)
        var input: [UInt8] = []
        try rig.driver.wait {
            input += try rig.takeInput(1)
            return input.count >= toGuest.count
        }
        #expect(input == toGuest)
    }

    // MARK: Pause, reset, removal

    @Test func aPauseHoldsBothWays() throws {
        let rig = try ConsoleRig(channels: [1], memory: 8 << 20)
        try rig.boot()
        let peer = try rig.connect(1)
        let output = pattern(2 << 20)
        try rig.offer(1, output)
        var isPaused = false
        rig.driver.virtio.pause { isPaused = true }
        #expect(isPaused)
        let memory = rig.driver.memory.host.bytes
        #expect(peer.write(Array("input".utf8)).isEmpty)
        for _ in 0..<200 {
            rig.reactor.turn(waiting: false)
            peer.read()
        }
        let isUntouched = rig.driver.memory.host.bytes == memory
        #expect(isUntouched)
        rig.driver.virtio.resume()
        var input: [UInt8] = []
        try rig.driver.wait {
            input += try rig.takeInput(1)
            return peer.read().count == output.count && input == Array("input".utf8)
        }
        let isSame = peer.received == output
        #expect(isSame)
    }

    @Test func aResetForgetsTheDriver() throws {
        let rig = try ConsoleRig(channels: [1], memory: 16 << 20)
        let output = pattern(2 << 20)
        for _ in 0..<3 {
            try rig.boot()
            let peer = try rig.connect(1)
            try rig.offer(1, output)
            #expect(peer.write(Array("lost".utf8)).isEmpty)
            rig.driver.write(.status, 0)
            #expect(rig.driver.status == [])
            rig.driver.nextFree = 0x1000
            // Nobody has opened the port for the new driver.
            try rig.boot(opening: false)
            #expect(peer.write(Array("held".utf8)).isEmpty)
            #expect(try rig.takeInput(1) == [])
            try rig.send(Message(port: 1, event: Event.open))
            var input: [UInt8] = []
            try rig.driver.wait {
                input += try rig.takeInput(1)
                return String(decoding: input, as: UTF8.self).hasSuffix("held")
            }
            peer.close()
            try rig.driver.wait { try !rig.chardev(1).isOpen }
            rig.driver.nextFree = 0x1000
        }
    }

    @Test func removalWaitsForNobody() throws {
        let rig = try ConsoleRig(channels: [1], memory: 8 << 20)
        try rig.boot()
        let peer = try rig.connect(1)
        try rig.offer(1, pattern(2 << 20))
        try rig.driver.retire()
        #expect(peer.write(Array("to nobody".utf8)).isEmpty)
        for _ in 0..<50 { rig.reactor.turn(waiting: false) }
    }

    // MARK: Other host ends

    @Test func aPseudoTerminal() throws {
        let rig = try ConsoleRig { _, reactor in try .pty(id: "con0", on: reactor) }
        try rig.boot()
        let path = String(try rig.chardev(0).filename.dropFirst("pty:".count))
        try rig.write(0, "login: ")
        let user = try Peer(FileDescriptor.open(path, [.readWrite, .noControllingTerminal]))
        user.write("root\r")
        var input: [UInt8] = []
        try rig.driver.wait {
            input += try rig.takeInput(0)
            return user.text == "login: " && input == Array("root\r".utf8)
        }
    }

    @Test func aChannelToAPseudoTerminalWithoutAUserIsBounded() throws {
        let rig = try ConsoleRig(channels: [1], memory: 8 << 20) { number, reactor in
            number == 1 ? try .pty(id: "con0", on: reactor) : nil
        }
        try rig.boot()
        let output = pattern(1 << 20)
        try rig.offer(1, output)
        for _ in 0..<200 { rig.reactor.turn(waiting: false) }
        #expect(rig.outputQueue(1).usedCount == 0)
        let path = String(try rig.chardev(1).filename.dropFirst("pty:".count))
        let user = try Peer(FileDescriptor.open(path, [.readWrite, .noControllingTerminal]))
        try rig.driver.wait { user.read().count == output.count }
        let isSame = user.received == output
        #expect(isSame)
    }

    @Test func aFileAndTheLog() throws {
        let path = temporaryPath("file")
        defer { try? removeFile(path) }
        let lines = Lines()
        let rig = try ConsoleRig(consoles: [0], channels: [1]) { number, reactor in
            number == 0
                ? try .log(id: "log", on: reactor) { lines.all.append($0) }
                : try .file(id: "file", path: path, on: reactor)
        }
        let messages = try rig.boot()
        #expect(messages.contains(Message(port: 1, event: Event.open)), "a file is always there")
        let output = pattern(500_000)
        for start in stride(from: 0, to: output.count, by: 100_000) {
            try rig.write(1, Array(output[start..<start + 100_000]))
        }
        try rig.write(0, "first\r\nsecond\n")
        try rig.chardev(1).drain(for: 10_000_000_000)
        let isSame = try FileDescriptor.open(path, .readOnly).read(count: 600_000, at: 0) == output
        #expect(isSame)
        #expect(lines.all == ["first", "second"])
    }

    /// A disk that is full costs the output, and not the guest its program.
    @Test func aFileThatCannotBeWrittenHoldsNobodyUp() throws {
        let rig = try ConsoleRig(channels: [1]) { number, reactor in
            number == 1 ? try .file(id: "full", path: "/dev/full", on: reactor) : nil
        }
        try rig.boot()
        for _ in 0..<20 { try rig.write(1, pattern(50_000)) }
    }
}

/// What came to the log.
private final class Lines {
    var all: [String] = []
}
