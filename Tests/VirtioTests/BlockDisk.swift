import Backends
import EventLoop
import Host
import Memory
import TestSupport
import Virtio

/// A block device on a file of its own, and the driver that plays the guest.
final class BlockDisk {
    let file: TemporaryFile
    let image: DiskImage
    let device: BlockDevice
    let driver: VirtioDriver
    var queues: [DriverQueue] = []
    var queue: DriverQueue { queues[0] }

    /// Types of requests.
    enum Kind {
        static let read: UInt32 = 0
        static let write: UInt32 = 1
        static let flush: UInt32 = 4
        static let getID: UInt32 = 8
        static let discard: UInt32 = 11
        static let writeZeroes: UInt32 = 13
    }

    /// Makes the device, and starts it unless `isStarted` says otherwise.
    init(
        size: UInt64 = 1 << 20, readOnly: Bool = false, direct: Bool = false, inMemory: Bool = false,
        minimumAlignment: Int = 512, memory: Int = 4 << 20, features: Features? = nil, isStarted: Bool = true,
        _ change: (inout BlockDevice.Options) -> Void = { _ in }
    ) throws {
        file = try TemporaryFile(size: size, inMemory: inMemory)
        image = .raw(
            try RawImage(path: file.path, readOnly: readOnly, direct: direct, minimumAlignment: minimumAlignment))
        var options = BlockDevice.Options()
        change(&options)
        device = BlockDevice(id: "disk0", image: image, options: options)
        driver = try VirtioDriver(device, memory: try GuestMemory(size: memory), reactor: try Reactor(name: "test"))
        if isStarted { queues = try driver.start(features) }
    }

    /// A new driver, after a reset.
    func restart() throws {
        driver.write(.status, 0)
        try driver.wait { driver.status == [] }
        driver.nextFree = 0x1000
        queues = try driver.start()
    }

    /// The 16 bytes before each request.
    static func header(_ kind: UInt32, _ sector: UInt64 = 0) -> [UInt8] {
        littleEndian(kind) + littleEndian(UInt32(0)) + littleEndian(sector)
    }

    /// One segment of a discard or of zeroing.
    static func range(_ sector: UInt64, _ sectors: UInt32, flags: UInt32 = 0) -> [UInt8] {
        littleEndian(sector) + littleEndian(sectors) + littleEndian(flags)
    }

    private static func littleEndian<T: FixedWidthInteger & UnsignedInteger>(_ value: T) -> [UInt8] {
        (0..<MemoryLayout<T>.size).map { UInt8(truncatingIfNeeded: value >> T(8 * $0)) }
    }

    /// Sends one request; answers its status and, of `count` bytes, what the device wrote.
    func request(
        _ kind: UInt32, _ sector: UInt64 = 0, _ data: [UInt8] = [], count: Int = 0
    ) throws -> (status: UInt8?, bytes: [UInt8], written: UInt32) {
        let reply = try driver.exchange(
            on: queue, readable: [Self.header(kind, sector)] + (data.isEmpty ? [] : [data]),
            writable: (count > 0 ? [count] : []) + [1])
        return (reply.bytes.last, Array(reply.bytes.dropLast()), reply.written)
    }
}
