import EventLoop
import Glibc
import Host
import Memory
import Synchronization
import TestSupport
import Virtio

/// What a stream took.
struct Result {
    let seconds: Double
    /// CPU time of the device's thread in seconds, its system calls, and the guest's interrupts.
    let cpu: Double
    let calls: Int
    let interrupts: UInt64
}

/// Streams `count` frames between a guest, on a thread of its own, and a wire, through a card that this thread serves.
func stream(_ count: Int, size: Int, toGuest: Bool, interface: String?) throws -> Result {
    let wire = try Wire(interface: interface, size: size)
    let reactor = try Reactor(name: "benchmark")
    let device = NetDevice(id: "nic", tap: wire.tap, options: NetDevice.Options(mac: Wire.mac))
    let driver = try VirtioDriver(device, memory: try GuestMemory(size: 16 << 20), reactor: reactor)
    let guest = try StreamingGuest(driver, wire, size: size)
    driver.settle()
    let (start, cpu, calls) = (Clock.monotonic, threadTime(), try transferCalls())
    let handle = reactor.handle
    let isOver = Futex(0)
    let thread = try HostThread(name: "guest") {
        do {
            try toGuest ? guest.receive(count) : guest.send(count)
            isOver.store(1)
        } catch {
            HostProcess.printError("the guest failed: \(error)\n")
            isOver.store(2)
        }
        handle.send { _ in }
    }
    // Each enters the kernel once.
    var turns = 0
    while isOver.load() == 0 {
        reactor.turn(waiting: true)
        turns += 1
    }
    thread.join()
    guard isOver.load() == 1 else { throw StreamingGuest.Failure(text: "the stream broke off") }
    let result = Result(
        seconds: Double(Clock.monotonic - start) / 1e9, cpu: threadTime() - cpu,
        calls: try transferCalls() - calls + turns, interrupts: guest.interrupts)
    try driver.retire()
    return result
}

private func threadTime() -> Double {
    var time = timespec()
    unsafe clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

/// How often this thread has read or written, a frame or anything else.
private func transferCalls() throws -> Int {
    let file = try FileDescriptor.open("/proc/thread-self/io", .readOnly)
    let lines = String(decoding: try file.read(count: 4096), as: UTF8.self).split(separator: "\n")
    return lines.filter { $0.hasPrefix("syscr:") || $0.hasPrefix("syscw:") }
        .reduce(0) { $0 + (Int($1.split(separator: " ")[1]) ?? 0) }
}

/// Prints what each direction takes, with frames of the link's size and with such as are to be cut.
func runBenchmark(_ arguments: [String]) -> Int32 {
    guard (2...3).contains(arguments.count), let mebibytes = Int(arguments[1]), (1...1 << 20).contains(mebibytes) else {
        print("usage: \(arguments.first ?? "NetworkBenchmark") MEBIBYTES [TAP]")
        return 2
    }
    do {
        for (name, size) in [("1500", 1514), ("64K", 65226)] {
            for (way, toGuest) in [("to-guest", true), ("to-host", false)] {
                let count = (mebibytes << 20) / size
                let result = try stream(
                    count, size: size, toGuest: toGuest, interface: arguments.count == 3 ? arguments[2] : nil)
                let frames = Double(count)
                let gibibytes = frames * Double(size) / Double(1 << 30)
                print(
                    "\(way)-\(name)", frames / result.seconds, gibibytes * 1024 / result.seconds,
                    result.cpu / gibibytes, Double(result.calls) / frames, Double(result.interrupts) / frames)
            }
        }
        return 0
    } catch {
        print("failed: \(error)")
        return 1
    }
}
