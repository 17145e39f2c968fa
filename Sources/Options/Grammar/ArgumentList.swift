/// The arguments, sorted to the options they belong to.
///
/// An option is one dash and a name. What follows belongs to the option before it; a lone `--` ends the list.
struct ArgumentList {
    private var values: [String: [String]] = [:]

    /// Sorts the arguments, without the program's name. Throws an error for what is no option, an option that is not
    /// supported yet, an option given twice that can't be, and values missing or in excess; in the order of the line.
    init(_ arguments: [String]) throws(OptionError) {
        var current: (option: OptionDescription, words: Int)?
        for argument in arguments {
            if argument == "--" { break }
            // The runtime puts U+FFFD for bytes that are not UTF-8: a path with it would be another file's.
            guard !argument.unicodeScalars.contains("\u{FFFD}") else {
                throw OptionError(
                    option: current?.option.spelling ?? "command line", offending: argument,
                    problem: "\(quoted(argument)) is not UTF-8")
            }
            if argument.utf8.first == .dash {
                guard let option = Self.table[String(Substring(argument.utf8.dropFirst()))] else {
                    throw Self.unknown(argument, after: current?.option)
                }
                try finish(current?.option, words: current?.words)
                try begin(option, written: argument)
                current = (option, 0)
            } else if let (option, words) = current {
                try add(argument, to: option, words: words)
                current = (option, words + 1)
            } else {
                throw OptionError(
                    option: "command line", offending: argument,
                    problem: "\(quoted(argument)) stands before any option", remedy: "apus -help lists the options")
            }
        }
        try finish(current?.option, words: current?.words)
    }

    /// Whether the option was given.
    func has(_ option: OptionDescription) -> Bool { values[option.name] != nil }

    /// The option's value; nil if it was not given, or given without one.
    func value(of option: OptionDescription) -> String? { values[option.name]?.first }

    /// The values of all occurrences.
    func values(of option: OptionDescription) -> [String] { values[option.name] ?? [] }

    /// Which of help and version is asked for first. Both are answered whatever else the line says.
    static func request(in arguments: [String]) -> OptionDescription? {
        for argument in arguments {
            switch argument {
            case "-h", "-help": return .help
            case "-V", "-version": return .version
            case "--": return nil
            default: continue
            }
        }
        return nil
    }

    // MARK: - One argument

    private mutating func begin(_ option: OptionDescription, written: String) throws(OptionError) {
        switch (option.standing, option.arity) {
        case (.later, _): throw OptionError(option: written, problem: "this option is not supported yet")
        case (_, .values): return
        default: break
        }
        guard values.updateValue([], forKey: option.name) == nil else {
            throw OptionError(option: written, offending: written, problem: "this option is given twice")
        }
    }

    private mutating func add(_ word: String, to option: OptionDescription, words: Int) throws(OptionError) {
        switch option.arity {
        case .values: break
        case .value, .optionalValue:
            guard words == 0 else {
                throw OptionError(
                    option: option.spelling, offending: word, problem: "\(quoted(word)) is one word too many",
                    remedy: "this option takes one value, without spaces or in quotes")
            }
        case .flag:
            throw OptionError(
                option: option.spelling, offending: word, problem: "\(quoted(word)) is one word too many",
                remedy: "this option takes no value")
        }
        values[option.name, default: []].append(word)
    }

    private func finish(_ option: OptionDescription?, words: Int?) throws(OptionError) {
        guard let option, option.standing != .ignored, words == 0 else { return }
        switch option.arity {
        case .flag, .optionalValue: return
        case .value(let placeholder), .values(let placeholder):
            throw OptionError(
                option: option.spelling, problem: "the value is missing",
                remedy: "write \(option.spelling) \(placeholder)")
        }
    }

    // MARK: - Names

    private static let table: [String: OptionDescription] = {
        var table: [String: OptionDescription] = [:]
        for option in OptionDescription.all {
            table[option.name] = option
            if let alias = option.alias { table[alias] = option }
        }
        return table
    }()

    private static func unknown(_ argument: String, after option: OptionDescription?) -> OptionError {
        let name = String(Substring(argument.utf8.drop { $0 == .dash }))
        let remedy: String
        if table[name] != nil {
            remedy = "write it with one dash: -\(name)"
        } else if let near = nearest(to: name, among: table.keys.sorted()) {
            remedy = "did you mean -\(near)?"
        } else if let option, option.arity != .flag {
            remedy = "a value of \(option.spelling) cannot begin with a dash"
        } else {
            remedy = "apus -help lists the options"
        }
        return OptionError(
            option: "command line", offending: argument, problem: "there is no option \(quoted(argument))",
            remedy: remedy)
    }
}
