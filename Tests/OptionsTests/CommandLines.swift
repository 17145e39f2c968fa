import Foundation
import Testing

@testable import Options

/// The command lines that are refused, from the file that the tests of the executable read as well.
///
/// Each line of the file is `ARGUMENTS => MESSAGE`. Arguments are separated by spaces; quotes around one, single or
/// double, hold it together. Lines that begin with `#` are headings.
enum BadCommandLines {
    struct Case: CustomStringConvertible, Sendable {
        let line: Int
        let arguments: [String]
        let message: String

        var description: String { "line \(line): \(arguments.joined(separator: " ").prefix(100))" }
    }

    static let all: [Case] = {
        let path = #filePath.split(separator: "/").dropLast(2).map { "/" + $0 }.joined()
        let text = (try? String(contentsOfFile: path + "/Linux/bad-command-lines.txt", encoding: .utf8)) ?? ""
        return text.split(separator: "\n", omittingEmptySubsequences: false).enumerated().compactMap { number, line in
            guard !line.hasPrefix("#"), let arrow = line.range(of: " => ") else { return nil }
            return Case(
                line: number + 1, arguments: words(line[..<arrow.lowerBound]),
                message: String(line[arrow.upperBound...]))
        }
    }()

    /// Splits as a shell does, of whose rules it knows blanks and quotes only.
    static func words(_ line: some StringProtocol) -> [String] {
        var words: [String] = []
        var word: String?
        var quote: Character?
        for character in line {
            if character == quote {
                quote = nil
            } else if quote == nil, character == "'" || character == "\"" {
                quote = character
                word = word ?? ""
            } else if quote == nil, character == " " {
                if let word { words.append(word) }
                word = nil
            } else {
                word = (word ?? "") + String(character)
            }
        }
        if let word { words.append(word) }
        return words
    }
}

extension Limits {
    /// Those of StratoVirt's light machine.
    static let microvm = Limits(
        vcpus: 254, disks: 6, nics: 2, transports: 19, transportsWithoutACPI: 11, iothreads: 8)
}

/// What a command line, written as a shell takes it, asks to start. Records an issue if it asks for something else.
func launch(_ line: String) throws -> LaunchOptions {
    let invocation = try LaunchOptions.parse(BadCommandLines.words(line), .microvm)
    guard case .launch(let options) = invocation else {
        throw OptionError(option: "test", problem: "\(line) starts nothing")
    }
    return options
}

/// The message of the error that `body` throws; nil if it throws none.
func message<Value>(_ body: () throws(OptionError) -> Value) -> String? {
    do {
        _ = try body()
        return nil
    } catch {
        return error.message
    }
}

/// A kernel, an initial RAM disk and a QMP socket: with these a machine starts.
let least = "-kernel /k -initrd /i -qmp unix:/q,server,nowait"
