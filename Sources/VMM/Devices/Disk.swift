import Backends
import Control
import EventLoop
import Host
import Options
import Virtio

/// An open image for one disk: `-drive` or `blockdev-add`.
final class Drive {
    let spec: DriveSpec
    /// The image's format, as QEMU spells it.
    let format: String
    /// The image's size in bytes, as of opening or the last `grow`.
    private(set) var size: UInt64
    /// Nil after `close`.
    fileprivate var image: DiskImage?
    private let identity: (device: UInt64, inode: UInt64)
    /// Whether another process has opened the image, and may still have it open.
    let isHandedOver: Bool
    private var isLocked = false

    /// Opens the image.
    ///
    /// - Parameters:
    ///   - subject: the drive's name in errors.
    ///   - remedy: the remedy in the error if the host denies access.
    convenience init(_ spec: DriveSpec, _ subject: String, ifDenied remedy: String? = nil) throws(MachineError) {
        let image: DiskImage
        do {
            image = try .open(path: spec.file, readOnly: spec.isReadOnly, direct: spec.isDirect)
        } catch {
            throw MachineError(subject, "\(error)" + (remedy.map { error.isDenied ? "; \($0)" : "" } ?? ""))
        }
        self.init(spec, image, isHandedOver: false)
    }

    /// Takes over an open image.
    convenience init(
        _ spec: DriveSpec, _ subject: String, handedOver file: consuming FileDescriptor
    ) throws(MachineError) {
        let image: DiskImage
        do {
            image = try .inherit(file, name: spec.file, readOnly: spec.isReadOnly, direct: spec.isDirect)
        } catch {
            throw MachineError(subject, "\(error)")
        }
        self.init(spec, image, isHandedOver: true)
    }

    private init(_ spec: DriveSpec, _ image: DiskImage, isHandedOver: Bool) {
        self.spec = spec
        self.image = image
        self.isHandedOver = isHandedOver
        format = image.format
        identity = image.identity
        size = image.size
    }

    /// Gives the image up; it closes when no device has it.
    func close() { image = nil }

    /// Whether this is the image's file.
    func isImage(_ file: FileStatus) -> Bool { identity == (file.device, file.inode) }

    /// Whether both drives are the same file, and one of them writes to it.
    func conflicts(with other: Drive) -> Bool {
        identity == other.identity && !(spec.isReadOnly && other.spec.isReadOnly)
    }

    /// Makes the disk longer; does nothing if it has this size.
    func grow(to size: UInt64) throws(MachineError) {
        do {
            try image?.grow(to: size)
        } catch {
            throw MachineError("node \(spec.id)", "\(error)")
        }
        self.size = size
    }

    /// Keeps other processes from opening the image in a conflicting way.
    func lock() throws(MachineError) {
        guard !isLocked else { return }
        do {
            try image?.lock()
        } catch {
            throw MachineError("-drive id=\(spec.id)", "\(error)")
        }
        isLocked = true
    }

    /// Takes the lock again, if it was taken: the process loses it when it closes any descriptor of the file.
    func renewLock() {
        guard isLocked else { return }
        do {
            try image?.lock()
        } catch {
            Log.warn(spec.id, "\(error)")
        }
    }
}

/// A block device of the VM. Its image belongs to the device's reactor.
final class Disk: MachineDevice {
    let drive: Drive
    let device: BlockDeviceSpec
    var events: EventSink?
    /// The most requests a second on average; 0 for no limit.
    var iops: UInt32

    init(_ drive: Drive, _ device: BlockDeviceSpec) {
        self.drive = drive
        self.device = device
        iops = UInt32(clamping: drive.spec.maximumIOPS ?? 0)
    }

    var id: String { device.id ?? drive.spec.id }

    var type: String { "virtio-blk-device" }

    var iothread: String? { device.iothread }

    var maker: DeviceMaker {
        let image = SendOnce(drive.image)
        let (options, id) = (blockOptions, id)
        return { _, minimumQueues throws(MachineError) in
            guard let image = image.take() ?? nil else { throw MachineError("-device id=\(id)", "is attached already") }
            var options = options
            options.queues = max(options.queues, minimumQueues.count)
            options.queueSize = max(options.queueSize, minimumQueues.size)
            return BlockDevice(id: id, image: image, options: options)
        }
    }

    private var blockOptions: BlockDevice.Options {
        var options = BlockDevice.Options()
        options.serial = device.serial ?? ""
        options.queues = device.queues ?? 1
        options.queueSize = UInt16(clamping: device.queueSize)
        options.discards = drive.spec.discards
        options.zeroDetection =
            switch drive.spec.zeroDetection {
            case .off: .off
            case .on: .keep
            case .unmap: .unmap
            }
        options.iopsLimit = iops
        options.onFailure = { [events, id, node = drive.spec.id] failure in
            events?.post(
                .blockIOError(
                    device: id, node: node, isRead: failure.isRead, reason: failure.error.description,
                    hasNoSpace: failure.error == .noSpace))
        }
        return options
    }

    /// The disk's description in QMP.
    var info: BlockDeviceInfo {
        var info = BlockDeviceInfo(
            id: drive.spec.id, deviceID: id, file: drive.spec.file, format: drive.format, size: drive.size)
        info.isReadOnly = drive.spec.isReadOnly
        info.isDirect = drive.spec.isDirect
        info.zeroDetection = drive.spec.zeroDetection.rawValue
        info.iops = UInt64(iops)
        return info
    }

    func prepareToRun() throws(MachineError) { try drive.lock() }

    func finish() { drive.close() }
}
