import Backends
import Bus
import Control
import EventLoop
import Host
import Options
import Virtio

extension Machine {
    var devices: [TypedObject] { parts.slots.devices.map { TypedObject(id: $0.id, type: $0.type) } }

    var objects: [TypedObject] {
        // Iothreads come and go.
        options.objects.map { TypedObject(id: $0.id, type: $0.type) }.filter { $0.type != Self.ioThread }
            + parts.iothreads.map { TypedObject(id: $0.id, type: Self.ioThread) }
    }

    private static let ioThread = "iothread"

    func readCounters(_ answer: @escaping ([DeviceCounters]) -> Void) {
        readReports { [ids = Set(devices.map(\.id))] reports in
            answer(reports.filter { ids.contains($0.id) && !$0.counters.isEmpty }.map(\.info))
        }
    }

    func disconnect(characterDevices labels: [String]) throws(QMPError) {
        let chardevs = labels.map { parts.chardevs[$0] }
        for (label, chardev) in zip(labels, chardevs) where chardev?.isSocket != true {
            throw QMPError("yank: there is no connection of a chardev '\(label)'", class: .deviceNotFound)
        }
        for chardev in chardevs { chardev?.disconnect() }
    }

    func logAddressSpace(_ reply: QMPReply) {
        let ports = parts.bus.snapshot.ranges(of: .ports).map { "\($0.addresses)" }
        let window = parts.layout.virtio
        readReports { [size = memorySize, ids = Set(devices.map(\.id))] reports in
            Log.info("machine", "address space: \(size >> 20) MiB of memory from 0x0 on")
            for report in reports {
                let address = String(window.addresses(ofSlot: report.slot).start, radix: 16)
                let device = ids.contains(report.id) ? report.id : "spare"
                Log.info("machine", "address space: 0x\(address) slot \(report.slot): \(device)")
            }
            Log.info("machine", "address space: ports \(ports.joined(separator: ", "))")
            reply.succeed()
        }
    }

    /// Calls `answer` with what all devices behind registers tell of themselves, by their slots.
    private func readReports(_ answer: @escaping ([DeviceReport]) -> Void) {
        let gathering = Gathering(parts.home.reports, from: parts.iothreads.count, answer)
        let answers = ReactorBound(gathering, to: reactor)
        let main = reactor.handle
        for iothread in parts.iothreads {
            iothread.handle.send { [home = iothread.home] reactor in
                let reports = home.value(on: reactor)?.reports ?? []
                main.send { reactor in answers.value(on: reactor)?.add(reports) }
            }
        }
    }
}

/// What several reactors answer, put together.
private final class Gathering {
    private var reports: [DeviceReport]
    private var missing: Int
    private let answer: ([DeviceReport]) -> Void

    init(_ own: [DeviceReport], from count: Int, _ answer: @escaping ([DeviceReport]) -> Void) {
        reports = own
        missing = count
        self.answer = answer
        finish()
    }

    func add(_ more: [DeviceReport]) {
        reports += more
        missing -= 1
        finish()
    }

    private func finish() {
        if missing == 0 { answer(reports.sorted { $0.slot < $1.slot }) }
    }
}

extension DeviceReport {
    fileprivate var info: DeviceCounters {
        DeviceCounters(
            id: id, counters: counters.map { .init(name: $0.name, value: $0.value, isBytes: $0.isBytes) })
    }
}
