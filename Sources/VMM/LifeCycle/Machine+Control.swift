import Backends
import Bus
import Control
import Options

extension Machine: MachineControl {
    var status: RunStatus {
        switch state {
        case .running, .pausing: hasPanicked ? .guestPanicked : .running
        case .paused, .created: .paused
        case .ending: .other
        }
    }

    var isRunning: Bool { state == .running || state == .pausing }

    var name: String? { options.name }

    var uuid: String? { options.uuid }

    var architecture: Architecture { .x86_64 }

    var machineTypes: [MachineType] {
        [MachineType(name: parts.layout.name, maximumCPUs: parts.layout.limits.vcpus)]
    }

    var memorySize: UInt64 { options.memoryBackend.size }

    var cpus: [CPUInfo] {
        parts.processors.placements.enumerated().map { index, place in
            CPUInfo(
                index: index, threadID: Int(place.threadID), socket: place.socket, die: place.die, core: place.core,
                thread: place.thread)
        }
    }

    var ioThreads: [IOThreadInfo] {
        parts.iothreads.map { IOThreadInfo(id: $0.id, threadID: Int($0.threadID)) }
    }

    var characterDevices: [CharacterDeviceInfo] { parts.chardevs.infos }

    var blockDevices: [BlockDeviceInfo] { parts.slots.devices.compactMap { ($0 as? Disk)?.info } }

    private var balloon: Balloon? { parts.slots.devices.lazy.compactMap { $0 as? Balloon }.first }

    func setBalloon(_ bytes: UInt64) throws(QMPError) {
        guard let balloon else { throw .noBalloon }
        try balloon.set(bytes)
        post(.balloonChanged(actual: balloon.actual))
    }

    func queryBalloon(_ answer: @escaping (BalloonInfo) -> Void) throws(QMPError) {
        guard let balloon else { throw .noBalloon }
        balloon.query(mayAsk: state == .running, answer)
    }

    func stop(_ reply: QMPReply) { pause(reply) }

    func quit() { end(.quit) }

    func powerDown() throws(QMPError) { end(.hostPowerDown) }

    func reset() throws(QMPError) { end(.hostReset) }
}
