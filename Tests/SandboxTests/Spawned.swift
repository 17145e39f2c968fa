import Glibc
import Host

/// What came of a program that was run to its end.
struct Outcome {
    let status: Int32
    let errors: String
}

/// Runs a program that was built beside the tests, and waits for its end.
func run(_ program: String, _ arguments: [String]) throws -> Outcome {
    let pipe = try Process.pipe()
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    unsafe posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    unsafe posix_spawn_file_actions_adddup2(&actions, pipe.second.rawValue, 2)
    let path = try folderOfTests() + "/" + program
    var words = unsafe ([path] + arguments).map { unsafe strdup($0) }
    unsafe words.append(nil)
    defer { unsafe words.forEach { unsafe free($0) } }
    var child: pid_t = 0
    let failure = unsafe posix_spawn(&child, path, &actions, nil, words, environ)
    guard failure == 0 else { throw Errno(rawValue: failure) }
    return try collect(child, pipe)
}

private func collect(_ child: pid_t, _ pipe: consuming SocketPair) throws(Errno) -> Outcome {
    let reading = try pipe.first.duplicate()
    // Without this process's own writing end, the program's end ends the reading.
    _ = consume pipe
    var errors: [UInt8] = []
    while true {
        let piece = try reading.read(count: 4096)
        if piece.isEmpty { break }
        errors += piece
    }
    return Outcome(status: try Process.wait(for: child), errors: String(decoding: errors, as: UTF8.self))
}

private func folderOfTests() throws(Errno) -> String {
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
    let count = try checked { unsafe readlink("/proc/self/exe", &buffer, buffer.count) }
    let path = String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    return path.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
}
