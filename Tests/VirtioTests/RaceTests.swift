import EventLoop
import Host
import Memory
import Synchronization
import TestSupport
import Testing
import Virtio

/// A driver that changes what it has offered while the device looks at it: case 21 of the list of hostile inputs.
@Suite(.serialized) struct RaceTests {
    /// Another vCPU: keeps writing two values in turn to one place until it is told to stop.
    private final class Flipper: Sendable {
        private let isStopped = Atomic(false)
        let flips = Atomic(0)

        func stop() { isStopped.store(true, ordering: .relaxed) }

        func run(_ flip: (Int) -> Void) {
            while !isStopped.load(ordering: .relaxed) {
                flip(flips.wrappingAdd(1, ordering: .relaxed).newValue)
            }
        }
    }

    /// The driver's thread: sends one request after the other, each a random moment after the one before was used,
    /// which is when the device may be about to sleep.
    private final class Sender: Sendable {
        let kicks = Atomic(0)
        private let isStopped = Atomic(false)

        func stop() { isStopped.store(true, ordering: .relaxed) }

        func run(_ queue: DriverQueue, _ count: Int) {
            var random = FixedRandom(state: 3)
            for _ in 0..<count {
                queue.offer(0)
                queue.publish()
                if queue.wantsKick() { kicks.add(1, ordering: .releasing) }
                while queue.takeUsed() == nil, !isStopped.load(ordering: .relaxed) {}
                for _ in 0..<Int.random(in: 0..<40, using: &random) { relaxCPU() }
            }
        }
    }

    /// A driver that kicks only when it is asked to: if the device ever went to sleep without seeing a request, both
    /// would wait for good.
    @Test(arguments: [Features.version1, [.version1, .ringEventIndex]])
    func noRequestIsOverlooked(features: Features) throws {
        let memory = try GuestMemory(size: 4096)
        let layout = QueueLayout(
            size: 8, descriptorTable: GuestAddress(0), availableRing: GuestAddress(0x200), usedRing: GuestAddress(0x400)
        )
        let queue = try Virtqueue(index: 0, layout: layout, maximumSize: 8, features: features, memory: memory)
        let count = 20_000
        let sender = Sender()
        let event = try EventFD()
        let doorbell = event.rawValue
        let thread = try HostThread(name: "driver") {
            let other = try? DriverQueue(0, layout, features: features, memory: memory, doorbell: doorbell)
            if let other { sender.run(other, count) }
        }
        var served = 0
        var kicks = 0
        var end: UInt64 = 0
        repeat {
            queue.suppressNotifications()
            while let chain = queue.next() {
                served += 1
                queue.complete(chain.head, written: 0)
                _ = queue.publish()
            }
            if queue.renewBudget() { continue }
            end = Clock.monotonic + 10_000_000_000
            while served < count, sender.kicks.load(ordering: .acquiring) == kicks, Clock.monotonic < end {}
            kicks = sender.kicks.load(ordering: .acquiring)
        } while served < count && Clock.monotonic < end
        sender.stop()
        thread.join()
        #expect(served == count)
    }

    /// What is flipped: its offset from the ring's descriptors, and its two values.
    struct Race: Sendable, CustomTestStringConvertible {
        let name: String
        let offset: Int
        let size: Int
        let values: [UInt64]
        var isIndirect = false

        var testDescription: String { name }
    }

    static let races = [
        Race(name: "address in and outside of memory", offset: 16, size: 8, values: [0x808, 4092]),
        Race(name: "address up and down", offset: 16, size: 8, values: [0x808, .max - 3]),
        Race(name: "length", offset: 24, size: 4, values: [8, 0xffff_ff00]),
        Race(name: "flags: end of the chain", offset: 28, size: 2, values: [2, 3]),
        Race(name: "flags: direction", offset: 28, size: 2, values: [2, 0]),
        Race(name: "flags: indirect", offset: 28, size: 2, values: [2, 4]),
        Race(name: "next", offset: 14, size: 2, values: [1, 0xffff]),
        Race(name: "next: a loop", offset: 14, size: 2, values: [1, 0]),
        Race(name: "address in an indirect table", offset: 16, size: 8, values: [0x808, 4092], isIndirect: true),
        Race(name: "length in an indirect table", offset: 24, size: 4, values: [8, .max], isIndirect: true),
        Race(name: "flags in an indirect table", offset: 28, size: 2, values: [2, 4], isIndirect: true),
        Race(name: "next in an indirect table", offset: 14, size: 2, values: [1, 200], isIndirect: true),
    ]

