import Host
import Options

@testable import Control

/// A machine that notes what it is asked and answers as told.
final class FakeMachine: MachineControl {
    var status = RunStatus.running
    var isRunning: Bool { status == .running || status == .guestPanicked }
    var name: String? = "vm"
    var uuid: String? = "11111111-2222-3333-4444-555555555555"
    var architecture = Architecture.x86_64
    var machineTypes = [MachineType(name: "microvm", maximumCPUs: 254)]
    var memorySize: UInt64 = 256 << 20
    var cpus = [CPUInfo(index: 0, threadID: 100), CPUInfo(index: 1, threadID: 101, core: 1)]
    var ioThreads = [IOThreadInfo(id: "io1", threadID: 200)]
    var characterDevices = [
        CharacterDeviceInfo(label: "serial0", filename: "pty:/dev/pts/3", isFrontendOpen: true),
        CharacterDeviceInfo(label: "agent", filename: "unix:/run/agent", isFrontendOpen: false, isSocket: true),
    ]
    var devices = [TypedObject(id: "blk0", type: "virtio-blk-device")]
    var objects = [TypedObject(id: "io1", type: "iothread")]
    var counters = [DeviceCounters(id: "blk0", counters: blockCounters)]

    /// A disk's, with their places as values.
    private static let blockCounters = [
        "rd_operations", "wr_operations", "flush_operations", "unmap_operations", "rd_bytes", "wr_bytes",
        "failed_rd_operations", "failed_wr_operations", "failed_flush_operations", "failed_unmap_operations",
        "invalid_operations",
    ].enumerated().map { DeviceCounters.Counter(name: $1, value: UInt64($0), isBytes: $1.hasSuffix("bytes")) }
    var blockDevices: [BlockDeviceInfo] = {
        var disk = BlockDeviceInfo(id: "rootfs", deviceID: "blk0", file: "/img/root.ext4", size: 1 << 30)
        disk.isReadOnly = true
        disk.iops = 500
        return [disk]
    }()

    /// Whether stop and cont wait in `replies` until the test completes them.
    var defers = false
    var replies: [QMPReply] = []
    var calls: [String] = []
    var refusal: QMPError?

    var balloon: BalloonInfo? = BalloonInfo(actual: 256 << 20)

    func setBalloon(_ bytes: UInt64) throws(QMPError) { try simple("balloon \(bytes)") }

    func queryBalloon(_ answer: @escaping (BalloonInfo) -> Void) throws(QMPError) {
        guard let balloon else { throw QMPError("no balloon", class: .deviceNotActive) }
        answer(balloon)
    }

    func readCounters(_ answer: @escaping ([DeviceCounters]) -> Void) { answer(counters) }

    func disconnect(characterDevices labels: [String]) throws(QMPError) {
        try simple("yank \(labels.joined(separator: " "))")
    }

    func logAddressSpace(_ reply: QMPReply) { answer("query-mem", reply) {} }

    func stop(_ reply: QMPReply) { answer("stop", reply) { self.status = .paused } }
    func resume(_ reply: QMPReply) { answer("cont", reply) { self.status = .running } }
    func quit() { calls.append("quit") }
    func powerDown() throws(QMPError) { try simple("system_powerdown") }
    func reset() throws(QMPError) { try simple("system_reset") }

    var drives: [DriveSpec] = []
    var plugged: [(spec: DeviceSpec, slot: Int?)] = []
    var descriptorNumbers: [String: Int32] = [:]

    func keepDescriptor(_ file: consuming FileDescriptor, as name: String) throws(QMPError) {
        try simple("getfd \(name)")
        descriptorNumbers[name] = file.rawValue
    }

    func closeDescriptor(_ name: String) throws(QMPError) { try simple("closefd \(name)") }

    func addDrive(_ spec: DriveSpec) throws(QMPError) {
        try simple("blockdev-add \(spec.id)")
        drives.append(spec)
    }

    func removeDrive(_ id: String) throws(QMPError) { try simple("blockdev-del \(id)") }

    func addDevice(_ spec: DeviceSpec, slot: Int?, _ reply: QMPReply) {
        answer("device_add \(spec.id ?? "")", reply) { self.plugged.append((spec, slot)) }
    }

    func removeDevice(_ id: String, _ reply: QMPReply) { answer("device_del \(id)", reply) {} }

    func addNetdev(_ spec: NetdevSpec) throws(QMPError) { try simple("netdev_add \(spec.id)") }

    func removeNetdev(_ id: String) throws(QMPError) { try simple("netdev_del \(id)") }

    func setLink(_ id: String, up isUp: Bool, _ reply: QMPReply) { answer("set_link \(id) \(isUp)", reply) {} }

    func addObject(_ spec: ObjectSpec) throws(QMPError) { try simple("object-add \(spec.id)") }

    func removeObject(_ id: String) throws(QMPError) { try simple("object-del \(id)") }

    func resizeDisk(_ id: String, to size: UInt64, _ reply: QMPReply) { answer("block_resize \(id) \(size)", reply) {} }

    func limitDisk(_ id: String, iops: UInt32, _ reply: QMPReply) { answer("throttle \(id) \(iops)", reply) {} }

    private func simple(_ call: String) throws(QMPError) {
        calls.append(call)
        if let refusal { throw refusal }
    }

    private func answer(_ call: String, _ reply: QMPReply, _ act: () -> Void) {
        calls.append(call)
        act()
        if defers { replies.append(reply) } else { reply.succeed() }
    }
}

/// The version all tests greet with.
let testVersion = QMPVersion(package: "apus-0.1.0")

extension QMPSession {
    static func forTest(_ machine: FakeMachine, limits: Limits = Limits()) -> QMPSession {
        QMPSession(version: testVersion, commands: .standard, machine: machine, limits: limits)
    }

    func receive(_ text: String) {
        receive(Array(text.utf8).span)
    }

    func takeText() -> String {
        String(decoding: takeOutput(), as: UTF8.self)
    }

    /// What comes back for `text`, all of it processed.
    func exchange(_ text: String) -> String {
        receive(text)
        while process(atMost: 16) {}
        return takeText()
    }
}
