/// The arguments, sorted to the options they belong to.
///
/// An option is one dash and a name. What follows belongs to the option before it; a lone `--` ends the list.
struct ArgumentList {
    private var values: [String: [String]] = [:]

    /// Sorts the arguments, without the program's name. Throws an error for what is no option, an option that is not
    /// supported yet, an option given twice that can't be, and values missing or in excess; in the order of the line.
    init(_ arguments: [String]) throws(OptionError) {
        var current: Occurrence?
        for argument in arguments {
            if argument == "--" { break }
            // The runtime puts U+FFFD for bytes that are not UTF-8: a path with it would be another file's.
            guard !argument.unicodeScalars.contains("\u{FFFD}") else {
                throw OptionError(
                    option: current?.written ?? "command line", offending: argument,
                    problem: "\(quoted(argument)) is not UTF-8")
            }
            if argument.utf8.first == .dash {
                guard let option = Self.option(named: String(Substring(argument.utf8.dropFirst()))) else {
                    throw Self.unknown(argument, after: current)
                }
                try current?.finish()
                current = Occurrence(option: option, written: argument)
                try begin(option, written: argument)
            } else if var occurrence = current {
                try occurrence.take(argument)
                current = occurrence
                values[occurrence.option.name, default: []].append(argument)
            } else {
                throw OptionError(
                    option: "command line", offending: argument,
                    problem: "\(quoted(argument)) stands before any option", remedy: "apus -help lists the options")
            }
        }
        try current?.finish()
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

    private mutating func begin(_ option: OptionDescription, written: String) throws(OptionError) {
        guard option.standing != .later else {
            throw OptionError(option: written, problem: "this option is not supported yet")
        }
        if case .values = option.arity { return }
        guard values.updateValue([], forKey: option.name) == nil else {
            throw OptionError(option: written, offending: written, problem: "this option is given twice")
        }
    }

    // MARK: - Names

    /// The option of this name or alias. The table is short enough to be searched from its start.
    private static func option(named name: String) -> OptionDescription? {
        OptionDescription.all.first { $0.name == name || $0.alias == name }
    }

    private static func unknown(_ argument: String, after occurrence: Occurrence?) -> OptionError {
        let name = String(Substring(argument.utf8.drop { $0 == .dash }))
        let beforeEquals = String(Substring(name.utf8.prefix { $0 != .equals }))
        let remedy: String
        if option(named: name) != nil {
            remedy = "write it with one dash: -\(name)"
        } else if option(named: beforeEquals) != nil {
            remedy = "write -\(beforeEquals) and its value apart"
        } else if let near = nearest(to: name, among: OptionDescription.all.flatMap { [$0.name, $0.alias ?? $0.name] })
        {
            remedy = "did you mean -\(near)?"
        } else if let occurrence, occurrence.takesMore {
            remedy = "a value of \(occurrence.written) cannot begin with a dash"
        } else {
            remedy = "apus -help lists the options"
        }
        return OptionError(
            option: "command line", offending: argument, problem: "there is no option \(quoted(argument))",
            remedy: remedy)
    }
}

/// One option on the line, while its values are taken.
private struct Occurrence {
    let option: OptionDescription
    /// As the user wrote it.
    let written: String
    private var words = 0

    init(option: OptionDescription, written: String) {
        self.option = option
        self.written = written
    }

    /// Whether one more value may follow.
    var takesMore: Bool {
        switch option.arity {
        case .flag: false
        case .value, .optionalValue: words == 0
        case .values: true
        }
    }

    /// Counts one value. Throws an error for one too many.
    mutating func take(_ word: String) throws(OptionError) {
        guard takesMore else {
            throw OptionError(
                option: written, offending: word, problem: "\(quoted(word)) is one word too many",
                remedy: option.arity == .flag
                    ? "this option takes no value" : "this option takes one value, without spaces or in quotes")
        }
        words += 1
    }

    /// Throws an error if a value is missing.
    func finish() throws(OptionError) {
        guard words == 0, option.standing != .ignored else { return }
        switch option.arity {
        case .flag, .optionalValue: return
        case .value(let placeholder), .values(let placeholder):
            throw OptionError(
                option: written, problem: "the value is missing", remedy: "write \(written) \(placeholder)")
        }
    }
}
