import ArgumentParser
import Engine
import Glibc

struct LinearBench: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "linear",
        abstract:
            "Int8 linears, float32 in and out with the quantization of the rows, against the int8 peak beside them.",
        discussion: "Without a shape: Wan2.1-1.3B's at 800 and 64 tokens, and the bundled model's.")
    @Option(help: "Rows.") var m: Int?
    @Option(help: "Inputs.") var k: Int?
    @Option(help: "Outputs.") var n: Int?
    @OptionGroup var engine: EngineOptions
    @Flag(help: "One JSON object a line: m, k, n, gops, percent_of_peak and more.") var json = false
    @Option(help: "Measurements of each shape.") var repetitions = 25

    func validate() throws {
        let given = [m, k, n].compactMap { $0 }
        guard given.count == 0 || given.count == 3 else { throw ValidationError("--m, --k and --n go together") }
        guard given.allSatisfy({ (1...65536).contains($0) }), (given.reduce(1, *)) <= 1 << 38 else {
            throw ValidationError("--m, --k, --n: 1 to 65536, and their product at most 2^38")
        }
    }

    func run() throws {
        let shapes = m.map { [($0, k ?? 0, n ?? 0)] } ?? Self.shapes
        try Self.lines(shapes, engine.compute(), repetitions: repetitions) { print($0.text(json: json)) }
    }

    static let shapes = [
        (800, 1536, 1536), (800, 1536, 8960), (800, 8960, 1536), (64, 1536, 1536), (64, 192, 768), (64, 768, 192),
        (64, 192, 192), (64, 384, 1536), (800, 384, 384), (800, 384, 1536),
    ]

    static func lines(
        _ shapes: [(Int, Int, Int)], _ compute: Compute, repetitions: Int, _ report: (Line) -> Void
    ) throws {
        let watch = Stopwatch(compute: compute)
        for (m, k, n) in shapes {
            let linear = try randomLinear(inputs: k, outputs: n)
            // Where everything lies in a job: in an arena, by whole cache lines.
            var plan = ArenaPlan()
            plan.allocate(Float.self, count: m * k)
            plan.allocate(Float.self, count: m * n)
            plan.allocate(UInt8.self, count: linear.scratchBytes(rows: m))
            let arena = try Arena(byteCount: plan.byteCount)
            let x = try arena.allocate(Float.self, count: m * k)
            let y = try arena.allocate(Float.self, count: m * n)
            let scratch = UnsafeMutableRawPointer(
                try arena.allocate(UInt8.self, count: linear.scratchBytes(rows: m)))
            Random.normal(seed: 1, stream: 2, count: m * k, into: x)
            let operations = 2 * Double(m) * Double(k) * Double(n)
            let result = watch.against(peak: { watch.int8Peak() }, operations: operations, repetitions: repetitions) {
                linear(x, rows: m, into: y, compute: compute, scratch: scratch)
            }
            var line = Line("linear")
            line.add("m", m)
            line.add("k", k)
            line.add("n", n)
            line.add(result)
            line.add(compute)
            report(line)
        }
    }
}

func randomFloats(_ count: Int, stream: UInt64) -> [Float] {
    [Float](unsafeUninitializedCapacity: count) { buffer, initialized in
        if let base = buffer.baseAddress { Random.normal(seed: 1, stream: stream, count: count, into: base) }
        initialized = count
    }
}

/// An int8 linear of random weights, mapped from a file that has no name any more.
func randomLinear(inputs: Int, outputs: Int) throws -> Linear {
    let (padded, rows) = ((inputs + 15) / 16 * 16, (outputs + 7) / 8 * 8)
    var weight = [Int8](repeating: 0, count: rows * padded)
    var sums = [Int32](repeating: 0, count: rows)
    var state: UInt64 = 1
    for output in 0..<outputs {
        for input in 0..<inputs {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            let value = Int8(truncatingIfNeeded: Int(state >> 40) % 255 - 127)
            weight[((output / 8 * (padded / 8) + input / 8) * 8 + output % 8) * 8 + input % 8] = value
            sums[output] += Int32(value)
        }
    }
    let floats = { (value: Float) in [Float](repeating: value, count: rows).withUnsafeBytes { Array($0) } }
    let tensors: [(String, String, [Int], [UInt8])] = [
        ("layer.weight", "I8", [rows / 8, padded / 8, 8, 8], weight.withUnsafeBytes { Array($0) }),
        ("layer.scale", "F32", [rows], floats(0.01)), ("layer.sum", "I32", [rows], sums.withUnsafeBytes { Array($0) }),
        ("layer.bias", "F32", [rows], floats(0.5)),
    ]
    let path = "/tmp/filoscope-bench-\(getpid()).safetensors"
    try save(safetensors(tensors), path)
    defer { unlink(path) }
    return try Linear(Checkpoint(path: path), "layer", in: inputs, out: outputs)
}
