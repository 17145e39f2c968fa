import Options
import Testing

@Suite("-sandbox")
struct SandboxSpecTests {
    @Test("Without it, and with plain on, there is no jail, and reach depends on hot plug")
    func standard() throws {
        #expect(try SandboxSpec.parse("on") == .standard)
        #expect(!(try SandboxSpec.parse("off")).isOn)
        #expect(try launch(least).sandbox == .standard)
    }

    @Test("All of the jail")
    func jail() throws {
        let spec = try SandboxSpec.parse("on,uid=1,gid=2,chroot=/j,netns=/n,newpid=on,cgroup=/c")
        #expect(spec.user == 1 && spec.group == 2 && spec.root == "/j" && spec.network == "/n")
        #expect(spec.newPIDNamespace && spec.cgroup == "/c" && spec.limitsPaths == nil)
    }

    @Test("Paths")
    func paths() throws {
        #expect(try SandboxSpec.parse("on,landlock-paths=/a:/b/c").paths == ["/a", "/b/c"])
        #expect(try SandboxSpec.parse("on,landlock=off").limitsPaths == false)
    }

    @Test(
        "What QEMU's users write",
        arguments: [
            "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
            "enable=on,elevateprivileges=children",
        ])
    func ofQEMU(text: String) throws {
        #expect(try SandboxSpec.parse(text) == .standard)
    }
}
