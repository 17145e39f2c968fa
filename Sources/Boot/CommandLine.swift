import Memory

/// A kernel's command line: the user's text, and the virtio-mmio devices for a guest without ACPI.
package struct CommandLine: Equatable, Sendable {
    /// The subject of errors.
    private static let place = "-append"

    /// The text, without its NUL.
    package let text: String

    /// Without ACPI, adds ` virtio_mmio.device=` for each device; with ACPI, keeps the text.
    ///
    /// - Throws: if the text contains a NUL.
    package init(_ text: String, devices: [VirtioMMIODevice], acpi: Bool) throws(BootError) {
        guard !text.utf8.contains(0) else {
            throw BootError(place: Self.place, field: "text", problem: "contains a NUL character")
        }
        guard !acpi, !devices.isEmpty else {
            self.text = text
            return
        }
        let parameters = devices.map(Self.parameter).joined()
        // The kernel passes the words after "--" to init and does not parse them.
        guard let end = Self.words(of: text).first(where: { $0 == "--" })?.startIndex else {
            self.text = text + parameters
            return
        }
        self.text = text[..<end] + parameters.dropFirst() + " " + text[end...]
    }

    private static func parameter(_ device: VirtioMMIODevice) -> String {
        let digits = String(device.base, radix: 16)
        let base = String(repeating: "0", count: 8 - digits.count) + digits
        return " virtio_mmio.device=\(device.size)@0x\(base):\(device.irq)"
    }

    /// Whether a kernel with this command line uses ACPI: the last of `acpi=off` and `acpi=force` decides.
    package static func allowsACPI(_ text: String) -> Bool {
        var allowed = true
        for word in words(of: text) {
            switch word.filter({ $0 != "\"" }) {
            case "--": return allowed
            case "acpi=off": allowed = false
            case "acpi=force": allowed = true
            default: break
            }
        }
        return allowed
    }

    /// The words as the kernel splits them: at white space outside double quotes.
    private static func words(of text: String) -> [Substring] {
        var isQuoted = false
        let words = text.utf8.split { byte in
            if byte == UInt8(ascii: "\"") { isQuoted.toggle() }
            return !isQuoted && (byte == UInt8(ascii: " ") || (9...13).contains(byte))
        }
        return words.map { Substring($0) }
    }

    /// Writes the text and its NUL at `address`.
    ///
    /// - Throws: if the text is longer than `maximum` bytes.
    func write(to memory: GuestMemory, at address: UInt64, maximum: UInt64) throws(BootError) {
        let bytes = Array(text.utf8)
        guard bytes.count <= maximum else {
            throw BootError(
                place: Self.place, field: "length",
                problem: "\(bytes.count) bytes with all that is added, the kernel takes at most \(maximum)")
        }
        try memory.place(bytes + [0], at: address, as: "command line")
    }
}
