import Host

/// A file that is gone when this object is.
package final class TemporaryFile {
    package let path: String

    /// On the file system of the working directory, which is on a disk, or in memory.
    package init(size: UInt64, inMemory: Bool = false) throws {
        let folder = inMemory ? "/dev/shm" : ".build"
        path = "\(folder)/apus-test-\(randomBytes(8).map { String($0, radix: 16) }.joined())"
        let file = try FileDescriptor.open(path, [.readWrite, .create, .exclusive])
        try file.truncate(to: size)
    }

    deinit {
        try? removeFile(path)
    }

    package func write(_ bytes: [UInt8], at offset: UInt64 = 0) throws {
        let buffer = IOBuffer(capacity: bytes.count)
        buffer.all.copy(from: bytes)
        try FileDescriptor.open(path, .readWrite).writeFully(from: buffer.all, at: offset)
    }

    package func contents() throws -> [UInt8] {
        let file = try FileDescriptor.open(path, .readOnly)
        return try file.read(count: Int(try FileStatus(of: file).size), at: 0)
    }

    /// How much room the file takes on its file system.
    package func allocatedBytes() throws -> UInt64 { try FileStatus(at: path).allocatedSize }

    package func truncate(to size: UInt64) throws {
        try FileDescriptor.open(path, .readWrite).truncate(to: size)
    }
}
