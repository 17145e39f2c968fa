import Host
import Options
import VMM

/// The program: reads the command line, and starts what it asks for.
func main() -> Int32 {
    do throws(OptionError) {
        switch try LaunchOptions.parse(Array(CommandLine.arguments.dropFirst()), .microvm) {
        case .help(let text), .version(let text):
            HostProcess.printOutput(text)
            return 0
        case .launch(let options):
            return launch(options)
        }
    } catch {
        HostProcess.printError("\(error)\n")
        return 1
    }
}

HostProcess.exit(main())
