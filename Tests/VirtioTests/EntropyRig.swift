import Backends
import EventLoop
import Glibc
import Host
import Memory
import TestSupport
import Virtio

/// An entropy device on a source, and the driver that plays the guest.
final class EntropyRig {
    let device: EntropyDevice
    let driver: VirtioDriver
    var queue: DriverQueue

    init(_ path: String, limit: EntropyDevice.Limit? = nil) throws {
        device = EntropyDevice(id: "rng0", source: try RandomSource(path: path), limit: limit)
        driver = try VirtioDriver(device, reactor: try Reactor(name: "test"))
        queue = try driver.start()[0]
    }

    /// Offers one buffer without waiting; what it holds can be looked at.
    func offer(_ count: Int, head: UInt16 = 0) throws -> HostSlice {
        let address = try driver.allocate(count)
        queue.setChain([.init(address, UInt32(count), isWritable: true)], head: head)
        queue.submit(head)
        return try driver.memory.slice(at: address, count: count)
    }

    /// Waits for the used entry of one request.
    func used() throws -> DriverQueue.Used? {
        try driver.wait { queue.usedCount > 0 }
        return queue.takeUsed()
    }

    /// Resets the device and starts it again.
    func restart() throws {
        driver.write(.status, 0)
        try driver.wait { driver.read(.status) == 0 }
        driver.nextFree = 0x1000
        queue = try driver.start()[0]
    }
}

/// A FIFO that is gone when this object is.
final class FIFO {
    let path = "/tmp/apus-fifo-" + randomBytes(8).map { String($0, radix: 16) }.joined()

    init() throws {
        guard unsafe mkfifo(path, 0o600) == 0 else { throw Errno.current }
    }

    deinit {
        try? removeFile(path)
    }

    /// A writing end.
    func writer() throws -> FileDescriptor { try FileDescriptor.open(path, [.writeOnly, .nonBlocking]) }
}
