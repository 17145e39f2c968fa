import Bus
import Options
import Testing

@testable import VMM

@Suite struct LimitsTests {
    @Test func theBoardSaysHowMuchOptionsMayAskFor() throws {
        #expect(
            Limits.microvm
                == Limits(vcpus: 254, disks: 6, nics: 2, transports: 19, transportsWithoutACPI: 11, iothreads: 8))
        var board = BoardLayout.microvm
        board.limits.vcpus = 4
        board.limits.iothreads = 1
        board.interrupts.lines = 7
        let limits = Limits(board)
        let least = ["-kernel", "/k", "-initrd", "/i", "-qmp", "unix:/q,server,nowait"]
        for (words, message) in [
            (["-smp", "5"], "-smp: \"5\" is not a number of CPUs from 1 to 4"),
            (["-smp", "4,sockets=4,cores=2,threads=1"], "is 8 CPUs; a machine has at most 4"),
            (["-machine", "microvm,spare-iothreads=2"], "\"2\" is not a number of threads from 0 to 1"),
            (["-object", "iothread,id=a", "iothread,id=b"], "there are 2 iothreads; a MicroVm has at most 1"),
            (
                ["-device", "virtio-serial-device", "virtio-balloon-device", "vhost-vsock-device,guest-cid=3"],
                "there are 3 devices on MMIO; a MicroVm has at most 2"
            ),
        ] {
            let error = #expect(throws: OptionError.self) { try LaunchOptions.parse(least + words, limits) }
            #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
        }
        guard case .help(let text) = try LaunchOptions.parse(["-help"], limits) else { throw NotALaunch() }
        #expect(text.contains("4 vCPUs, 2 devices on MMIO, 11 if the guest has no ACPI, 6 disks, 2 network cards,"))
    }
}
