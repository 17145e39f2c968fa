import Host

/// Output that goes to the log, line by line.
struct LogLines {
    /// A longer line is cut into several.
    private static let longest = 1024

    private let write: (String) -> Void
    private var line: [UInt8] = []

    /// - Parameter write: takes each line.
    init(write: @escaping (String) -> Void) {
        self.write = write
    }

    mutating func append(_ bytes: HostSlice) {
        for byte in bytes.bytes {
            if byte == UInt8(ascii: "\n") {
                flush()
            } else if byte != UInt8(ascii: "\r") {
                line.append(byte)
                if line.count == Self.longest { flush() }
            }
        }
    }

    /// Logs the unfinished line.
    mutating func flush() {
        guard !line.isEmpty else { return }
        let text = String(decoding: line, as: UTF8.self)
        write(text)
        line.removeAll(keepingCapacity: true)
    }
}
