import Testing

@testable import Options

/// A hundred thousand of something on one line.
enum Flood: CaseIterable {
    case flags, words, appendedWords, appends, drives, sharedDrives, chardevs, sockets, iothreads, ports, vhostUsers
    case keys, commas, equalsSigns, digits, descriptors, unknown, colons

    private static let count = 100_000

    var arguments: [String] {
        switch self {
        case .flags: Array(repeating: "-S", count: Self.count)
        case .words: Array(repeating: "x", count: Self.count)
        case .appendedWords: ["-append"] + Array(repeating: "quiet", count: Self.count)
        case .appends: each { _ in ["-append", "quiet"] }
        case .drives: each { ["-drive", "id=d\($0),file=/f\($0)"] }
        case .sharedDrives: each { ["-drive", "id=d\($0),file=/f,readonly=on"] }
        case .chardevs: each { ["-chardev", "pty,id=c\($0)"] }
        case .sockets: each { ["-chardev", "socket,id=c\($0),path=/c\($0),server,nowait"] }
        case .iothreads: each { ["-object", "iothread,id=io\($0)"] }
        case .ports: each { ["-device", "virtserialport,chardev=c\($0)"] }
        case .vhostUsers:
            each {
                ["-netdev", "vhost-user,id=n\($0),chardev=c\($0)", "-chardev", "socket,id=c\($0),path=/c\($0)"]
            }
        case .keys: ["-drive", repeated("a=b,")]
        case .commas: ["-drive", repeated(",")]
        case .equalsSigns: ["-drive", repeated("=")]
        case .digits: ["-smp", repeated("9")]
        case .descriptors: ["-netdev", "tap,id=n,fds=" + repeated("1:") + "1"]
        case .unknown: ["-" + repeated("k")]
        case .colons: ["-qmp", "tcp" + repeated(":1")]
        }
    }

    /// What `words` gives for each number, until there are a hundred thousand words.
    private func each(_ words: (Int) -> [String]) -> [String] {
        (0..<Self.count / words(0).count).flatMap(words)
    }

    private func repeated(_ text: String) -> String { String(repeating: text, count: Self.count) }
}

@Suite("Command lines made to break the parser", .serialized)
struct HostileTests {
    @Test("A hundred thousand of anything is answered in time", .timeLimit(.minutes(5)), arguments: Flood.allCases)
    func flood(_ flood: Flood) {
        let line = BadCommandLines.words(least) + flood.arguments
        if let text = refusal(line) {
            #expect(text.utf8.count < 2000)
        }
    }

    /// Why the line starts nothing; nil if it does.
    private func refusal(_ line: [String]) -> String? {
        message { () throws(OptionError) in try LaunchOptions.parse(line, .microvm) }
    }

    private static let bits: [String] = [
        "id=", "a", "0", "-1", "18446744073709551616", "1E", "on", "off", ",", "=", "\"", ":", "socket", "tap",
        "iothread",
        "virtio-blk-device", "virtio-rng-device", "virtserialport", "virtio-serial-device", "drive=", "file=/a",
        "path=",
        "size=", "128", "fds=", "host-nodes=", "[", "]", "server", "nowait", "unix:", "tcp:", "mac=", "\u{0}",
        "\u{FFFD}", "é", "\u{301}", "max-bytes=", "period=", "nr=", "chardev:", "chardev=", "memory-backend-ram",
        "-",
        "99999999999999999999999", "G", "K", "policy=", "sockets=", "dies=254", "cores=", "cpus=", "pty", "microvm",
    ]

    @Test("Five thousand lines of random words end in a configuration or an error, never in a trap")
    func random() {
        var generator = SplitMix(state: 0x5eed)
        let names: [String] = OptionDescription.all.flatMap { [$0.spelling, "-" + ($0.alias ?? "x")] }
        let options: [String] = names + ["--", "-", "", "---"]
        var accepted = 0
        for _ in 0..<5000 {
            var line = Int.random(in: 0..<2, using: &generator) == 0 ? BadCommandLines.words(least) : []
            for _ in 0..<Int.random(in: 0..<6, using: &generator) {
                line.append(options.randomElement(using: &generator) ?? "")
                for _ in 0..<Int.random(in: 0..<3, using: &generator) {
                    let pieces = (0..<Int.random(in: 0..<8, using: &generator)).map { _ in
                        Self.bits.randomElement(using: &generator) ?? ""
                    }
                    line.append(pieces.joined(separator: Bool.random(using: &generator) ? "," : ""))
                }
            }
            if let text = refusal(line) {
                #expect(!text.contains("\n") && !text.contains("\u{0}") && text.utf8.count < 2000)
            } else {
                accepted += 1
            }
        }
        #expect(accepted > 0)
    }
}

/// A generator of numbers that is the same at every run.
private struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var value = state
        value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
        return value ^ (value >> 31)
    }
}
