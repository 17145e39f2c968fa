import Backends
import Glibc
import Host
import TestSupport
import Testing

@Suite struct RandomSourceTests {
    @Test func opensWhatGivesBytes() throws {
        #expect(try !RandomSource(path: "/dev/urandom").isRegular)
        let file = try TemporaryFile(size: 16)
        #expect(try RandomSource(path: file.path).isRegular)
    }

    @Test func aFIFOWithoutWriterDoesNotHoldItUp() throws {
        let path = "/tmp/apus-fifo-" + randomBytes(8).map { String($0, radix: 16) }.joined()
        #expect(unsafe mkfifo(path, 0o600) == 0)
        defer { try? removeFile(path) }
        #expect(try !RandomSource(path: path).isRegular)
    }

    @Test(arguments: [
        ("/nowhere/at all", "No such file or directory"),
        ("", "No such file or directory"),
        ("/", "is neither a character device nor a FIFO; use /dev/urandom, for example"),
        ("/tmp", "is neither a character device nor a FIFO; use /dev/urandom, for example"),
        ("/dev/urandom/x", "Not a directory"),
    ])
    func refuses(path: String, because problem: String) {
        let error = #expect(throws: RandomSourceError.self) { try RandomSource(path: path) }
        #expect(error?.description == "'\(path)': \(problem)")
    }
}
