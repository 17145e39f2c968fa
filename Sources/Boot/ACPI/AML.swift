import Bus

/// An encoder for the ACPI Machine Language terms of the DSDT (ACPI 6.5, chapter 20).
enum AML {
    private static let zeroOp: UInt8 = 0x00
    private static let oneOp: UInt8 = 0x01
    private static let nameOp: UInt8 = 0x08
    private static let bytePrefix: UInt8 = 0x0a
    private static let wordPrefix: UInt8 = 0x0b
    private static let doubleWordPrefix: UInt8 = 0x0c
    private static let stringPrefix: UInt8 = 0x0d
    private static let scopeOp: UInt8 = 0x10
    private static let bufferOp: UInt8 = 0x11
    private static let packageOp: UInt8 = 0x12
    private static let extendedOpPrefix: UInt8 = 0x5b
    private static let deviceOp: UInt8 = 0x82

    /// `Scope (path) { terms }`; `path` has four characters.
    static func scope(_ path: String, _ terms: [UInt8]) -> [UInt8] {
        [scopeOp] + sized(Array(path.utf8) + terms)
    }

    /// `Device (name) { terms }`; `name` has four characters.
    static func device(_ name: String, _ terms: [UInt8]) -> [UInt8] {
        [extendedOpPrefix, deviceOp] + sized(Array(name.utf8) + terms)
    }

    /// `Name (path, object)`.
    static func name(_ path: String, _ object: [UInt8]) -> [UInt8] {
        [nameOp] + Array(path.utf8) + object
    }

    /// `Package () { elements }`, with at most 255 elements.
    static func package(_ elements: [[UInt8]]) -> [UInt8] {
        [packageOp] + sized([UInt8(truncatingIfNeeded: elements.count)] + elements.joined())
    }

    /// An integer in its shortest encoding.
    static func integer(_ value: UInt32) -> [UInt8] {
        var bytes: [UInt8] = []
        switch value {
        case 0: bytes = [zeroOp]
        case 1: bytes = [oneOp]
        case 2...0xff: bytes = [bytePrefix, UInt8(value)]
        case 0x100...0xffff:
            bytes = [wordPrefix]
            bytes.append(littleEndian: UInt16(value))
        default:
            bytes = [doubleWordPrefix]
            bytes.append(littleEndian: value)
        }
        return bytes
    }

    /// A string of ASCII characters.
    static func string(_ text: String) -> [UInt8] {
        [stringPrefix] + Array(text.utf8) + [0]
    }

    /// `Buffer () { contents }`.
    static func buffer(_ contents: [UInt8]) -> [UInt8] {
        [bufferOp] + sized(integer(UInt32(truncatingIfNeeded: contents.count)) + contents)
    }

    /// `body` after its PkgLength, which includes its own size: one byte up to 63, else four bits and one to three bytes.
    private static func sized(_ body: [UInt8]) -> [UInt8] {
        if body.count + 1 < 1 << 6 { return [UInt8(body.count + 1)] + body }
        let extra = body.count + 2 < 1 << 12 ? 1 : body.count + 3 < 1 << 20 ? 2 : 3
        let length = body.count + 1 + extra
        var prefix = [UInt8(extra << 6 | length & 0xf)]
        for index in 0..<extra { prefix.append(UInt8(truncatingIfNeeded: length >> (4 + 8 * index))) }
        return prefix + body
    }
}

/// Resource descriptors for `_CRS` (ACPI 6.5, section 6.4).
enum ACPIResource {
    /// `ResourceTemplate () { descriptors }`; the checksum 0 in the end tag means no checksum.
    static func template(_ descriptors: [[UInt8]]) -> [UInt8] {
        AML.buffer(descriptors.joined() + [0x79, 0])
    }

    /// `Memory32Fixed (ReadWrite, base, length)`.
    static func memory32Fixed(base: UInt32, length: UInt32) -> [UInt8] {
        var bytes: [UInt8] = [0x86, 9, 0, 1]
        bytes.append(littleEndian: base)
        bytes.append(littleEndian: length)
        return bytes
    }

    /// `IO (Decode16, first, first, 1, count)`.
    static func io(_ ports: AddressRange) -> [UInt8] {
        var bytes: [UInt8] = [0x47, 1]
        bytes.append(littleEndian: ports.firstPort)
        bytes.append(littleEndian: ports.firstPort)
        return bytes + [1, UInt8(clamping: ports.count)]
    }

    /// `Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { interrupt }`.
    static func interrupt(_ interrupt: UInt32) -> [UInt8] {
        var bytes: [UInt8] = [0x89, 6, 0, 0b0011, 1]
        bytes.append(littleEndian: interrupt)
        return bytes
    }
}
