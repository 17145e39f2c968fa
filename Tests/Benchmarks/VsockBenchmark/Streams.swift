import Backends
import EventLoop
import Glibc
import Host
import Virtio

/// One stream between a program of the host, on a thread of its own, and a guest that this thread plays.
final class Streams {
    private let sockets: VsockSockets
    private let guest: StreamingGuest

    struct Failure: Error {
        let text: String
    }

    /// What a direction took.
    struct Result {
        /// Bytes a second, and CPU time of the device and its guest in seconds for each GiB.
        let rate: Double
        let cpu: Double
        /// Interrupts for each MiB.
        let interrupts: Double
    }

    /// - Parameter packetsPerRead: how many packets the device makes of one read at most.
    init(packetsPerRead: Int?) throws {
        var limits = UnixVsockDevice.Limits()
        if let packetsPerRead { limits.packetsPerRead = packetsPerRead }
        sockets = try VsockSockets(path: "/tmp/apus-benchmark-\(HostProcess.id).sock", id: "vsock")
        let device = UnixVsockDevice(id: "vsock", guestCID: StreamingGuest.cid, sockets: sockets, limits: limits)
        guest = try StreamingGuest(device, reactor: try Reactor(name: "benchmark"))
    }

    deinit { sockets.close() }

    /// Runs `program` with a connected socket on a thread, and `step` here until that has ended.
    private func run(
        _ program: @escaping @Sendable (borrowing FileDescriptor) throws -> Void, while step: () -> Bool
    ) throws {
        let path = sockets.path
        let thread = try HostThread(name: "program") {
            do {
                let socket = try Socket.connect(unix: path)
                try socket.write(Array("CONNECT \(StreamingGuest.port)\n".utf8))
                while try socket.read(count: 1) != [UInt8(ascii: "\n")] {}
                try program(socket)
            } catch {
                HostProcess.printError("the program failed: \(error)\n")
            }
        }
        repeat { guest.turn() } while step()
        thread.join()
    }

    private func measure(_ bytes: Int, _ body: () throws -> Void) throws -> Result {
        let (start, cpu, interrupts) = (Clock.monotonic, Self.threadTime(), guest.interrupts)
        try body()
        let seconds = Double(Clock.monotonic - start) / 1e9
        let gibibytes = Double(bytes) / Double(1 << 30)
        return Result(
            rate: Double(bytes) / seconds, cpu: (Self.threadTime() - cpu) / gibibytes,
            interrupts: Double(guest.interrupts - interrupts) / Double(bytes >> 20))
    }

    /// `bytes` from the host to the guest.
    func toGuest(_ bytes: Int) throws -> Result {
        try measure(bytes) {
            try run { socket in
                let chunk = [UInt8](repeating: 7, count: 64 << 10)
                for _ in 0..<bytes / chunk.count { try socket.write(chunk) }
            } while: {
                !guest.hasEnded
            }
            guard guest.received == bytes else { throw Failure(text: "\(guest.received) bytes came of \(bytes)") }
        }
    }

    /// `bytes` from the guest to the host.
    func toHost(_ bytes: Int) throws -> Result {
        try measure(bytes) {
            try run { socket in
                var left = bytes
                let memory = IOBuffer(capacity: 256 << 10)
                while left > 0 {
                    let got = unsafe read(socket.rawValue, memory.all.pointer, memory.capacity)
                    guard got > 0 else { throw Failure(text: "the stream ended early") }
                    left -= got
                }
            } while: {
                if guest.isConnected { guest.sendData(upTo: bytes) }
                return !guest.hasEnded
            }
        }
    }

    /// Microseconds of a round trip of a byte from the host's program to the guest and back.
    func roundTrip(_ count: Int) throws -> Double {
        let start = Clock.monotonic
        try run { socket in
            for _ in 0..<count {
                try socket.write([1])
                guard try socket.read(count: 1) == [0] else { throw Failure(text: "something else came back") }
            }
        } while: {
            guest.sendData(upTo: guest.received)
            return !guest.hasEnded
        }
        return Double(Clock.monotonic - start) / 1e3 / Double(count)
    }

    private static func threadTime() -> Double {
        var time = timespec()
        unsafe clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}

/// Prints what each direction takes, with many packets a read and with one; answers the exit status.
func runBenchmark(_ arguments: [String]) -> Int32 {
    guard arguments.count == 3, let mebibytes = Int(arguments[1]), (1...1 << 20).contains(mebibytes),
        let trips = Int(arguments[2]), (1...1 << 24).contains(trips)
    else {
        print("usage: \(arguments.first ?? "VsockBenchmark") MEBIBYTES ROUND-TRIPS")
        return 2
    }
    let bytes = mebibytes << 20
    do {
        for (name, packets) in [("host-to-guest", nil), ("host-to-guest-by-one", 1)] as [(String, Int?)] {
            show(name, try Streams(packetsPerRead: packets).toGuest(bytes))
        }
        show("guest-to-host", try Streams(packetsPerRead: nil).toHost(bytes))
        print("round-trip", try Streams(packetsPerRead: nil).roundTrip(trips))
        return 0
    } catch {
        print("failed: \(error)")
        return 1
    }
}

/// A line: MiB a second, CPU seconds a GiB, interrupts a MiB.
private func show(_ name: String, _ result: Streams.Result) {
    print(name, result.rate / Double(1 << 20), result.cpu, result.interrupts)
}
