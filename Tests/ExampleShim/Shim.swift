import ApusClient

@main enum Shim {
    /// usage: ExampleShim APUS KERNEL INITRD DISK FOLDER
    static func main() throws {
        let words = CommandLine.arguments
        let socket = "\(words[5])/qmp.sock"

        // Apus binds its QMP socket first. `connect` retries until the socket exists or the process has ended.
        let options = ["-machine", "type=microvm,hotplug=on", "-smp", "2", "-m", "256"]
        let boot = ["-kernel", words[2], "-initrd", words[3], "-append", "console=ttyS0 reboot=k panic=1 quiet"]
        let apus = try Apus.launch(
            arguments: options + boot + ["-qmp", "unix:\(socket),server,nowait"], program: words[1])
        let qmp = try QMP.connect(to: socket, of: apus)

        // Print the vCPU threads, for pinning.
        for cpu in try qmp.execute("query-cpus").arrayValue ?? [] {
            print("vCPU \(cpu["CPU"]?.intValue ?? -1) is thread \(cpu["thread_id"]?.intValue ?? -1)")
        }

        // Plug a disk in and out.
        do {
            let file: JSON = ["driver": "file", "filename": .string(words[4])]
            try qmp.execute("blockdev-add", ["node-name": "data", "file": file])
            try qmp.execute("device_add", ["id": "data", "driver": "virtio-blk-mmio", "drive": "data", "addr": "1"])
            try qmp.execute("device_del", ["id": "data"])
            try qmp.wait(for: "DEVICE_DELETED") { $0["device"] == "data" }
        } catch {
            print("no disk: \(error)")
        }

        // End the VM. Event, log and exit status agree.
        try qmp.execute("quit")
        print("the machine ended:", try qmp.wait(for: "SHUTDOWN").data["reason"]?.stringValue ?? "for no reason")
        print("apus ended:", try apus.wait()?.description ?? "not")
    }
}
