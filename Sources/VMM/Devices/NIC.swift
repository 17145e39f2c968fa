import Backends
import EventLoop
import Host
import Options
import Virtio

/// An open tap for one NIC: `-netdev` or `netdev_add`.
final class Netdev {
    let spec: NetdevSpec
    fileprivate let tap: Tap
    /// The vhost-net file of each queue of the tap; empty if Apus moves the frames itself.
    fileprivate let vhosts: [KernelVhost]

    /// Opens the tap.
    ///
    /// - Parameter option: the subject of errors.
    convenience init(_ spec: NetdevSpec, _ option: String) throws(MachineError) {
        // Take these first, so that none stays open if the tap is wrong.
        let files = try Self.inheritVhost(spec, option)
        let tap = try Self.open(spec, option)
        self.init(spec, tap, try Self.openVhost(spec, tap, files, option))
    }

    /// Takes over a tap that is open, and what serves its queues in the kernel.
    init(_ spec: NetdevSpec, _ tap: Tap, _ vhosts: [KernelVhost] = []) {
        self.spec = spec
        self.tap = tap
        self.vhosts = vhosts
    }

    /// The number of queues of a NIC on this tap.
    var queueCount: Int { 2 * tap.queues.count + 1 }
}

/// A NIC of the VM. Its tap belongs to the device's reactor.
final class NIC: MachineDevice {
    let netdev: Netdev
    let device: NetworkDeviceSpec
    /// The iothread that receives frames and executes the driver's commands.
    let iothread: String?
    /// The iothread that sends frames.
    let helper: String?
    var helperReactor: ReactorHandle?
    /// The address in the device's configuration.
    let mac: MACAddress

    /// - Parameter inventory: the machine's other devices, whose addresses must differ.
    init(
        _ netdev: Netdev, _ device: NetworkDeviceSpec, beside inventory: Inventory
    ) throws(MachineError) {
        self.netdev = netdev
        self.device = device
        let option = "-device virtio-net-device,netdev=\(netdev.spec.id)"
        iothread = device.receiveIOThread ?? device.iothread
        // With vhost, the kernel's threads send.
        helper = netdev.vhosts.isEmpty ? device.transmitIOThread ?? device.iothread : iothread
        mac = try inventory.macAddress(for: device, option)
    }

    var id: String { device.id ?? netdev.spec.id }

    var type: String { "virtio-net-device" }

    var maker: DeviceMaker {
        let host = SendOnce((netdev.tap, netdev.vhosts))
        var options = NetDevice.Options(mac: mac.octets)
        options.queueSize = UInt16(clamping: device.queueSize)
        let (id, chosen, sender, queueCount) = (id, options, helperReactor, netdev.queueCount)
        return { _, minimumQueues throws(MachineError) in
            // A driver of several pairs looks for the control queue behind as many as it found.
            guard minimumQueues.count <= 3 || minimumQueues.count == queueCount else {
                throw MachineError(
                    id, "makes \(queueCount) queues, and the slot's driver uses \(minimumQueues.count); give it as many"
                )
            }
            var settled = chosen
            settled.queueSize = max(settled.queueSize, minimumQueues.size)
            guard let (tap, vhosts) = host.take() else {
                throw MachineError("-device id=\(id)", "is attached already")
            }
            guard vhosts.isEmpty else {
                return VhostNetDevice(id: id, tap: tap, vhosts: vhosts, options: settled)
            }
            guard let sender else { return NetDevice(id: id, tap: tap, options: settled) }
            return DualReactorNetDevice(id: id, tap: tap, options: settled, sendingOn: sender)
        }
    }
}

extension Netdev {
    fileprivate static func open(_ netdev: NetdevSpec, _ option: String) throws(MachineError) -> Tap {
        guard case .tap(let spec) = netdev.backend else {
            throw MachineError(option, "vhost-user is not supported yet; use tap")
        }
        do {
            if let name = spec.interface { return try Tap(interface: name, queues: netdev.queuePairs) }
            guard spec.descriptors.count == netdev.queuePairs else {
                throw MachineError(
                    option,
                    "queues=\(netdev.queuePairs) requires as many descriptors, not \(spec.descriptors.count); "
                        + "pass one for each queue"
                )
            }
            return try Tap(inherited: spec.descriptors)
        } catch let error as MachineError {
            throw error
        } catch {
            throw MachineError(option, "\(error)")
        }
    }
}

extension MACAddress {
    /// Whether a NIC can have it: it is neither zero nor a group address.
    var isUsable: Bool {
        octets.contains { $0 != 0 } && octets.first.map { $0 & 1 == 0 } ?? false
    }

    /// A random address with the locally administered bit, so that VMs on one network have different ones.
    static func random() -> MACAddress {
        var octets = randomBytes(6)
        octets[0] = octets[0] & 0xfc | 0x02
        return MACAddress(octets)
    }
}
