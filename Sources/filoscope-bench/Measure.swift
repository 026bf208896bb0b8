import Engine
import FoundationEssentials
import Glibc

/// Several measurements of one thing.
struct Samples {
    private let sorted: [Double]

    init(_ values: [Double]) { sorted = values.sorted() }

    /// The value that a part of the samples, 0...1, does not exceed.
    func quantile(_ part: Double) -> Double {
        sorted.isEmpty ? .nan : sorted[min(sorted.count - 1, Int(Double(sorted.count) * part))]
    }

    var median: Double { quantile(0.5) }
    var count: Int { sorted.count }
}

/// Work in turns with the limit it is compared with, so that a busy machine slows both.
///
/// One thread is timed by its own CPU time, several by the clock on the wall.
struct Stopwatch {
    let compute: Compute

    func seconds() -> Double {
        var time = timespec()
        clock_gettime(compute.pool.threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }

    func time(_ body: () throws -> Void) rethrows -> Double {
        let start = seconds()
        try body()
        return seconds() - start
    }

    /// Int8 operations per second of all threads, measured for about `milliseconds`.
    func int8Peak(milliseconds: Double = 2) -> Double { peak(milliseconds) { Limits.int8(compute.level, rounds: $0) } }

    func floatPeak(milliseconds: Double = 2) -> Double {
        peak(milliseconds) { Limits.float32(compute.level, rounds: $0) }
    }

    private func peak(_ milliseconds: Double, _ run: @escaping @Sendable (_ rounds: Int) -> Int) -> Double {
        let threads = compute.pool.threads
        let probe = 20000
        var operations = 0
        let took = time { operations = run(probe) }
        let rounds = max(probe, Int(milliseconds * 1e-3 / max(took, 1e-7) * Double(probe)))
        let seconds = time { compute.pool.run(chunks: threads) { _ in _ = run(rounds) } }
        return Double(operations) / Double(probe) * Double(rounds * threads) / seconds
    }

    /// How fast `body` does `operations` operations, and which part of the int8 peak beside it that is.
    ///
    /// - Parameter repetitions: counted after one that warms up.
    func against(
        peak: () -> Double, operations: Double, repetitions: Int, _ body: () throws -> Void
    ) rethrows -> Rate {
        try body()
        var rates: [Double] = []
        var parts: [Double] = []
        var seconds: [Double] = []
        var before = peak()
        // Short work is repeated until the clock can see it.
        let once = try time(body)
        let inner = max(1, Int(0.01 / max(once, 1e-7)))
        for _ in 0..<repetitions {
            let took = try time { for _ in 0..<inner { try body() } } / Double(inner)
            let after = peak()
            rates.append(operations / took)
            parts.append(operations / took / ((before + after) / 2))
            seconds.append(took)
            before = after
        }
        return Rate(rate: Samples(rates), part: Samples(parts), seconds: Samples(seconds))
    }
}

/// Operations a second, and the part of a limit that they are, sample by sample.
struct Rate {
    var rate: Samples
    var part: Samples
    var seconds: Samples
}

/// One line of results: aligned text for people, one JSON object for programs.
struct Line {
    private var fields: [(name: String, text: String)] = []

    init(_ name: String) { add("benchmark", name) }

    mutating func add(_ name: String, _ value: Int) { fields.append((name, "\(value)")) }
    mutating func add(_ name: String, _ value: Double, digits: Int = 1) {
        fields.append((name, value.isFinite ? fixed(value, digits) : "null"))
    }
    mutating func add(_ name: String, _ value: String) {
        let escaped = value.filter { $0 >= " " }.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
        fields.append((name, "\"\(escaped)\""))
    }

    /// Speed, its part of the int8 peak beside it, and time.
    mutating func add(_ rate: Rate) {
        add("gops", rate.rate.median / 1e9)
        add("percent_of_peak", 100 * rate.part.median)
        add("percent_p90", 100 * rate.part.quantile(0.9))
        add("milliseconds", 1e3 * rate.seconds.median, digits: 3)
    }

    /// What every line of a computing benchmark ends with.
    mutating func add(_ compute: Compute) {
        add("level", compute.level.name)
        add("threads", compute.pool.threads)
    }

    func text(json: Bool) -> String {
        if json { return "{" + fields.map { "\"\($0.name)\":\($0.text)" }.joined(separator: ",") + "}" }
        return fields.map { field in
            field.name == "benchmark" ? unquoted(field.text) : "\(field.name) \(unquoted(field.text))"
        }.joined(separator: "  ")
    }

    private func unquoted(_ text: String) -> String {
        text.hasPrefix("\"") ? String(text.dropFirst().dropLast()) : text
    }
}
