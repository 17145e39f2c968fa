import Backends
import EventLoop
import Glibc
import Host
import Memory
import TestSupport
import Testing
import Virtio

/// A vsock device with its sockets in a folder of its own, the driver that plays the guest, and programs of the host.
final class VsockRig {
    typealias Operation = GuestPacket.Operation

    let folder: String
    let reactor: Reactor
    let sockets: VsockSockets
    let device: UnixVsockDevice
    let guest: VsockGuest

    /// - Parameters:
    ///   - pathLength: of the device's socket, if it matters.
    ///   - state: what the device is made from, if it is not new.
    init(
        buffers: Int = 64, bufferSize: Int = 44 + 4096, pathLength: Int? = nil, restoring state: DeviceState? = nil,
        _ change: (inout UnixVsockDevice.Limits) -> Void = { _ in }
    ) throws {
        let folder = "/tmp/apus-test-vsock-" + randomBytes(8).map { String($0, radix: 16) }.joined()
        self.folder = folder
        _ = try checked { unsafe mkdir(folder, 0o700) }
        reactor = try Reactor(name: "test")
        let fill = String(repeating: "v", count: max(0, (pathLength ?? 0) - folder.utf8.count - 7))
        sockets = try VsockSockets(path: folder + "/v\(fill).sock", id: "vsock0")
        var limits = UnixVsockDevice.Limits()
        change(&limits)
        device = UnixVsockDevice(id: "vsock0", guestCID: 3, sockets: sockets, limits: limits)
        if let state { try device.restore(state) }
        guest = try VsockGuest(device, reactor: reactor, buffers: buffers, bufferSize: bufferSize)
    }

    deinit {
        _ = unsafe rmdir(folder)
    }

    /// A program that connects, and has said `line`.
    func program(_ line: String? = nil) throws -> HostProgram {
        let program = try HostProgram(Socket.connect(unix: sockets.path))
        if let line { program.write(Array(line.utf8)) }
        return program
    }

    /// A program that listens for the guest's connections to a port, until it is gone.
    func listener(_ port: UInt32, backlog: Int32 = 128) throws -> HostListener {
        try HostListener("\(sockets.path)_\(port)", backlog: backlog)
    }

    /// Runs the device until something holds.
    func wait(until condition: () throws -> Bool) throws {
        var failure: (any Error)?
        try guest.driver.wait {
            guest.collect()
            do { return try condition() } catch { failure = error }
            return true
        }
        if let failure { throw failure }
    }

    /// A connection that the host has begun: the program, and its port.
    func connectFromHost(_ port: UInt32 = 52, bufferSize: UInt32 = 256 << 10) throws -> (HostProgram, UInt32) {
        let program = try program("CONNECT \(port)\n")
        let request = try guest.nextBeyondCredit()
        #expect(request.operation == Operation.request)
        #expect(request.destinationPort == port)
        var response = GuestPacket(Operation.response, port, request.sourcePort)
        response.bufferSize = bufferSize
        try guest.send(response)
        let answer = "OK \(request.sourcePort)\n"
        try wait { program.collect().count >= answer.utf8.count }
        #expect(program.text == answer)
        program.received = []
        return (program, request.sourcePort)
    }

    /// A connection that the guest has begun: the program that took it.
    func connectFromGuest(_ guestPort: UInt32, to listener: HostListener, _ port: UInt32) throws -> HostProgram {
        try guest.send(GuestPacket(Operation.request, guestPort, port))
        let response = try guest.nextBeyondCredit()
        #expect(response.operation == Operation.response, "got \(response)")
        #expect(response.sourcePort == port && response.destinationPort == guestPort)
        return try listener.accept()
    }

    /// The device must still serve the guest and the host.
    func expectWorks(_ location: SourceLocation = #_sourceLocation) throws {
        #expect(!guest.driver.status.contains(.deviceNeedsReset), sourceLocation: location)
        _ = guest.settled()
        let (program, port) = try connectFromHost(4_000_000_000)
        try guest.send(GuestPacket(Operation.data, 4_000_000_000, port, [1, 2, 3]))
        try wait { program.collect() == [1, 2, 3] }
        program.write([4, 5])
        #expect(try guest.next().data == [4, 5], sourceLocation: location)
        try guest.send(GuestPacket(Operation.reset, 4_000_000_000, port))
        try wait { program.isAtEnd }
    }
}

/// A program of the host at its end of a connection. It never blocks.
final class HostProgram {
    private var socket: FileDescriptor?
    var received: [UInt8] = []
    private var sawEnd = false

    init(_ socket: consuming FileDescriptor) throws {
        try socket.setNonBlocking(true)
        self.socket = consume socket
    }

    /// Reads what is there; answers all that has come so far.
    @discardableResult
    func collect(upTo limit: Int = .max) -> [UInt8] {
        while !sawEnd, received.count < limit {
            do throws(Errno) {
                let bytes = try socket?.read(count: min(65536, limit - received.count)) ?? []
                if bytes.isEmpty { sawEnd = true }
                received += bytes
            } catch {
                if error != .again { sawEnd = true }
                break
            }
        }
        return received
    }

    var text: String { String(decoding: collect(), as: UTF8.self) }

    var isAtEnd: Bool {
        collect()
        return sawEnd
    }

    /// Writes as much as fits; answers how much that was.
    @discardableResult
    func write(_ bytes: [UInt8]) -> Int {
        guard let number = socket?.rawValue else { return 0 }
        let count = unsafe bytes.withUnsafeBytes { bytes in
            unsafe send(number, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
        }
        return max(0, count)
    }

    func shutDown(reading: Bool = false, writing: Bool = false) {
        if let number = socket?.rawValue { Socket.shutDown(number, reading: reading, writing: writing) }
    }

    func close() { socket = nil }
}

/// A program of the host that the guest can reach.
final class HostListener {
    private let socket: FileDescriptor
    private let path: String

    init(_ path: String, backlog: Int32) throws {
        socket = try Socket.listen(unix: path, backlog: backlog)
        try socket.setNonBlocking(true)
        self.path = path
    }

    deinit { try? removeFile(path) }

    func accept() throws -> HostProgram {
        let number = socket.rawValue
        return try HostProgram(FileDescriptor(owning: try checked { Glibc.accept(number, nil, nil) }))
    }
}
