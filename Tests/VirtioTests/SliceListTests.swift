import EventLoop
import Host
import TestSupport
import Testing
import Virtio

/// A device with a header and a status byte, as most have them: case 20 of the list of hostile inputs.
private final class HeaderDevice: VirtioDevice {
    private(set) var headers: [UInt64?] = []
    private let zeros = IOBuffer(capacity: 3)

    init() {
        super.init(id: "header", type: DeviceType(rawValue: 42), features: .splitRing, queueSizes: [32])
    }

    /// Header: a 16-bit kind, then a 64-bit value. Answer: the value's complement, then data; last the status 7.
    override func process(_ queue: Virtqueue) {
        while let chain = queue.next() {
            let status = chain.writable.takeLastByte()
            var value: UInt64?
            if let kind: UInt16 = chain.readable.take(), kind == 0x0201 { value = chain.readable.take() }
            headers.append(value)
            let room = chain.writable.byteCount
            if let value { chain.writable.put(~value) }
            chain.writable.copy(from: zeros.all)
            status?.store(UInt8(7), at: 0)
            queue.complete(chain.head, written: UInt32(clamping: room - chain.writable.byteCount + 1))
        }
    }
}

@Suite struct SliceListTests {
    static let header: [UInt8] = [1, 2, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17]
    static let value: UInt64 = 0x1716_1514_1312_1110

    /// Every way to split a header of 10 bytes into up to three buffers.
    static let splits: [[Int]] = (0...10).flatMap { first in (first...10).map { [first, $0] } }

    @Test(arguments: splits) func case20HeaderSplitOverDescriptors(split: [Int]) throws {
        let device = HeaderDevice()
        let driver = try VirtioDriver(device, reactor: try Reactor(name: "test"))
        let queue = try driver.start()[0]
        let parts = [
            Array(Self.header[..<split[0]]), Array(Self.header[split[0]..<split[1]]), Array(Self.header[split[1]...]),
        ]
        let reply = try driver.exchange(on: queue, readable: parts, writable: [split[0], split[1], 12])
        #expect(device.headers == [Self.value])
        let answer = (0..<8).map { UInt8(truncatingIfNeeded: ~Self.value >> UInt64(8 * $0)) } + [0, 0, 0]
        let total = split[0] + split[1] + 12
        #expect(reply.bytes == answer + [UInt8](repeating: 0xee, count: total - 12) + [7])
        #expect(reply.written == 12)
    }

    @Test(arguments: 0..<10) func case20HeaderTooShort(count: Int) throws {
        let device = HeaderDevice()
        let driver = try VirtioDriver(device, reactor: try Reactor(name: "test"))
        let queue = try driver.start()[0]
        let reply = try driver.exchange(on: queue, readable: [Array(Self.header[..<count])], writable: [1])
        #expect(device.headers == [nil])
        #expect(reply.bytes == [7])
    }

    /// Status byte missing, of length 0, alone, split off, or with no room before it for the answer.
    @Test(
        arguments: [([], 0), ([0], 0), ([1], 1), ([4, 1], 4), ([4, 0, 1], 4), ([0, 1, 0], 1), ([9], 9)]
            as [([Int], UInt32)])
    func case20Status(writable: [Int], written: UInt32) throws {
        let device = HeaderDevice()
        let driver = try VirtioDriver(device, reactor: try Reactor(name: "test"))
        let queue = try driver.start()[0]
        let reply = try driver.exchange(on: queue, readable: [Self.header], writable: writable)
        #expect(device.headers == [Self.value])
        #expect(reply.written == written)
        #expect(reply.bytes.last == (writable.reduce(0, +) > 0 ? 7 : nil))
    }

    @Test func case20HeaderInWritableMemory() throws {
        let device = HeaderDevice()
        let driver = try VirtioDriver(device, reactor: try Reactor(name: "test"))
        let queue = try driver.start()[0]
        let reply = try driver.exchange(on: queue, writable: [16, 1])
        #expect(device.headers == [nil])
        #expect(reply.bytes.last == 7)
    }
}
