import CHost
import Glibc

/// Blocking transfers, for start-up, shut-down and tests; running devices go through the ring.
extension FileDescriptor {
    /// Reads up to `count` bytes; fewer at the end of the file or when no more are there.
    package func read(count: Int) throws(Errno) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let got = try checked { unsafe Glibc.read(rawValue, &bytes, count) }
        bytes.removeLast(count - got)
        return bytes
    }

    /// Reads up to `count` bytes at `offset`; fewer only at the end of the file.
    package func read(count: Int, at offset: UInt64) throws(Errno) -> [UInt8] {
        let buffer = IOBuffer(capacity: count)
        let got = try readFully(into: buffer.all, at: offset)
        return buffer.bytes(0..<got)
    }

    /// Fills `slice` from `offset`; answers how many bytes there were before the end of the file.
    package func readFully(into slice: HostSlice, at offset: UInt64) throws(Errno) -> Int {
        guard let start = off_t(exactly: offset) else { throw .invalidArgument }
        var done = 0
        while done < slice.count {
            let got = try checked {
                unsafe pread(rawValue, slice.pointer + done, slice.count - done, start + off_t(done))
            }
            if got == 0 { break }
            done += got
        }
        return done
    }

    /// Writes all of `slice` at `offset`.
    package func writeFully(from slice: HostSlice, at offset: UInt64) throws(Errno) {
        guard let start = off_t(exactly: offset) else { throw .invalidArgument }
        var done = 0
        while done < slice.count {
            done += try checked {
                unsafe pwrite(rawValue, slice.pointer + done, slice.count - done, start + off_t(done))
            }
        }
    }

    /// Writes all of `bytes` at the file's position.
    package func write(_ bytes: [UInt8]) throws(Errno) {
        var done = 0
        while done < bytes.count {
            let rest = bytes[done...]
            done += try checked {
                unsafe rest.withUnsafeBytes { unsafe Glibc.write(rawValue, $0.baseAddress, $0.count) }
            }
        }
    }

    /// Writes as many of `bytes` as the file takes without waiting; answers how many. For sockets, pipes and terminals.
    package func writeNow(_ bytes: [UInt8]) -> Int {
        // A file that is ready takes as much as this, or a part of it, at once.
        let most = 4096
        var done = 0
        while done < bytes.count {
            var ready = pollfd(fd: rawValue, events: PollEvents.writable, revents: 0)
            guard unsafe poll(&ready, 1, 0) == 1, ready.revents & PollEvents.writable != 0 else { break }
            let piece = bytes[done...].prefix(most)
            let written = unsafe piece.withUnsafeBytes { unsafe Glibc.write(rawValue, $0.baseAddress, $0.count) }
            guard written > 0 else { break }
            done += written
        }
        return done
    }

    /// Sets the file's length in bytes.
    package func truncate(to length: UInt64) throws(Errno) {
        guard let length = off_t(exactly: length) else { throw .invalidArgument }
        _ = try checked { ftruncate(rawValue, length) }
    }
}
