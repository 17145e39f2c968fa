import Glibc
package import Host

/// The path of a program that was built beside the tests.
package func builtProgram(_ name: String) throws(Errno) -> String {
    var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
    let count = try checked { unsafe readlink("/proc/self/exe", &buffer, buffer.count) }
    let path = String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    return path.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/") + "/" + name
}
