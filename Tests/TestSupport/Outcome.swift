package import ApusClient
import Host

/// What came of a program that was run to its end.
package struct Outcome {
    package let ending: Ending
    /// What it wrote.
    package let output: String

    /// Runs a program.
    ///
    /// - Parameter launch: starts it with this descriptor as its output or for its errors.
    package init(of launch: (Int32) throws -> Apus) throws {
        let pipe = try HostProcess.pipe()
        let reading = try pipe.first.duplicate()
        let process = try launch(pipe.second.rawValue)
        // Without this process's own writing end, the program's end ends the reading.
        _ = consume pipe
        var bytes: [UInt8] = []
        while true {
            let piece = try reading.read(count: 4096)
            if piece.isEmpty { break }
            bytes += piece
        }
        guard let ending = try process.wait() else { throw Errno.timedOut }
        self.ending = ending
        output = String(decoding: bytes, as: UTF8.self)
    }
}
