import Backends
import Control
import Virtio

extension Machine {
    func resizeDisk(_ id: String, to size: UInt64, _ reply: QMPReply) {
        guard let disk = disk(ofDrive: id) ?? parts.slots.slot(ofDevice: id)?.device as? Disk else {
            return reply.fail(QMPError("block_resize: there is no disk '\(id)'", class: .deviceNotFound))
        }
        do throws(MachineError) {
            try disk.drive.grow(to: size)
        } catch {
            return reply.fail(QMPError("block_resize: \(error)"))
        }
        run(on: disk) { device in
            do throws(ImageError) {
                try device.imageResized()
                return nil
            } catch {
                return "block_resize: \(error)"
            }
        } then: { error in
            if let error { reply.fail(QMPError(error)) } else { reply.succeed() }
        }
    }

    func limitDisk(_ id: String, iops: UInt32, _ reply: QMPReply) {
        guard let disk = disk(ofDrive: id) ?? parts.slots.slot(ofDevice: id)?.device as? Disk else {
            return reply.fail(QMPError("block_set_io_throttle: there is no disk '\(id)'", class: .deviceNotFound))
        }
        run(on: disk) { device in
            device.limit(iops: iops)
            return nil
        } then: { _ in
            disk.iops = iops
            reply.succeed()
        }
    }

    /// Runs `body` with what serves the disk, where it lives; nil stands for success.
    private func run(
        on disk: Disk, _ body: @escaping @Sendable (BlockDevice) -> String?, then: @escaping (String?) -> Void
    ) {
        operations.add { [self] done in
            guard let slot = parts.slots.slot(ofDevice: disk.id), slot.device === disk else {
                then("the disk '\(disk.id)' has just been unplugged")
                return done()
            }
            let number = slot.number
            slot.residence.run { home, answer in
                answer((home.device(inSlot: number) as? BlockDevice).map(body) ?? "there is no such disk")
            } then: { (error: String?) in
                then(error)
                done()
            }
        }
    }
}
