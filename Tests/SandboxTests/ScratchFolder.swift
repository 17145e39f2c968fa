import Glibc
import Host

/// A temporary directory for one test; the deinitializer removes it.
final class ScratchFolder {
    private let root: String

    init() throws(Errno) {
        let name = "/tmp/apus-test-\(randomBytes(8).map { String($0, radix: 16) }.joined())"
        _ = try checked { unsafe mkdir(name, 0o700) }
        root = name
    }

    deinit {
        for name in (try? names(in: root)) ?? [] { try? removeFile(path(name)) }
        unsafe rmdir(root)
    }

    func path(_ name: String) -> String { "\(root)/\(name)" }

    func write(_ name: String, _ bytes: [UInt8]) throws(Errno) {
        try FileDescriptor.open(path(name), [.writeOnly, .create]).write(bytes)
    }

    func read(_ name: String) throws(Errno) -> [UInt8] {
        try FileDescriptor.open(path(name), .readOnly).read(count: 65536)
    }

    /// Waits until a process has ended; returns whether exactly these files remain.
    func remains(_ expected: Set<String>, ofProcess process: Int32) -> Bool {
        while kill(process, 0) == 0 { sched_yield() }
        return (try? names(in: root)).map { Set($0) == expected } ?? false
    }
}

/// The names of the files in a directory.
func names(in path: String) throws(Errno) -> [String] {
    guard let folder = unsafe opendir(path) else { throw .current }
    defer { unsafe closedir(folder) }
    var found: [String] = []
    while let entry = unsafe readdir(folder) {
        let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { pointer in
            unsafe pointer.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
        }
        if name != "." && name != ".." { found.append(name) }
    }
    return found
}
