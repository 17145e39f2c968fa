/// A port of the serial bus, with its number.
package struct NumberedPort: Equatable, Sendable {
    /// 0 to 30, each once.
    package let number: Int
    package let isConsole: Bool
    package let spec: SerialPortSpec
}

extension LaunchOptions {
    /// The ports of the serial bus in the order of the command line; those without a number get the first that is
    /// free, which is 0 for a console only.
    ///
    /// Throws an error if there is no bus, no room, or a number is beyond the room or given twice.
    package func serialPorts() throws(OptionError) -> [NumberedPort] {
        let ports: [(option: String, isConsole: Bool, spec: SerialPortSpec)] = devices.compactMap { device in
            switch device {
            case .console(let spec): ("-device \(device.type)", true, spec)
            case .serialPort(let spec): ("-device \(device.type)", false, spec)
            default: nil
            }
        }
        guard let first = ports.first else { return [] }
        var room: Int?
        for case .serialBus(let bus) in devices { room = bus.maximumPorts }
        guard let room else {
            throw OptionError(
                option: first.option, problem: "there is no serial bus for it",
                remedy: "add -device virtio-serial-device")
        }
        var free = Set(0..<room)
        for (option, _, spec) in ports {
            guard let number = spec.number else { continue }
            guard number < room else {
                throw OptionError(
                    option: option, offending: String(number), problem: "nr=\(number) is beyond max-ports=\(room)",
                    remedy: "numbers go from 0 to \(room - 1)")
            }
            guard free.remove(number) != nil else {
                throw OptionError(
                    option: option, offending: String(number), problem: "nr=\(number) is the number of two ports")
            }
        }
        var numbered: [NumberedPort] = []
        for (option, isConsole, spec) in ports {
            let first = isConsole ? 0 : 1
            guard let number = spec.number ?? (first..<room).first(where: free.contains) else {
                throw OptionError(
                    option: option, offending: String(room), problem: "max-ports=\(room) leaves no number for it",
                    remedy: isConsole ? nil : "0 is the number of a virtconsole")
            }
            free.remove(number)
            numbered.append(NumberedPort(number: number, isConsole: isConsole, spec: spec))
        }
        return numbered
    }
}
