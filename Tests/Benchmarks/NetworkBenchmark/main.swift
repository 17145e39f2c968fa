import Glibc

exit(runBenchmark(CommandLine.arguments))
