import Fuzz
import Host

/// The subject under the fuzzer: the one that `APUS_FUZZ_SUBJECT` names. The fuzzer has one thread.
private nonisolated(unsafe) let subject: any FuzzSubject = {
    // What a device says of its driver would fill the disk.
    if let nowhere = try? FileDescriptor.open("/dev/null", .writeOnly) { Log.setOutput(nowhere) }
    let name = HostProcess.environment("APUS_FUZZ_SUBJECT") ?? ""
    guard let type = FuzzSubjects.type(named: name) else {
        HostProcess.printError("APUS_FUZZ_SUBJECT: there is no subject '\(name)'\n")
        HostProcess.exitNow(2)
    }
    do {
        return try type.init()
    } catch {
        HostProcess.printError("\(name) cannot begin: \(error)\n")
        HostProcess.exitNow(2)
    }
}()

/// libFuzzer's entry: one input. What is wrong ends the process in a way that libFuzzer takes for a finding.
@c(LLVMFuzzerTestOneInput)
public func fuzzOneInput(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var input = unsafe FuzzInput(Array(UnsafeBufferPointer(start: data, count: count)))
    do {
        try unsafe subject.fuzz(&input)
    } catch {
        HostProcess.printError("VIOLATION: \(error)\n")
        fatalError("\(error)")
    }
    return 0
}
