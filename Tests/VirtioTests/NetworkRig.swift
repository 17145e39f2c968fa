import Backends
import Bus
import EventLoop
import Glibc
import Host
import Memory
import TestSupport
import Virtio

/// A network card whose tap is one end of a socket, the driver that plays the guest, and the host at the other end.
final class NetworkRig {
    private(set) var device: NetDevice
    let driver: VirtioDriver
    private(set) var features: Features = []
    private(set) var queues: [DriverQueue] = []
    private var host: Wire?
    private var buffers: [Int: (GuestAddress, Int)] = [:]
    private var nextHead: UInt16 = 0

    static let mac: [UInt8] = [0x02, 0xaa, 0xbb, 0xcc, 0xdd, 0xee]
    static let largest = 12 + 14 + 4 + 40 + 65535

    var receiving: DriverQueue { queues[0] }
    var sending: DriverQueue { queues[1] }
    var control: DriverQueue { queues[2] }

    /// Makes the device, and starts it unless `isStarted` says otherwise.
    ///
    /// - Parameters:
    ///   - without: what the driver does not choose.
    ///   - sender: the reactor that sends, if it is another.
    init(
        queueSize: UInt16 = 256, offloads: TapOffloads = [.checksum, .tso4, .tso6, .ecn], memory: Int = 8 << 20,
        mtu: Int? = nil, without: Features = [],
        choose: Features? = nil, sender: ReactorHandle? = nil, isStarted: Bool = true
    ) throws {
        (device, host) = try Self.card(queueSize: queueSize, offloads: offloads, mtu: mtu, sender: sender)
        driver = try VirtioDriver(device, memory: try GuestMemory(size: memory), reactor: try Reactor(name: "test"))
        if isStarted { try start(choose ?? driver.offeredFeatures.subtracting(without)) }
    }

