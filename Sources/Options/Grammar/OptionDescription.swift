/// One row of the table of options: how the option is written, what help says of it, and whether there is it already.
struct OptionDescription: Sendable {
    /// What follows the option's name.
    enum Arity: Equatable, Sendable {
        case flag
        /// One value, written so in help.
        case value(String)
        /// One value or none.
        case optionalValue(String)
        /// Values, in one or several occurrences of the option.
        case values(String)
    }

    enum Standing: Equatable, Sendable {
        case supported
        /// Taken for the sake of those who pass it to StratoVirt or QEMU, without effect.
        case ignored
        /// Refused by name.
        case later
    }

    /// The headings of the help.
    enum Group: String, CaseIterable, Sendable {
        case machine = "Machine"
        case memory = "Memory"
        case boot = "Boot"
        case disks = "Disks"
        case network = "Network"
        case characters = "Serial port and character devices"
        case devices = "Devices and objects"
        case control = "Control"
        case process = "Process"
        case other = "Other"
    }

    /// The option's name without its dash.
    let name: String
    /// Its other name.
    let alias: String?
    let arity: Arity
    let standing: Standing
    let group: Group
    let summary: String
    /// The keys of its value, and values that work. Only help asks for them: the keys of options that are not on the
    /// line are never made.
    private let makeKeys: @Sendable () -> [KeyDescription]
    private let makeExamples: @Sendable () -> [String]

    init(
        _ name: String, alias: String? = nil, _ arity: Arity, _ group: Group, _ summary: String,
        keys: @autoclosure @escaping @Sendable () -> [KeyDescription] = [],
        examples: @autoclosure @escaping @Sendable () -> [String] = [], standing: Standing = .supported
    ) {
        self.name = name
        self.alias = alias
        self.arity = arity
        self.standing = standing
        self.group = group
        self.summary = summary
        makeKeys = keys
        makeExamples = examples
    }

    var keys: [KeyDescription] { makeKeys() }

    var examples: [String] { makeExamples() }

    /// How errors and help call it: `-smp`.
    var spelling: String { "-\(name)" }
}
