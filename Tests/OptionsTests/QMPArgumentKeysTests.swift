import Testing

@testable import Options

/// What is told of the arguments is what the specs take.
@Suite struct QMPArgumentKeysTests {
    private func value(of key: KeyDescription) -> String {
        if case .standard(let text) = key.presence { return text }
        return ["bool": "true", "uint16": "4", "uint32": "4"][key.type] ?? "x"
    }

    @Test(arguments: QMPArguments.deviceAddKeys.map(\.name))
    func deviceAddKnowsEach(name: String) throws {
        let key = try #require(QMPArguments.deviceAddKeys.first { $0.name == name })
        let drivers = ["virtio-blk-mmio", "virtio-net-mmio"].filter { driver in
            do throws(OptionError) {
                _ = try QMPArguments.deviceAdd([
                    KeyValue("id", "d"), KeyValue("driver", driver), KeyValue(name, value(of: key)),
                ])
                return true
            } catch {
                return !error.problem.contains("unknown key")
            }
        }
        #expect(!drivers.isEmpty)
    }

    @Test(arguments: QMPArguments.blockdevAddKeys.map(\.name))
    func blockdevAddKnowsEach(name: String) throws {
        let key = try #require(QMPArguments.blockdevAddKeys.first { $0.name == name })
        let given = [KeyValue("node-name", "d"), KeyValue("file.filename", "/d"), KeyValue(name, value(of: key))]
        do throws(OptionError) {
            _ = try QMPArguments.blockdevAdd(name == "file.filename" ? Array(given.dropLast()) : given)
        } catch {
            #expect(!error.problem.contains("unknown key"))
        }
    }

    @Test(arguments: QMPArguments.netdevAddKeys.map(\.name))
    func netdevAddKnowsEach(name: String) throws {
        let key = try #require(QMPArguments.netdevAddKeys.first { $0.name == name })
        do throws(OptionError) {
            _ = try QMPArguments.netdevAdd([KeyValue("id", "d"), KeyValue(name, value(of: key))])
        } catch {
            #expect(!error.problem.contains("unknown key"))
        }
    }

    @Test func namesAreThereOnce() {
        for keys in [QMPArguments.deviceAddKeys, QMPArguments.blockdevAddKeys, QMPArguments.netdevAddKeys] {
            #expect(Set(keys.map(\.name)).count == keys.count)
        }
        let required = QMPArguments.blockdevAddKeys.filter { $0.presence == .required }
        #expect(required.map(\.name) == ["file.filename"])
    }
}
