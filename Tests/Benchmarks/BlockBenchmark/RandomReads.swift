import Backends
import EventLoop
import Host
import Memory
import TestSupport
import Virtio

/// Random reads of 4 KiB through a block device's registers and rings, always with the same number in flight.
final class RandomReads {
    private static let blockSize = 4096

    private let driver: VirtioDriver
    private let queue: DriverQueue
    private let headers: [HostSlice]
    private let statuses: [HostSlice]
    private let blocks: UInt64
    private var random: UInt64 = 0x9e37_79b9_7f4a_7c15
    private var failures = 0

    enum Failure: Error {
        case imageTooSmall
        case readsFailed(Int)
    }

    init(path: String, direct: Bool, depth: Int) throws {
        let image = try DiskImage.open(path: path, readOnly: true, direct: direct)
        blocks = image.size / UInt64(Self.blockSize)
        guard blocks > 0 else { throw Failure.imageTooSmall }
        let reactor = try Reactor(name: "benchmark")
        driver = try VirtioDriver(BlockDevice(id: "disk", image: image), reactor: reactor)
        queue = try driver.start()[0]
        var headers: [HostSlice] = []
        var statuses: [HostSlice] = []
        for index in 0..<depth {
            let header = try driver.allocate(16)
            let data = try driver.allocate(Self.blockSize, alignment: 4096)
            let status = try driver.allocate(1)
            queue.setChain(
                [
                    DriverQueue.Buffer(header, 16),
                    DriverQueue.Buffer(data, UInt32(Self.blockSize), isWritable: true),
                    DriverQueue.Buffer(status, 1, isWritable: true),
                ], head: UInt16(3 * index))
            headers.append(try driver.memory.slice(at: header, count: 16))
            statuses.append(try driver.memory.slice(at: status, count: 1))
        }
        self.headers = headers
        self.statuses = statuses
    }

    /// Reads for `seconds`; answers how many reads ended in one.
    func run(seconds: Double) throws -> Double {
        for index in headers.indices { offer(index) }
        queue.publish()
        queue.kickIfWanted()
        let start = Clock.monotonic
        let end = start + UInt64(seconds * 1e9)
        var count = 0
        while true {
            driver.reactor.turn(waiting: true)
            var ended = 0
            while let used = queue.takeUsed() {
                let index = Int(used.head / 3)
                if statuses[index].byte(at: 0) != 0 { failures += 1 }
                offer(index)
                ended += 1
            }
            guard ended > 0 else { continue }
            count += ended
            queue.publish()
            queue.kickIfWanted()
            if Clock.monotonic >= end { break }
        }
        let time = Double(Clock.monotonic - start) / 1e9
        if failures > 0 { throw Failure.readsFailed(failures) }
        try driver.retire()
        return Double(count) / time
    }

    private func offer(_ index: Int) {
        random ^= random << 13
        random ^= random >> 7
        random ^= random << 17
        headers[index].store(random % blocks * UInt64(Self.blockSize / 512), at: 8)
        statuses[index].store(UInt8(0xff), at: 0)
        queue.offer(UInt16(3 * index))
    }
}

/// Prints reads a second for each depth that was asked for; answers the exit status.
func runBenchmark(_ arguments: [String]) -> Int32 {
    guard arguments.count >= 5, let seconds = Double(arguments[3]), ["direct", "cached"].contains(arguments[2]) else {
        print("usage: \(arguments.first ?? "BlockBenchmark") FILE direct|cached SECONDS DEPTH...")
        return 2
    }
    do {
        for text in arguments[4...] {
            guard let depth = Int(text), (1...85).contains(depth) else {
                print("depth '\(text)' is not a number from 1 to 85")
                return 2
            }
            let reads = try RandomReads(path: arguments[1], direct: arguments[2] == "direct", depth: depth)
            print(depth, Int(try reads.run(seconds: seconds)))
        }
        return 0
    } catch {
        print("failed: \(error)")
        return 1
    }
}
