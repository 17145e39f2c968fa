import Backends
import Control
import EventLoop
import Host
import Options
import Virtio

/// A disk of the machine. Its image belongs to the reactor that the device lives on.
final class Disk: MachineDevice {
    let drive: DriveSpec
    let device: BlockDeviceSpec
    /// The image's size in bytes when it was opened.
    let size: UInt64
    private let image: RawImage
    private var isLocked = false

    /// Opens the image.
    init(_ drive: DriveSpec, _ device: BlockDeviceSpec) throws(MachineError) {
        do {
            image = try RawImage(path: drive.file, readOnly: drive.isReadOnly, direct: drive.isDirect)
        } catch {
            throw MachineError("-drive id=\(drive.id)", "\(error)")
        }
        self.drive = drive
        self.device = device
        size = image.size
    }

    var id: String { device.id ?? drive.id }

    var iothread: String? { device.iothread }

    /// Whether both are the same file, and one of them writes it.
    func conflicts(with other: Disk) -> Bool {
        image.identity == other.image.identity && !(drive.isReadOnly && other.drive.isReadOnly)
    }

    var maker: DeviceMaker {
        let image = Handover(image)
        let (options, id) = (blockOptions, id)
        return { _ throws(MachineError) in
            guard let image = image.take() else { throw MachineError("-device id=\(id)", "is attached already") }
            return BlockDevice(id: id, image: image, options: options)
        }
    }

    private var blockOptions: BlockDevice.Options {
        var options = BlockDevice.Options()
        options.serial = device.serial ?? ""
        options.queues = device.queues ?? 1
        options.queueSize = UInt16(clamping: device.queueSize)
        options.discards = drive.discards
        options.zeroDetection =
            switch drive.zeroDetection {
            case .off: .off
            case .on: .keep
            case .unmap: .unmap
            }
        options.iopsLimit = UInt32(clamping: drive.maximumIOPS ?? 0)
        return options
    }

    /// What QMP tells about it.
    var info: BlockDeviceInfo {
        var info = BlockDeviceInfo(id: drive.id, deviceID: device.id ?? drive.id, file: drive.file, size: size)
        info.isReadOnly = drive.isReadOnly
        info.isDirect = drive.isDirect
        info.iops = UInt64(drive.maximumIOPS ?? 0)
        return info
    }

    /// Keeps other programs from opening the image in a way that conflicts, from the first run on.
    func prepareToRun() throws(MachineError) {
        guard !isLocked else { return }
        do {
            try image.lock()
        } catch {
            throw MachineError("-drive id=\(drive.id)", "\(error)")
        }
        isLocked = true
    }
}
