package import Host
package import Options

/// What commands may ask of the machine. All of it is called on the main reactor's thread, and nothing blocks.
package protocol MachineControl: AnyObject {
    var status: RunStatus { get }
    /// Whether the vCPUs run.
    var isRunning: Bool { get }
    var name: String? { get }
    /// In the canonical form of 36 characters.
    var uuid: String? { get }
    var architecture: Architecture { get }
    /// The machine types this program can start.
    var machineTypes: [MachineType] { get }
    /// Bytes of the guest's memory.
    var memorySize: UInt64 { get }
    var cpus: [CPUInfo] { get }
    var ioThreads: [IOThreadInfo] { get }
    var characterDevices: [CharacterDeviceInfo] { get }
    var blockDevices: [BlockDeviceInfo] { get }
    /// Everything that has the id of a `-device`.
    var devices: [TypedObject] { get }
    /// Everything that has the id of an `-object`.
    var objects: [TypedObject] { get }

    /// Calls `answer` with what all devices have counted, each asked on its own reactor.
    func readCounters(_ answer: @escaping ([DeviceCounters]) -> Void)
    /// Breaks the connections of these character devices.
    ///
    /// - Throws: if one has none to break; then all are left alone.
    func disconnect(characterDevices labels: [String]) throws(QMPError)
    /// Writes what is where in the guest's address space into the log, then completes `reply`.
    func logAddressSpace(_ reply: QMPReply)

    /// Asks the guest to make do with so many bytes of memory, rounded down to pages.
    ///
    /// - Throws: `deviceNotActive` if there is no balloon, or no driver for it.
    func setBalloon(_ bytes: UInt64) throws(QMPError)
    /// Calls `answer` with the state of the balloon, once the guest has told how it uses its memory or takes too long.
    ///
    /// - Throws: `deviceNotActive` if there is no balloon.
    func queryBalloon(_ answer: @escaping (BalloonInfo) -> Void) throws(QMPError)

    /// Pauses the vCPUs, finishes I/O, posts STOP, then completes `reply`. Posts nothing if the machine is paused.
    func stop(_ reply: QMPReply)
    /// Lets the vCPUs run, posts RESUME, then completes `reply`. Posts nothing if the machine is running.
    func resume(_ reply: QMPReply)
    /// Posts SHUTDOWN and ends the machine, after the answer has been sent.
    func quit()
    /// Posts POWERDOWN and SHUTDOWN and ends the machine, without asking the guest.
    func powerDown() throws(QMPError)
    /// Posts RESET and SHUTDOWN and ends the machine.
    func reset() throws(QMPError)

    /// Keeps a descriptor under a name, in place of the one that has it already.
    func keepDescriptor(_ file: consuming FileDescriptor, as name: String) throws(QMPError)
    /// Closes a descriptor that was kept.
    func closeDescriptor(_ name: String) throws(QMPError)
    /// The numbers of the descriptors that are kept, by name.
    var descriptorNumbers: [String: Int32] { get }
    /// Keeps a descriptor in the set of this number, or in a new one; answers with the set's number and its own.
    func addDescriptor(
        _ file: consuming FileDescriptor, toSet set: UInt64?, opaque: String?
    ) throws(QMPError) -> (set: UInt64, number: Int32)
    /// Closes a descriptor of a set, or all of them, and the set with the last.
    func removeDescriptor(_ number: UInt64?, fromSet set: UInt64) throws(QMPError)
    /// The sets of descriptors.
    var descriptorSets: [FDSetInfo] { get }
    /// Opens an image for a disk.
    func addDrive(_ spec: DriveSpec) throws(QMPError)
    /// Closes an image that no disk uses.
    func removeDrive(_ id: String) throws(QMPError)
    /// Opens a tap for a network card; descriptors that it names are taken over.
    func addNetdev(_ spec: NetdevSpec) throws(QMPError)
    /// Closes a tap that no card uses.
    func removeNetdev(_ id: String) throws(QMPError)
    /// Plugs the cable of a network card in, or pulls it out, then completes `reply`.
    func setLink(_ id: String, up isUp: Bool, _ reply: QMPReply)
    /// Plugs a device into the slot, or the first free one, then completes `reply`.
    func addDevice(_ spec: DeviceSpec, slot: Int?, _ reply: QMPReply)
    /// Unplugs the device, posts DEVICE_DELETED, then completes `reply`.
    func removeDevice(_ id: String, _ reply: QMPReply)
    /// Adds an object that devices refer to, then completes `reply`.
    func addObject(_ spec: ObjectSpec, _ reply: QMPReply)
    /// Removes an object that no device uses, then completes `reply`.
    func removeObject(_ id: String, _ reply: QMPReply)
    /// Gives the disk of this drive or device `size` bytes and tells the guest, then completes `reply`.
    func resizeDisk(_ id: String, to size: UInt64, _ reply: QMPReply)
    /// Sets how many requests a second the disk of this drive or device carries out on average, 0 for no limit, then
    /// completes `reply`.
    func limitDisk(_ id: String, iops: UInt32, _ reply: QMPReply)
}

/// Whether the machine runs, in the words of `query-status`.
package enum RunStatus: String, CaseIterable, Sendable {
    case running
    case paused
    /// The guest has told that its kernel has panicked. Its vCPUs go on, so that it may reset itself or write a dump.
    case guestPanicked = "guest-panicked"
    /// Neither: being created, or ending. StratoVirt's word for it.
    case other = "debug"
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

/// A set of descriptors that clients have handed over.
package struct FDSetInfo: Equatable, Sendable {
    package struct Descriptor: Equatable, Sendable {
        package var number: Int32
        /// What the client wants to know it by.
        package var opaque: String?

        package init(number: Int32, opaque: String? = nil) {
            self.number = number
            self.opaque = opaque
        }
    }

    package var number: UInt64
    package var descriptors: [Descriptor]

    package init(number: UInt64, descriptors: [Descriptor]) {
        self.number = number
        self.descriptors = descriptors
    }
}

/// How much memory the guest makes do with.
package struct BalloonInfo {
    /// How the guest uses its memory.
    package struct Statistics {
        /// Bytes or events, by QEMU's names without the `stat-` before them.
        package var values: [(name: String, value: UInt64)]
        /// When the guest has told, in seconds since 1970.
        package var time: UInt64

        package init(values: [(name: String, value: UInt64)], time: UInt64) {
            self.values = values
            self.time = time
        }
    }

    /// Bytes: the guest's memory without what it has given up.
    package var actual: UInt64
    /// Nil if the guest has told nothing.
    package var statistics: Statistics?

    package init(actual: UInt64, statistics: Statistics? = nil) {
        self.actual = actual
        self.statistics = statistics
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
