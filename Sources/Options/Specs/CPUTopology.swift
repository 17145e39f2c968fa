/// `-smp`: how many vCPUs the machine has and how they are arranged. Every field is from 1 to 254 and
/// `sockets * dies * clusters * cores * threads` is `maximum`.
package struct CPUTopology: Equatable, Sendable {
    /// vCPUs at start.
    package let cpus: Int
    /// vCPUs there is room for; a MicroVm adds none at run time.
    package let maximum: Int
    package let sockets: Int
    /// Dies in a socket.
    package let dies: Int
    /// Clusters in a die.
    package let clusters: Int
    /// Cores in a cluster.
    package let cores: Int
    /// Threads in a core.
    package let threads: Int

    /// What holds without `-smp`.
    package static let single = CPUTopology(
        cpus: 1, maximum: 1, sockets: 1, dies: 1, clusters: 1, cores: 1, threads: 1)
}

extension CPUTopology {
    private enum Keys {
        static let cpus = OptionKey(
            "cpus", .number("a number of CPUs", 1...254), .required, "vCPUs, 1 to 254")
        static let maxcpus = OptionKey(
            "maxcpus", .number("a number of CPUs", 1...254), "room for as many vCPUs; from cpus to 254")
        static let sockets = OptionKey(
            "sockets", .number("a number of sockets", 0...254), .standard("0"), "sockets; 0 lets apus choose")
        static let dies = OptionKey(
            "dies", .number("a number of dies", 1...254), .standard("1"), "dies in a socket")
        static let clusters = OptionKey(
            "clusters", .number("a number of clusters", 1...254), .standard("1"), "clusters in a die")
        static let cores = OptionKey(
            "cores", .number("a number of cores", 0...254), .standard("0"), "cores in a cluster; 0 lets apus choose")
        static let threads = OptionKey(
            "threads", .number("a number of threads", 0...254), .standard("0"), "threads in a core; 0 lets apus choose")
    }

    static let keys = [
        Keys.cpus.description, Keys.maxcpus.description, Keys.sockets.description, Keys.dies.description,
        Keys.clusters.description, Keys.cores.description, Keys.threads.description,
    ]

    /// Reads the value of `-smp` and fills in what was left out, as StratoVirt does. Throws an error if the numbers
    /// don't multiply to `maxcpus`.
    package static func parse(_ text: String) throws(OptionError) -> CPUTopology {
        let list = try KeyValueList(option: "-smp", firstKey: "cpus", parsing: text)
        let reader = try KeyReader(list, keys: keys)
        let cpus: Int = try reader.value(Keys.cpus)
        let givenMaximum: Int? = try reader.optional(Keys.maxcpus)
        var sockets: Int = try reader.value(Keys.sockets)
        let dies: Int = try reader.value(Keys.dies)
        let clusters: Int = try reader.value(Keys.clusters)
        var cores: Int = try reader.value(Keys.cores)
        var threads: Int = try reader.value(Keys.threads)

        // Five factors of at most 254 stay far below 2^63.
        let given = sockets * dies * clusters * cores * threads
        let maximum = givenMaximum ?? (given > 0 ? given : cpus)
        if cores == 0 {
            sockets = max(sockets, 1)
            threads = max(threads, 1)
            cores = maximum / (sockets * dies * clusters * threads)
        } else if sockets == 0 {
            threads = max(threads, 1)
            sockets = maximum / (dies * clusters * cores * threads)
        }
        if threads == 0 {
            threads = maximum / (max(sockets, 1) * dies * clusters * cores)
        }
        guard maximum >= cpus else {
            throw reader.error(
                givenMaximum == nil ? Keys.cpus : Keys.maxcpus,
                givenMaximum == nil
                    ? "is more than the \(maximum) that the topology has" : "is less than cpus=\(cpus)")
        }
        guard sockets * dies * clusters * cores * threads == maximum, maximum <= 254 else {
            throw OptionError(
                option: "-smp", offending: text,
                problem:
                    "sockets=\(sockets) * dies=\(dies) * clusters=\(clusters) * cores=\(cores) * threads=\(threads)"
                    + " is \(sockets * dies * clusters * cores * threads) CPUs",
                remedy: maximum <= 254 ? "it must be \(maximum)" : "a machine has at most 254")
        }
        return CPUTopology(
            cpus: cpus, maximum: maximum, sockets: sockets, dies: dies, clusters: clusters, cores: cores,
            threads: threads)
    }
}
