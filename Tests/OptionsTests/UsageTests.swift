import Testing

@testable import Options

@Suite("Help")
struct UsageTests {
    private static let help = Usage.help(.microvm)
    private let lines = help.split(separator: "\n").map(String.init)

    @Test("Every option is in it", arguments: OptionDescription.all.map(\.spelling))
    func options(spelling: String) {
        #expect(Self.help.contains(spelling))
    }

    @Test("Every option of value has its line, its keys and a summary")
    func sections() {
        for option in OptionDescription.all where option.standing == .supported {
            let start = lines.firstIndex { $0.hasPrefix("  \(option.spelling)") && !$0.hasPrefix("   ") }
            #expect(start != nil, "\(option.spelling)")
            #expect(Self.help.contains(option.summary))
            for key in option.keys { #expect(Self.help.contains(key.summary)) }
        }
        for type in DeviceType.all {
            for key in type.keys { #expect(Self.help.contains(key.summary), "\(type.names[0]): \(key.name)") }
        }
    }

    @Test("What is not supported yet is named as such")
    func later() throws {
        let start = try #require(lines.firstIndex(of: "Not supported yet"))
        let named = lines[start...].joined(separator: " ")
        #expect(named.contains("-incoming"))
    }

    @Test("It fits a wide terminal and has no tabs")
    func shape() {
        for line in lines { #expect(line.count <= 130 && !line.contains("\t"), "\(line)") }
    }

    @Test("Every example of a supported option is taken")
    func examples() throws {
        let context = [
            "drive": "-device virtio-blk-device,drive=rootfs",
            "device": "-drive id=rootfs,file=/r -netdev tap,id=net0,ifname=t "
                + "-object iothread,id=io0 rng-random,id=objrng0",
            "serial": "-chardev pty,id=con0", "pidfile": "-daemonize",
            "mon": "-chardev socket,id=qmp0,path=/m,server,nowait",
        ]
        for option in OptionDescription.all where option.standing == .supported {
            for example in option.examples {
                var line = "\(option.spelling) \(example)"
                for word in least.split(separator: "-").map({ "-\($0)" }) where !word.hasPrefix("\(option.spelling) ") {
                    line += " " + word
                }
                if example.hasPrefix("virtconsole") || example.hasPrefix("virtserialport") {
                    line += " -device virtio-serial-device -chardev pty,id=console0 pty,id=agent0"
                }
                if example.hasPrefix("vhost-user-fs-device") {
                    line += " -machine microvm,mem-share=on -chardev socket,id=fs0,path=/fs"
                }
                if option.name == "drive", !example.contains("rootfs") { line += " -drive id=rootfs,file=/x" }
                line += " " + (context[option.name] ?? "")
                _ = try launch(line)
            }
        }
    }

    @Test("Every key's standard value is of the key's type")
    func standardValues() throws {
        _ = try MachineSpec.parse("microvm", .microvm)
        _ = try CPUTopology.parse("1", .microvm)
        try CPUModel.check("host")
        _ = try MemorySpec.parse(nil)
        _ = try DriveSpec.parse("id=d,file=/d")
        _ = try NetdevSpec.parse("tap,id=n,ifname=t")
        for example in DeviceType.all.map(\.example) { _ = try DeviceSpec.parse(example) }
        for kind in ["ram", "memfd"] {
            _ = try ObjectSpec.parse("memory-backend-\(kind),id=m,size=1")
        }
    }

    @Test("Names and aliases are told apart")
    func names() {
        let names = OptionDescription.all.flatMap { [$0.name, $0.alias].compactMap(\.self) }
        #expect(Set(names).count == names.count)
        #expect(names.count >= 50)
    }

    @Test func tellsHowManyDevicesThereMayBe() {
        #expect(Self.help.contains("19 devices on MMIO, 11 if the guest has no ACPI"))
    }
}