    /// A card, and the host's end of its wire.
    private static func card(
        queueSize: UInt16, offloads: TapOffloads, mtu: Int?, mac: [UInt8] = mac, sender: ReactorHandle? = nil
    ) throws -> (NetDevice, Wire) {
        var ends: [Int32] = [-1, -1]
        _ = try checked { unsafe socketpair(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue), 0, &ends) }
        let host = FileDescriptor(owning: ends[0])
        try host.setNonBlocking(true)
        var options = NetDevice.Options(mac: mac)
        options.queueSize = queueSize
        let tap = try Tap(standIn: [ends[1]], offloads: offloads, mtu: mtu)
        guard let sender else { return (NetDevice(id: "net0", tap: tap, options: options), Wire(host)) }
        return (DualReactorNetDevice(id: "net0", tap: tap, options: options, sendingOn: sender), Wire(host))
    }

    private final class Wire {
        let file: FileDescriptor

        init(_ file: consuming FileDescriptor) {
            self.file = file
        }
    }

    /// Puts another card, on another wire, in the place of this one.
    func exchange(sender: ReactorHandle? = nil) throws {
        let (card, wire) = try Self.card(
            queueSize: device.queueSizes[0], offloads: [.checksum, .tso4, .tso6, .ecn], mtu: nil, sender: sender)
        try driver.exchangeDevice(card)
        (device, host) = (card, wire)
    }

    /// Puts a fresh device with another address, on another wire, in the place of this one: restored from its state
    /// after `change`.
    func restore(_ change: (inout NetDevice.State) -> Void = { _ in }) throws {
        let (fresh, wire) = try Self.card(
            queueSize: device.queueSizes[0], offloads: [.checksum, .tso4, .tso6, .ecn], mtu: nil,
            mac: [2, 9, 9, 9, 9, 9])
        try driver.pause()
        guard case .network(var state) = device.deviceState else { throw VirtioDriver.Failure.stopped }
        change(&state)
        try fresh.restore(.network(state))
        try driver.exchangeDevice(fresh)
        (device, host) = (fresh, wire)
    }

    func start(_ features: Features) throws {
        self.features = features
        buffers = [:]
        nextHead = 0
        queues = try driver.start(features)
    }

    // MARK: The host

    /// A frame for the card: addresses, a type, and data that tells it from others.
    static func frame(_ count: Int, to address: [UInt8] = mac, seed: UInt8 = 0) -> [UInt8] {
        address + [2, 0, 0, 0, 0, 1, 8, 0] + (14..<max(14, count)).map { UInt8(truncatingIfNeeded: $0) &* 7 &+ seed }
    }

    static let header = [UInt8](repeating: 0, count: 12)

    /// Sends a frame with its header to the card; false if the wire is full.
    @discardableResult
    func hostSends(_ frame: [UInt8], header: [UInt8] = NetworkRig.header) -> Bool {
        let bytes = header + frame
        guard let number = host?.file.rawValue else { return false }
        return unsafe write(number, bytes, bytes.count) == bytes.count
    }

    /// Takes a frame with its header from the wire; nil if there is none.
    func hostReceives() -> [UInt8]? {
        guard let number = host?.file.rawValue else { return nil }
        var bytes = [UInt8](repeating: 0, count: 2 * Self.largest)
        let count = unsafe read(number, &bytes, bytes.count)
        return count > 0 ? Array(bytes.prefix(count)) : nil
    }

    /// Ends the wire.
    func hostLeaves() { host = nil }

    // MARK: The guest

    /// Offers `count` chains of buffers of these sizes to receive into; they hold 0xee before.
    func offer(_ sizes: [Int], count: Int = 1, isWritable: Bool = true) throws {
        for _ in 0..<count {
            let head = nextHead
            nextHead += UInt16(sizes.count)
            let total = sizes.reduce(0, +)
            let start = try driver.allocate(max(total, 1))
            try driver.memory.slice(at: start, count: total).fill(0xee)
            var address = start
            var parts: [DriverQueue.Buffer] = []
            for size in sizes {
                parts.append(DriverQueue.Buffer(address, UInt32(size), isWritable: isWritable))
                address = GuestAddress(address.rawValue + UInt64(size))
            }
            receiving.setChain(parts, head: head)
            buffers[Int(head)] = (start, total)
            receiving.offer(head)
        }
        receiving.publish()
        receiving.kickIfWanted()
    }

    /// What is in the buffers of the oldest received chain, up to what the device says it wrote.
    func takeChain() throws -> [UInt8]? {
        guard let used = receiving.takeUsed(), let (address, count) = buffers[Int(used.head)] else { return nil }
        guard Int(used.written) <= count else { throw VirtioDriver.Failure.timedOut }
        return try driver.memory.read(count: Int(used.written), at: address)
    }

    /// Waits for a frame; its bytes with its header.
    func guestReceives() throws -> [UInt8] {
        try driver.wait { receiving.usedCount > 0 }
        guard var bytes = try takeChain(), bytes.count >= 12 else { return [] }
        let chains = Int(bytes[10]) | Int(bytes[11]) << 8
        for _ in 1..<max(chains, 1) { bytes += try takeChain() ?? [] }
        return bytes
    }

    /// Sends a frame, cut into pieces, and waits until the device gives it back.
    func guestSends(_ pieces: [[UInt8]]) throws {
        _ = try driver.exchange(on: sending, readable: pieces)
    }

    /// Offers frames of 200 bytes to send; each begins with its number.
    func offerFrames(_ numbers: Range<Int>) throws {
        for number in numbers {
            let address = try driver.allocate(212)
            let frame = Self.frame(200, to: [0x02, 0, 0, 0, UInt8(number >> 8), UInt8(number & 0xff)])
            try driver.memory.write(Self.header + frame, at: address)
            sending.setChain([DriverQueue.Buffer(address, 212)], head: UInt16(number % 256))
            sending.offer(UInt16(number % 256))
        }
        sending.publish()
        sending.kickIfWanted()
    }

    /// Gives a command; answers the device's answer.
    func command(_ kind: UInt8, _ number: UInt8, _ data: [UInt8] = []) throws -> UInt8? {
        try driver.exchange(
            on: control, readable: [[kind, number]] + (data.isEmpty ? [] : [data]), writable: [1]
        ).bytes.first
    }

    /// Whether a frame from the host reaches the guest; one buffer must be there.
    func passes(_ frame: [UInt8]) throws -> Bool {
        let (before, after) = (device.received, { self.device.received })
        hostSends(frame)
        try driver.wait { after() != before }
        return after().packets > before.packets
    }
}
