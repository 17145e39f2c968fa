import CHost
import Glibc

/// How transfers must be aligned on a file that is open with `O_DIRECT`, in bytes; both are powers of two.
package struct DirectAlignment: Equatable, Sendable {
    /// Of the address of each buffer.
    package let memory: Int
    /// Of the offset in the file, and of the length of each buffer.
    package let offset: Int

    package init(memory: Int, offset: Int) {
        self.memory = memory
        self.offset = offset
    }
}

extension FileDescriptor {
    /// How transfers on this file, open with `O_DIRECT`, must be aligned.
    ///
    /// The kernel tells since Linux 6.1 for most file systems; for others, reads of growing size find out.
    ///
    /// - Throws: `EOPNOTSUPP` if the file takes no direct transfers at all.
    package func directAlignment() throws(Errno) -> DirectAlignment {
        var memory: UInt32 = 0
        var offset: UInt32 = 0
        if unsafe host_direct_alignment(rawValue, &memory, &offset) == 1 {
            guard memory.nonzeroBitCount == 1, offset.nonzeroBitCount == 1 else { throw .notSupported }
            return DirectAlignment(memory: Int(memory), offset: Int(offset))
        }
        let probe = IOBuffer(capacity: 4096, alignment: 4096)
        var size = 512
        while size < probe.capacity {
            do {
                _ = try readFully(into: probe.all.prefix(size), at: 0)
                break
            } catch .invalidArgument {
                size *= 2
            }
        }
        return DirectAlignment(memory: size, offset: size)
    }
}
