import Bus
import Control
import EventLoop
import Host
import Hypervisor
import Options
import Sandbox
import Virtio

@testable import VMM

/// Iothreads of a reactor that the test turns.
final class IOThreadRig {
    let reactor: Reactor
    let operations = SerialQueue()
    let iothreads: IOThreads

    /// What a reactor keeps for devices.
    @Sendable static func devices(_ reactor: Reactor) -> ReactorDevices {
        ReactorDevices(reactor, SystemBus(vcpus: 1), .microvm, onAction: { _ in })
    }

    init(isFiltered: Bool = false, keepsSpare: Bool = false) throws {
        reactor = try Reactor(name: "test")
        // They are not installed; that there are some forbids to start a thread.
        let filters = isFiltered ? try SeccompFilters([]) : nil
        iothreads = IOThreads(
            Self.devices(reactor), keepsSpare: keepsSpare, filters: filters,
            operations: operations, Self.devices)
    }

    func add(_ id: String, _ completion: @escaping RunControl.Completion) throws {
        iothreads.add(try ObjectSpec.parse("iothread,id=\(id)"), beside: inventory([]), completion)
    }

    func remove(
        _ id: String, beside devices: [any MachineDevice] = [], _ completion: @escaping RunControl.Completion
    ) {
        iothreads.remove(id, beside: inventory(devices), completion)
    }

    private func inventory(_ devices: [any MachineDevice]) -> Inventory {
        Inventory(limits: .microvm, devices: devices, iothreads: iothreads.ids, objects: ["rng0"])
    }

    /// Turns the reactor until a command has been answered; the answer, empty for success.
    func answer(_ command: (@escaping RunControl.Completion) throws -> Void) rethrows -> String {
        var answer: String?
        try command { answer = $0?.description ?? "" }
        while answer == nil { reactor.turn(waiting: true) }
        return answer ?? ""
    }

    /// Whether the thread of this number is there, and what it is called.
    static func threadName(_ number: Int32) throws -> String? {
        guard let file = try? FileDescriptor.open("/proc/self/task/\(number)/comm", .readOnly) else { return nil }
        return String(decoding: try file.read(count: 32).dropLast(), as: UTF8.self)
    }

    deinit {
        iothreads.finish()
    }
}
