import ApusClient
import Glibc
import TestSupport
import Testing

/// An apus process with a guest of a few bytes, in a folder of its own; both are gone when this object is.
final class Machine {
    /// What the guest does: `hlt; jmp .`
    static let idle: [UInt8] = [0xf4, 0xeb, 0xfd]
    /// `ud2`, and no handler for it.
    static let tripleFault: [UInt8] = [0x0f, 0x0b]

    static let isThere = unsafe access("/dev/kvm", R_OK | W_OK) == 0

    let folder: Folder
    let apus: Apus
    var socket: String { folder.path("qmp") }

    init(
        _ guest: [UInt8] = Machine.idle, _ options: [String] = [], descriptors: [Int32: Int32] = [:]
    ) throws {
        let folder = try Folder()
        self.folder = folder
        try folder.write("kernel", guest)
        try folder.write("initrd", [0])
        let common = [
            "-machine", "microvm,hotplug=on", "-m", "128", "-kernel", folder.path("kernel"), "-initrd",
            folder.path("initrd"), "-qmp", "unix:\(folder.path("qmp")),server,nowait",
        ]
        apus = try Apus.launch(arguments: common + options, program: try builtProgram("apus"), descriptors: descriptors)
    }

    deinit {
        apus.kill()
        _ = try? apus.wait()
    }

    func connect() throws -> QMP { try QMP.connect(to: socket, of: apus, timeout: .seconds(60)) }
}

/// A folder for one test.
final class Folder {
    private let root: String

    init() throws {
        var name = Array("/tmp/apus-client-XXXXXX".utf8CString)
        try #require(unsafe mkdtemp(&name) != nil)
        root = String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit {
        for name in ["kernel", "initrd", "disk", "qmp", "vsock", "vsock_5", "errors"] { unsafe unlink(path(name)) }
        unsafe rmdir(root)
    }

    func path(_ name: String) -> String { "\(root)/\(name)" }

    func write(_ name: String, _ bytes: [UInt8]) throws {
        let file = unsafe try #require(fopen(path(name), "w"))
        defer { unsafe fclose(file) }
        #expect(unsafe fwrite(bytes, 1, bytes.count, file) == bytes.count)
    }

    func read(_ name: String) throws -> String {
        let file = unsafe try #require(fopen(path(name), "r"))
        defer { unsafe fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 65536)
        return String(decoding: bytes.prefix(unsafe fread(&bytes, 1, bytes.count, file)), as: UTF8.self)
    }
}
