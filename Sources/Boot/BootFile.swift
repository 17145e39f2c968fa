package import Host

/// A kernel or an initial RAM disk on the host, open for reading.
package struct BootFile: ~Copyable, Sendable {
    /// The option that names the file, for errors.
    package enum Role: String, Sendable {
        case kernel, initrd
    }

    /// The subject of errors: the option and the path.
    package let place: String
    /// Length in bytes at the time of opening.
    package let size: UInt64
    private let descriptor: FileDescriptor

    /// Opens the file at `path`.
    ///
    /// - Throws: if the open fails, or the file is neither a regular file nor a block device. A FIFO without a writer
    ///   is an error too; the open does not wait for one.
    package init(_ role: Role, path: String) throws(BootError) {
        let descriptor: FileDescriptor
        do {
            descriptor = try FileDescriptor.open(path, [.readOnly, .nonBlocking])
        } catch {
            throw BootError(place: Self.place(role, path), cause: error)
        }
        try self.init(role, path: path, descriptor: descriptor)
    }

    /// Takes ownership of an open file; `path` is its name in errors.
    package init(_ role: Role, path: String, descriptor: consuming FileDescriptor) throws(BootError) {
        place = Self.place(role, path)
        let status: FileStatus
        do {
            status = try FileStatus(of: descriptor)
        } catch {
            throw BootError(place: place, cause: error)
        }
        guard status.kind == .regular || status.kind == .blockDevice else {
            throw BootError(place: place, field: "file", problem: "is a \(status.kind), not a regular file")
        }
        guard status.size > 0 else {
            throw BootError(place: place, field: "file", problem: "is empty")
        }
        size = status.size
        self.descriptor = descriptor
    }

    private static func place(_ role: Role, _ path: String) -> String { "-\(role.rawValue) \(path)" }

    /// An error about one field of this file.
    func error(_ field: String, _ problem: String) -> BootError {
        BootError(place: place, field: field, problem: problem)
    }

    /// The file's first bytes, at most `count`.
    func head(_ count: Int) throws(BootError) -> [UInt8] {
        do {
            return try descriptor.read(count: count, at: 0)
        } catch {
            throw BootError(place: place, cause: error)
        }
    }

    /// Exactly `count` bytes at `offset`, for headers and tables. `field` is the header field that gives the range, for
    /// errors.
    func bytes(_ count: Int, at offset: UInt64, field: String) throws(BootError) -> [UInt8] {
        try check(UInt64(clamping: count), at: offset, field: field)
        let bytes: [UInt8]
        do {
            bytes = try descriptor.read(count: count, at: offset)
        } catch {
            throw BootError(place: place, cause: error)
        }
        guard bytes.count == count else { throw shrunk }
        return bytes
    }

    /// Reads from `offset` directly into `slice`. `field` is the header field that gives the range, for errors.
    func fill(_ slice: HostSlice, from offset: UInt64, field: String) throws(BootError) {
        try check(UInt64(slice.count), at: offset, field: field)
        let count: Int
        do {
            count = try descriptor.readFully(into: slice, at: offset)
        } catch {
            throw BootError(place: place, cause: error)
        }
        guard count == slice.count else { throw shrunk }
    }

    private var shrunk: BootError { error("file", "became shorter while it was read") }

    private func check(_ count: UInt64, at offset: UInt64, field: String) throws(BootError) {
        guard offset <= size, count <= size - offset else {
            throw error(
                field, "\(hex(count)) bytes at offset \(hex(offset)) reach beyond the end of the file (\(hex(size)))")
        }
    }
}
