import Backends
import Control
import Options
import Virtio

/// What clients change of a device that the guest uses: a disk's size and limit, a NIC's link.
struct DeviceSettings {
    let slots: SlotManager

    /// `block_resize`: gives the disk of this drive or device `size` bytes, and tells the driver.
    func resizeDisk(_ id: String, to size: UInt64, _ completion: @escaping RunControl.Completion) {
        do throws(QMPError) {
            let disk = try disk(id, in: "block_resize")
            do throws(MachineError) {
                try disk.drive.grow(to: size)
            } catch {
                throw QMPError("block_resize: \(error)")
            }
            run(on: disk, { $0.resize() }, completion)
        } catch {
            completion(error)
        }
    }

    /// `block_set_io_throttle`: how many requests a second the disk carries out on average; 0 for no limit.
    func limitDisk(_ id: String, iops: UInt32, _ completion: @escaping RunControl.Completion) {
        do throws(QMPError) {
            let disk = try disk(id, in: "block_set_io_throttle")
            run(on: disk) { device in
                device.limit(iops: iops)
                return nil
            } _: { error in
                if error == nil { disk.iops = iops }
                completion(error)
            }
        } catch {
            completion(error)
        }
    }

    private func disk(_ id: String, in command: String) throws(QMPError) -> Disk {
        let inventory = slots.inventory
        guard let disk = inventory.disk(ofDrive: id) ?? inventory.device(id) as? Disk else {
            throw QMPError("\(command): there is no disk '\(id)'", class: .deviceNotFound)
        }
        return disk
    }

    /// Runs `body`, which answers with what went wrong, on what serves the disk's driver.
    private func run(
        on disk: Disk, _ body: @escaping @Sendable (BlockDevice) -> String?,
        _ completion: @escaping RunControl.Completion
    ) {
        slots.withDevice({ $0 === disk }, as: BlockDevice.self, body) { (answer: String??) in
            guard let problem = answer else {
                return completion(QMPError("the disk '\(disk.id)' has just been unplugged"))
            }
            completion(problem.map { QMPError($0) })
        }
    }

    /// `set_link`: connects or disconnects the cable of the NIC of this id, or of the NIC that has this netdev.
    func setLink(_ id: String, up isUp: Bool, _ completion: @escaping RunControl.Completion) {
        slots.withDevice(
            { ($0 as? NIC).map { $0.id == id || $0.netdev.spec.id == id } ?? false }, as: NetDevice.self
        ) { device in
            device.setLink(up: isUp)
        } then: { (answer: Void?) in
            completion(answer == nil ? QMPError("set_link: Device '\(id)' not found", class: .deviceNotFound) : nil)
        }
    }
}

extension BlockDevice {
    /// Takes the image's new size over; what went wrong, if anything did.
    fileprivate func resize() -> String? {
        do throws(ImageError) {
            try imageResized()
            return nil
        } catch {
            return "block_resize: \(error)"
        }
    }
}
