// swift-tools-version: 6.2
import PackageDescription

/// The fuzzers' program is linked with libFuzzer, which only `swift build --sanitize fuzzer` does (see hack/fuzz).
let buildsFuzzer = Context.environment["APUS_FUZZ"] != nil

/// DocC's plugin makes a web site of the documentation (see hack/docs). Only that fetches it: no other build does.
let buildsDocumentation = Context.environment["APUS_DOCS"] != nil

/// One set of rules for every Swift target: Swift 6, strict memory safety, and no warning left standing.
let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .strictMemorySafety(),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .treatAllWarnings(as: .error),
]

func module(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: settings)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: name + "Tests", dependencies: dependencies, swiftSettings: settings)
}

let package = Package(
    name: "apus",
    products: [
        .executable(name: "apus", targets: ["apus"]),
        .library(name: "ApusClient", targets: ["ApusClient"]),
    ],
    dependencies: buildsDocumentation
        ? [.package(url: "https://github.com/swiftlang/swift-docc-plugin", exact: "1.5.0")] : [],
    targets: [
        // The modules, each importing only from those above it.
        .target(
            name: "CHost",
            linkerSettings: [.linkedLibrary("uring")]),
        module("Host", ["CHost"]),
        module("EventLoop", ["CHost", "Host"]),
        module("Memory", ["CHost", "Host"]),
        module("Bus", ["Host", "EventLoop"]),
        module("Hypervisor", ["CHost", "Host", "Memory", "Bus"]),
        module("Boot", ["Host", "Memory", "Bus"]),
        module("Platform", ["Host", "EventLoop", "Bus"]),
        module("Backends", ["Host", "EventLoop", "Memory"]),
        module("Virtio", ["Host", "EventLoop", "Memory", "Bus", "Backends"]),
        module("Options", []),
        module("JSONText", []),
        module("Control", ["Host", "EventLoop", "Options", "JSONText"]),
        module("Sandbox", ["CHost", "Host"]),
        module(
            "VMM",
            [
                "Host", "EventLoop", "Memory", "Bus", "Hypervisor", "Boot", "Platform", "Backends", "Virtio",
                "Options", "Control", "Sandbox",
            ]),
        .executableTarget(name: "apus", dependencies: ["Host", "Options", "VMM"], swiftSettings: settings),

        // For programs that start and drive apus. It uses libc, and the JSON module that apus uses too.
        .target(name: "CApusClient"),
        module("ApusClient", ["CApusClient", "JSONText"]),

        // The shim of the documentation (SwiftClient.md), which the tests compare, compile and run.
        .executableTarget(
            name: "ExampleShim", dependencies: ["ApusClient"], path: "Tests/ExampleShim", swiftSettings: settings),

        // What the tests share: the in-process driver and its helpers.
        .target(
            name: "TestSupport",
            dependencies: [
                "ApusClient", "Host", "EventLoop", "Memory", "Bus", "Platform", "Backends", "Virtio", "Options",
                "Control",
            ],
            path: "Tests/TestSupport", swiftSettings: settings),

        // In a program with these, an operation of a ring can be made to fail.
        .target(name: "FailingRing", path: "Tests/FailingRing", linkerSettings: [.linkedLibrary("uring")]),
        .target(
            name: "CompletionFaults", dependencies: ["FailingRing", "Host", "EventLoop"],
            path: "Tests/CompletionFaults", swiftSettings: settings),

        // What is fuzzed, and how: a fuzzer runs it, and tests replay what was found.
        .target(
            name: "Fuzz",
            dependencies: [
                "ApusClient", "Host", "EventLoop", "Memory", "Bus", "Boot", "Platform", "Backends", "Virtio", "Options",
                "JSONText", "Control", "TestSupport",
            ],
            path: "Tests/Fuzz", exclude: ["Corpora", "Dictionaries"], swiftSettings: settings),

        // One load per executable, which a script in hack/bench runs beside somebody else's.
        .executableTarget(
            name: "BlockBenchmark",
            dependencies: ["Host", "EventLoop", "Memory", "Backends", "Virtio", "TestSupport"],
            path: "Tests/Benchmarks/BlockBenchmark", swiftSettings: settings),
        .executableTarget(
            name: "VsockBenchmark",
            dependencies: ["Host", "EventLoop", "Memory", "Bus", "Backends", "Virtio", "TestSupport"],
            path: "Tests/Benchmarks/VsockBenchmark", swiftSettings: settings),
        .executableTarget(
            name: "NetworkBenchmark",
            dependencies: ["Host", "EventLoop", "Memory", "Bus", "Backends", "Virtio", "TestSupport"],
            path: "Tests/Benchmarks/NetworkBenchmark", swiftSettings: settings),

        // Makes system calls on a filtered thread, which may end the process: for the tests of the sandbox.
        .executableTarget(
            name: "SandboxProbe", dependencies: ["CHost", "Host", "Sandbox"],
            path: "Tests/SandboxProbe", swiftSettings: settings),

        tests("Host", ["CHost", "Host"]),
        tests("EventLoop", ["Host", "EventLoop", "CompletionFaults"]),
        tests("Memory", ["Host", "Memory"]),
        tests("Bus", ["Host", "EventLoop", "Bus"]),
        tests("Hypervisor", ["CHost", "Host", "EventLoop", "Memory", "Bus", "Hypervisor"]),
        tests("Boot", ["Host", "Memory", "Bus", "Boot", "TestSupport"]),
        tests("Platform", ["Host", "EventLoop", "Memory", "Bus", "Platform", "TestSupport", "CompletionFaults"]),
        tests("Backends", ["Host", "EventLoop", "Memory", "Backends", "TestSupport", "CompletionFaults"]),
        tests(
            "Virtio",
            ["Host", "EventLoop", "Memory", "Bus", "Backends", "Virtio", "TestSupport", "CompletionFaults"]),
        tests("Options", ["Host", "Options"]),
        tests("JSONText", ["JSONText"]),
        tests(
            "Control", ["Host", "EventLoop", "Options", "JSONText", "Control", "TestSupport", "CompletionFaults"]),
        tests("Sandbox", ["CHost", "Host", "Sandbox", "ApusClient", "TestSupport", "SandboxProbe", "apus"]),
        tests("ApusClient", ["Host", "ApusClient", "TestSupport", "ExampleShim", "apus"]),
        tests(
            "VMM",
            [
                "Host", "EventLoop", "Memory", "Bus", "Hypervisor", "Platform", "Backends", "Virtio", "Options",
                "Control",
                "Sandbox", "VMM", "TestSupport", "CompletionFaults",
            ]),
        tests("Fuzz", ["Host", "Fuzz", "TestSupport"]),
    ]
        + (buildsFuzzer
            ? [
                .executableTarget(
                    name: "FuzzRunner", dependencies: ["Host", "Fuzz"], path: "Tests/FuzzRunner",
                    swiftSettings: settings)
            ] : [])
)
