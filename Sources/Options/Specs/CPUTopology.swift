/// `-smp`: how many vCPUs the machine has and how they are arranged. Every field is 1 or more, and
/// `sockets * dies * clusters * cores * threads` is `maximum`, which the board limits.
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
    /// The keys of `-smp`, whose numbers go up to `most`.
    private struct Keys {
        let most: Int

        var cpus: OptionKey<Int> { OptionKey("cpus", .number("a number of CPUs", 1...most), .required, "vCPUs") }
        var maxcpus: OptionKey<Int> {
            OptionKey("maxcpus", .number("a number of CPUs", 1...most), "room for as many vCPUs; cpus or more")
        }
        var sockets: OptionKey<Int> {
            OptionKey(
                "sockets", .number("a number of sockets", 0...most), .standard("0"), "sockets; 0 lets apus choose")
        }
        var dies: OptionKey<Int> {
            OptionKey("dies", .number("a number of dies", 1...most), .standard("1"), "dies in a socket")
        }
        var clusters: OptionKey<Int> {
            OptionKey("clusters", .number("a number of clusters", 1...most), .standard("1"), "clusters in a die")
        }
        var cores: OptionKey<Int> {
            OptionKey(
                "cores", .number("a number of cores", 0...most), .standard("0"),
                "cores in a cluster; 0 lets apus choose")
        }
        var threads: OptionKey<Int> {
            OptionKey(
                "threads", .number("a number of threads", 0...most), .standard("0"),
                "threads in a core; 0 lets apus choose")
        }

        var descriptions: [KeyDescription] {
            [
                cpus.description, maxcpus.description, sockets.description, dies.description, clusters.description,
                cores.description, threads.description,
            ]
        }
    }

    /// What help and schemas say of the keys: each is a byte, of which a board may allow a part.
    static let keys = Keys(most: Int(UInt8.max)).descriptions

    /// Reads the value of `-smp` and fills in what was left out, as StratoVirt does. Throws an error if the numbers
    /// don't multiply to `maxcpus`.
    package static func parse(_ text: String, _ limits: Limits) throws(OptionError) -> CPUTopology {
        let most = limits.vcpus
        let keys = Keys(most: most)
        let list = try KeyValueList(option: "-smp", firstKey: "cpus", parsing: text)
        let reader = try KeyReader(list, keys: keys.descriptions)
        let cpus: Int = try reader.value(keys.cpus)
        let givenMaximum: Int? = try reader.optional(keys.maxcpus)
        var sockets: Int = try reader.value(keys.sockets)
        let dies: Int = try reader.value(keys.dies)
        let clusters: Int = try reader.value(keys.clusters)
        var cores: Int = try reader.value(keys.cores)
        var threads: Int = try reader.value(keys.threads)

        // Five factors of a byte stay far below 2^63.
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
                givenMaximum == nil ? keys.cpus : keys.maxcpus,
                givenMaximum == nil
                    ? "is more than the \(maximum) that the topology has" : "is less than cpus=\(cpus)")
        }
        guard sockets * dies * clusters * cores * threads == maximum, maximum <= most else {
            throw OptionError(
                option: "-smp", offending: text,
                problem:
                    "sockets=\(sockets) * dies=\(dies) * clusters=\(clusters) * cores=\(cores) * threads=\(threads)"
                    + " is \(sockets * dies * clusters * cores * threads) CPUs",
                remedy: maximum <= most ? "it must be \(maximum)" : "a machine has at most \(most)")
        }
        return CPUTopology(
            cpus: cpus, maximum: maximum, sockets: sockets, dies: dies, clusters: clusters, cores: cores,
            threads: threads)
    }
}
