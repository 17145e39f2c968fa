/// What a machine is made of, and what its devices have counted.
package protocol MachineInformation: AnyObject {
    /// `-name`.
    var name: String? { get }
    /// In the canonical form of 36 characters.
    var uuid: String? { get }
    /// The guest's architecture.
    var architecture: Architecture { get }
    /// The machine types this program can start.
    var machineTypes: [MachineType] { get }
    /// Bytes of the guest's memory.
    var memorySize: UInt64 { get }
    /// The vCPUs, by index.
    var cpus: [CPUInfo] { get }
    /// The iothreads that devices can be given to.
    var ioThreads: [IOThreadInfo] { get }
    /// The character backends.
    var characterDevices: [CharacterDeviceInfo] { get }
    /// The disks that the guest sees.
    var blockDevices: [BlockDeviceInfo] { get }
    /// Everything that has the id of a `-device`.
    var devices: [TypedObject] { get }
    /// Everything that has the id of an `-object`.
    var objects: [TypedObject] { get }

    /// Calls `answer` with what all devices have counted, each asked on its own reactor.
    func readCounters(_ answer: @escaping ([DeviceCounters]) -> Void)
    /// Writes what is where in the guest's address space into the log, then completes `reply`.
    func logAddressSpace(_ reply: QMPReply)
    /// Breaks the connections of these character devices.
    ///
    /// - Throws: if one has none to break; then all are left alone.
    func disconnect(characterDevices labels: [String]) throws(QMPError)
}

/// The guest's architecture, by its name in QMP.
package enum Architecture: String, CaseIterable, Sendable {
    // The name is the architecture's own.
    // swift-format-ignore: AlwaysUseLowerCamelCase
    case x86_64
    case aarch64
}

/// A machine type that can be started.
package struct MachineType: Equatable, Sendable {
    package var name: String
    package var maximumCPUs: Int

    package init(name: String, maximumCPUs: Int) {
        self.name = name
        self.maximumCPUs = maximumCPUs
    }
}

/// One vCPU.
package struct CPUInfo: Equatable, Sendable {
    package var index: Int
    /// The host's id of the vCPU's thread.
    package var threadID: Int
    package var socket: Int
    /// The die on x86-64, the cluster on AArch64.
    package var die: Int
    package var core: Int
    package var thread: Int

    package init(index: Int, threadID: Int, socket: Int = 0, die: Int = 0, core: Int = 0, thread: Int = 0) {
        self.index = index
        self.threadID = threadID
        self.socket = socket
        self.die = die
        self.core = core
        self.thread = thread
    }
}

/// One iothread.
package struct IOThreadInfo: Equatable, Sendable {
    package var id: String
    /// The host's id of its thread.
    package var threadID: Int

    package init(id: String, threadID: Int) {
        self.id = id
        self.threadID = threadID
    }
}

/// One character device.
package struct CharacterDeviceInfo: Equatable, Sendable {
    package var label: String
    /// Where it leads, as `pty:/dev/pts/3` or `stdio`.
    package var filename: String
    package var isFrontendOpen: Bool
    /// Whether it is a socket, whose connection can be broken.
    package var isSocket: Bool

    package init(label: String, filename: String, isFrontendOpen: Bool, isSocket: Bool = false) {
        self.label = label
        self.filename = filename
        self.isFrontendOpen = isFrontendOpen
        self.isSocket = isSocket
    }
}

/// A device or object, by its type in the object model.
package struct TypedObject: Equatable, Sendable {
    package var id: String
    package var type: String

    package init(id: String, type: String) {
        self.id = id
        self.type = type
    }
}

/// What one device has counted since it was made.
package struct DeviceCounters: Equatable, Sendable {
    package struct Counter: Equatable, Sendable {
        package var name: String
        package var value: UInt64
        /// Whether it counts bytes, rather than events.
        package var isBytes: Bool

        package init(name: String, value: UInt64, isBytes: Bool) {
            self.name = name
            self.value = value
            self.isBytes = isBytes
        }
    }

    /// The device's id.
    package var id: String
    package var counters: [Counter]

    package init(id: String, counters: [Counter]) {
        self.id = id
        self.counters = counters
    }
}

/// One disk and the image in it.
package struct BlockDeviceInfo: Equatable, Sendable {
    /// The drive's id.
    package var id: String
    /// The id of the device that shows it to the guest.
    package var deviceID: String
    /// The image's path.
    package var file: String
    /// The image's format, as QEMU spells it.
    package var format: String
    package var isReadOnly = false
    /// Whether the host's page cache is passed by.
    package var isDirect = false
    /// Whether a finished write may still need a flush to be durable.
    package var isWriteback = true
    /// Bytes that the guest sees.
    package var size: UInt64
    /// Operations a second that are let through; 0 for no limit.
    package var iops: UInt64 = 0
    /// What becomes of writes that are all zeroes: `off`, `on` or `unmap`.
    package var zeroDetection = "off"

    package init(id: String, deviceID: String, file: String, format: String, size: UInt64) {
        self.id = id
        self.deviceID = deviceID
        self.file = file
        self.format = format
        self.size = size
    }
}
