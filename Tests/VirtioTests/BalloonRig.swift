import EventLoop
import Host
import Memory
import TestSupport
import Virtio

/// A balloon, the memory it takes from, and the driver that plays the guest.
///
/// Guest memory has two regions of 4 MiB that touch, a hole, and one above 4 GiB; the driver's own things lie in the
/// first MiB, the pages that a test gives up hold 0xaa.
final class BalloonRig {
    static let regionSize: UInt64 = 4 << 20
    static let border = UInt32(regionSize >> 12)
    static let hole = 2 * border
    static let high: UInt32 = 1 << 20
    static let end = high + border

    let memory: GuestMemory
    let device: BalloonDevice
    let driver: VirtioDriver
    var queues: [DriverQueue] = []
    /// What guest memory takes of the host, if it is a file.
    private let file: FileDescriptor?

    init(
        shared: Bool = false, reports: Bool = true, pageSize: Int = HostProcess.pageSize, features: Features? = nil,
        policy: AutoBalloonPolicy? = nil
    ) throws {
        let ranges = [0, Self.regionSize, 1 << 32].map { (GuestAddress($0), Self.regionSize) }
        let size = 3 * Self.regionSize
        if shared {
            let file = try FileDescriptor.memory(name: "test")
            try file.truncate(to: size)
            self.file = try file.duplicate()
            memory = try GuestMemory(
                ranges: ranges, mapping: try MappedRegion(file: file, count: Int(size), shared: true),
                file: consume file, pageSize: pageSize)
        } else {
            file = nil
            memory = try GuestMemory(
                ranges: ranges, mapping: try MappedRegion(anonymous: Int(size)), pageSize: pageSize)
        }
        device = BalloonDevice(
            id: "balloon0", deflatesOnOutOfMemory: true, reportsFreePages: reports, policy: policy)
        driver = try VirtioDriver(device, memory: memory, reactor: try Reactor(name: "test"))
        queues = try driver.start(features, queueSize: 64)
    }

    var inflate: DriverQueue { queues[0] }
    var deflate: DriverQueue { queues[1] }
    var statistics: DriverQueue { queues[2] }
    var reporting: DriverQueue { queues[3] }

    /// How much room the memory's file takes on the host.
    var allocatedBytes: UInt64? {
        guard let file = copyOfFile() else { return nil }
        return try? FileStatus(of: file).allocatedSize
    }

    private func copyOfFile() -> FileDescriptor? {
        switch file {
        case .some(let file): try? file.duplicate()
        case .none: nil
        }
    }

    func page(_ number: UInt32) -> HostSlice? { memory.slice(at: UInt64(number) << 12, count: 4096) }

    /// Fills all memory beyond the first MiB.
    func fill() {
        memory.host.dropFirst(1 << 20).fill(0xaa)
    }

    /// The numbers of the pages beyond the first MiB that do not hold what `fill` put there, and read as zeroes.
    func freedPages() -> [UInt32] {
        let numbers = Array(256..<Self.hole) + Array(Self.high..<Self.end)
        return numbers.filter { page($0)?.isZero == true }
    }

    /// Page numbers as they stand in a request.
    static func numbers(_ pages: [UInt32]) -> [UInt8] {
        pages.flatMap { page in (0..<4).map { UInt8(truncatingIfNeeded: page >> UInt32(8 * $0)) } }
    }

    /// Statistics as they stand in a request.
    static func entries(_ entries: [(tag: UInt16, value: UInt64)]) -> [UInt8] {
        entries.flatMap { tag, value in
            [UInt8(truncatingIfNeeded: tag), UInt8(tag >> 8)]
                + (0..<8).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * $0)) }
        }
    }

    /// Gives pages up, and waits until the device has taken note.
    func inflate(_ pages: [UInt32]) throws {
        _ = try driver.exchange(on: inflate, readable: [Self.numbers(pages)])
    }

    /// Offers `bytes` on a queue without waiting for an answer.
    func offer(_ bytes: [UInt8], on queue: DriverQueue, head: UInt16 = 0) throws {
        let address = try driver.allocate(bytes.count)
        try memory.write(bytes, at: address)
        queue.setChain([.init(address, UInt32(bytes.count))], head: head)
        queue.submit(head)
    }

    /// Resets the device and starts it again.
    func restart() throws {
        driver.write(.status, 0)
        try driver.wait { driver.read(.status) == 0 }
        driver.nextFree = 0x1000
        queues = try driver.start(nil, queueSize: 64)
    }
}
