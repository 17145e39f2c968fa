/// Something that is fed with anything, and must neither trap nor break its promises.
///
/// One object is fed with many inputs, one after the other, since what it stands on (a ring, sockets, guest memory) takes
/// longer to make than an input to work off; so each input begins with a reset and has to come out the same again.
package protocol FuzzSubject: AnyObject, SendableMetatype {
    init() throws

    /// Works an input off.
    ///
    /// - Throws: a `Violation`, or what should not have failed.
    func fuzz(_ input: inout FuzzInput) throws
}

/// A promise that was broken.
package struct Violation: Error, CustomStringConvertible {
    package let description: String
}

/// Throws unless a promise was kept.
func expect(_ isKept: Bool, _ promise: @autoclosure () -> String) throws(Violation) {
    guard isKept else { throw Violation(description: promise()) }
}

/// The subjects by the names under which they are run and have their corpora.
package enum FuzzSubjects {
    package static let all: KeyValuePairs<String, any FuzzSubject.Type> = [
        "virtqueue": VirtqueueFuzz.self,
        "registers": RegistersFuzz.self,
        "block": BlockFuzz.self,
        "net": NetworkFuzz.self,
        "vsock": VsockFuzz.self,
        "console": ConsoleFuzz.self,
        "balloon": BalloonFuzz.self,
        "rng": EntropyFuzz.self,
        "vhost-user": VhostUserFuzz.self,
        "bzimage": BzImageFuzz.self,
        "elf": ELFFuzz.self,
        "pvh-notes": NotesFuzz.self,
        "initrd": InitialRAMDiskFuzz.self,
        "tables": TablesFuzz.self,
        "command-line": CommandLineFuzz.self,
        "json": JSONFuzz.self,
        "client-json": ClientJSONFuzz.self,
        "qmp": QMPFuzz.self,
        "serial": SerialFuzz.self,
    ]

    /// The subject of that name; nil if there is none.
    package static func type(named name: String) -> (any FuzzSubject.Type)? {
        all.first { $0.key == name }?.value
    }
}
