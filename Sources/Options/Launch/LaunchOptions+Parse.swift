extension LaunchOptions {
    /// Reads a command line, given without the program's name. Touches nothing: whether files and devices of the host
    /// are there and fit is for the machine to find out.
    ///
    /// Throws an error for the first thing that is wrong: first among the words of the line in their order, then
    /// option by option in StratoVirt's order, then in how they fit together.
    package static func parse(_ arguments: [String], _ limits: Limits) throws(OptionError) -> Invocation {
        if let request = ArgumentList.request(in: arguments) {
            return request.name == OptionDescription.help.name ? .help(Usage.help(limits)) : .version(Usage.version)
        }
        let options = try LaunchOptions(ArgumentList(arguments), limits)
        try options.check()
        return .launch(options)
    }

    private init(_ arguments: ArgumentList, _ limits: Limits) throws(OptionError) {
        self.limits = limits
        name = try arguments.read(.name, as: .machineName)
        uuid = try arguments.read(.uuid, as: .uuid)
        machine =
            try arguments.read(.machine) { (text) throws(OptionError) in try MachineSpec.parse(text, limits) }
            ?? .standard
        accelerator = try arguments.read(.accel, AcceleratorSpec.parse) ?? machine.accelerator ?? .kvm
        memory = try MemorySpec.parse(
            arguments.value(of: .memory), path: arguments.value(of: .memPath),
            isPreallocated: arguments.has(.memPrealloc))
        topology =
            try arguments.read(.smp) { (text) throws(OptionError) in try CPUTopology.parse(text, limits) } ?? .single
        _ = try arguments.read(.cpu, CPUModel.check)
        let kernel = try arguments.read(.kernel, as: .path)
        initrd = try arguments.read(.initrd, as: .initrdPath)
        serial = try arguments.read(.serial, SerialSpec.parse)
        kernelArguments = try Self.kernelArguments(arguments.values(of: .append))
        drives = try arguments.readAll(.drive, DriveSpec.parse)
        objects = try arguments.readAll(.object, ObjectSpec.parse)
        netdevs = try arguments.readAll(.netdev, NetdevSpec.parse)
        chardevs = try arguments.readAll(.chardev, ChardevSpec.parse)
        devices = try arguments.readAll(.device, DeviceSpec.parse)
        startsPaused = arguments.has(.freeze)
        isDaemon = arguments.has(.daemonize)
        pidfile = try arguments.read(.pidfile, as: .path)
        log = try arguments.read(.log, as: .path).map { .file(path: $0) } ?? .standardError
        usesSeccomp = !arguments.has(.disableSeccomp)
        sandbox = try arguments.read(.sandbox, SandboxSpec.parse) ?? .standard
        qmp = try arguments.read(.qmp, QMPSpec.parse)
        monitor = try arguments.read(.mon, MonitorSpec.parse)
        guard let kernel else {
            throw OptionError(option: "-kernel", problem: "the option is missing", remedy: "a MicroVm needs a kernel")
        }
        self.kernel = kernel
    }

    /// The kernel's command line. Throws an error for a word whose value is longer than 255 bytes.
    private static func kernelArguments(_ words: [String]) throws(OptionError) -> String {
        let line = words.joined(separator: " ")
        for word in line.split(atEach: .space) {
            let value = word.utf8.drop { $0 != .equals }.dropFirst()
            guard value.count <= 255 else {
                throw OptionError(
                    option: "-append", offending: word,
                    problem: "the value in \(quoted(word)) has \(value.count) bytes",
                    remedy: "it can have at most 255")
            }
        }
        return line
    }
}

extension ArgumentList {
    /// The option's value by a parser of its own; nil if the option was not given.
    fileprivate func read<Value>(
        _ option: OptionDescription, _ parse: (String) throws(OptionError) -> Value
    ) throws(OptionError) -> Value? {
        guard let text = value(of: option) else { return nil }
        return try parse(text)
    }

    /// The option's whole value as one of a type; nil if the option was not given.
    fileprivate func read<Value>(
        _ option: OptionDescription, as type: ValueType<Value>
    ) throws(OptionError) -> Value? {
        guard let text = value(of: option) else { return nil }
        return try type.read(text, option: option.spelling)
    }

    /// The values of all the option's occurrences.
    fileprivate func readAll<Value>(
        _ option: OptionDescription, _ parse: (String) throws(OptionError) -> Value
    ) throws(OptionError) -> [Value] {
        var all: [Value] = []
        for text in values(of: option) { all.append(try parse(text)) }
        return all
    }
}

extension ValueType where Value == String {
    /// The guide's limits for a machine's name.
    fileprivate static let machineName = ValueType(placeholder: "TEXT", expectation: "a name of 1 to 255 characters") {
        (1...255).contains($0.count) ? $0 : nil
    }

    /// 8-4-4-4-12 hexadecimal digits; kept in lower case.
    fileprivate static let uuid = ValueType(
        placeholder: "UUID", expectation: "a UUID such as 550e8400-e29b-41d4-a716-446655440000"
    ) { text in
        let groups = text.split(atEach: .dash)
        guard groups.map(\.utf8.count) == [8, 4, 4, 4, 12] else { return nil }
        return groups.allSatisfy { $0.utf8.allSatisfy(\.isHexDigit) } ? text.lowercased() : nil
    }

    fileprivate static let initrdPath = text("a path", bytes: 1...255, placeholder: "PATH")
}
