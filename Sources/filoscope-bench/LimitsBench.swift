import ArgumentParser
import Engine
import Glibc

struct LimitsBench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "limits",
        abstract: "What this machine can do at most: int8 and float32 operations, reading memory.")
    @OptionGroup var engine: EngineOptions
    @Flag(help: "One JSON object a line.") var json = false
    @Option(help: "Measurements of each.") var repetitions = 15

    func run() throws {
        try Self.lines(engine.compute(), repetitions: repetitions) { print($0.text(json: json)) }
    }

    static func lines(_ compute: Compute, repetitions: Int, _ report: (Line) -> Void) {
        let watch = Stopwatch(compute: compute)
        for (name, peak) in [
            ("int8", { watch.int8Peak(milliseconds: 10) }), ("float32", { watch.floatPeak(milliseconds: 10) }),
        ] {
            _ = peak()
            let samples = Samples((0..<repetitions).map { _ in peak() })
            var line = Line("limits")
            line.add("limit", name)
            line.add("gops", samples.median / 1e9)
            line.add("p90", samples.quantile(0.9) / 1e9)
            line.add(compute)
            report(line)
        }
        for (name, bytes) in [("memory", 256 << 20), ("cache_256k", 256 << 10)] {
            let samples = reading(bytes, repetitions: repetitions, watch)
            var line = Line("limits")
            line.add("limit", name)
            line.add("gbytes_per_s", samples.median / 1e9)
            line.add("p90", samples.quantile(0.9) / 1e9)
            line.add(compute)
            report(line)
        }
    }

    /// Each thread reads `bytes` of its own.
    private static func reading(_ bytes: Int, repetitions: Int, _ watch: Stopwatch) -> Samples {
        let threads = watch.compute.pool.threads
        let buffers = (0..<threads).map { _ in UnsafeMutableRawBufferPointer.allocate(byteCount: bytes, alignment: 4096)
        }
        defer { for buffer in buffers { buffer.deallocate() } }
        for buffer in buffers { memset(buffer.baseAddress!, 1, bytes) }
        let passes = max(1, (64 << 20) / bytes)
        nonisolated(unsafe) let shared = buffers
        return Samples(
            (0..<repetitions).map { _ in
                let seconds = watch.time {
                    watch.compute.pool.run(chunks: threads) { chunk in
                        Limits.read(UnsafeRawBufferPointer(shared[chunk]), passes: passes)
                    }
                }
                return Double(bytes * passes * threads) / seconds
            })
    }
}