    @Test(arguments: races) func case21Descriptors(race: Race) throws {
        let trial = try RingTrial(size: 4, features: [.version1, .splitRing])
        let table = try trial.driver.memory.slice(at: GuestAddress(race.isIndirect ? 0x400 : 0), count: 64)
        try attack(
            trial,
            prepare: { queue in
                let places: HostSlice? = race.isIndirect ? table : nil
                queue.setDescriptor(0, address: 0x828, count: 8, flags: DriverQueue.Flag.next, next: 1, in: places)
                queue.setDescriptor(1, address: 0x808, count: 8, flags: DriverQueue.Flag.write, in: places)
                if race.isIndirect {
                    queue.setDescriptor(0, address: 0x400, count: 32, flags: DriverQueue.Flag.indirect)
                }
            }
        ) { turn in
            let value = race.values[turn & 1]
            switch race.size {
            case 2: table.store(UInt16(truncatingIfNeeded: value), at: race.offset)
            case 4: table.store(UInt32(truncatingIfNeeded: value), at: race.offset)
            default: table.store(value, at: race.offset)
            }
        }
        // The readable and the writable buffer are 8 bytes each; nothing else may ever have got through. A loop that is
        // left in time may have passed the first of them thrice: the queue has four descriptors.
        #expect(
            trial.device.chains.allSatisfy { [0, 8, 16, 24].contains($0.readable) && [0, 8].contains($0.writable) })
    }

    @Test func case21AvailableRing() throws {
        let trial = try RingTrial(size: 4, features: [.version1, .splitRing])
        let ring = try trial.driver.memory.slice(
            at: trial.queue.layout.availableRing, count: trial.queue.available.count)
        try attack(
            trial,
            prepare: { queue in
                for head in 0..<4 {
                    queue.setDescriptor(head, address: 0x808, count: 8, flags: DriverQueue.Flag.write)
                }
            }
        ) { turn in
            ring.store(UInt16(truncatingIfNeeded: turn &* 0x9e37), at: 4 + turn % 4 * 2)
            ring.store(UInt16(truncatingIfNeeded: turn), at: turn % 3 == 0 ? 2 : 12)
        }
    }

    /// Kicks a device many times while another thread runs `flip`, and brings it back whenever it has stopped.
    private func attack(
        _ trial: RingTrial, prepare: (DriverQueue) -> Void, flip: @escaping @Sendable (Int) -> Void
    ) throws {
        let memory = trial.driver.memory
        let guarded = try [(0x810, 24), (0x830, 0x1000 - 0x830)].map {
            try memory.slice(at: GuestAddress($0.0), count: $0.1)
        }
        for each in guarded { each.fill(0xc5) }
        let flipper = Flipper()
        let thread = try HostThread(name: "flipper") { flipper.run(flip) }
        let end = Clock.monotonic + 20_000_000_000
        let served = Result {
            var served = 0
            // As often as it takes for both sides to have had their turn.
            repeat {
                served += try kick(trial, times: 5_000, prepare)
            } while (served == 0 || flipper.flips.load(ordering: .relaxed) < 1000) && Clock.monotonic < end
            return served
        }
        flipper.stop()
        thread.join()
        #expect(try served.get() > 0)
        #expect(flipper.flips.load(ordering: .relaxed) >= 1000)
        for each in guarded { #expect(each.bytes.allSatisfy { $0 == 0xc5 }) }
    }

    /// - Returns: how many requests were served.
    private func kick(_ trial: RingTrial, times: Int, _ prepare: (DriverQueue) -> Void) throws -> Int {
        var served = 0
        for _ in 0..<times {
            if trial.driver.status.contains(.deviceNeedsReset) { try trial.restart() }
            prepare(trial.queue)
            let before = trial.device.chains.count
            trial.queue.offer(0)
            trial.queue.publish()
            trial.queue.kick()
            for _ in 0..<3 { trial.driver.reactor.turn(waiting: false) }
            served += trial.device.chains.count - before
            while trial.queue.takeUsed() != nil {}
        }
        return served
    }
}
