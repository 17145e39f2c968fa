import Backends
import EventLoop
import Options
import Virtio

/// `virtio-serial-device` with its ports: consoles and data channels.
final class SerialBus: MachineDevice {
    let id: String
    let type = "virtio-serial-device"
    private let ports: [ConsoleDevice.Port]

    /// - Throws: for a port whose chardev does not exist.
    init(_ spec: SerialBusSpec, _ options: LaunchOptions, _ chardevs: Chardevs) throws(MachineError) {
        id = spec.id ?? "virtio-serial"
        let numbered: [NumberedPort]
        do {
            numbered = try options.serialPorts()
        } catch {
            throw MachineError(error.option, error.problem)
        }
        var ports: [ConsoleDevice.Port] = []
        for port in numbered {
            guard let chardev = chardevs[port.spec.chardev] else {
                throw MachineError(
                    "-device \(port.isConsole ? "virtconsole" : "virtserialport")",
                    "there is no -chardev id=\(port.spec.chardev)")
            }
            ports.append(
                ConsoleDevice.Port(
                    number: port.number, name: port.spec.id ?? "", isConsole: port.isConsole, chardev: chardev))
        }
        self.ports = ports
    }

    var maker: DeviceMaker {
        let ports = SendOnce(ports)
        return { [id] _, _ throws(MachineError) in
            guard let ports = ports.take() else { throw MachineError("-device id=\(id)", "is attached already") }
            return ConsoleDevice(id: id, ports: ports)
        }
    }
}
