import Glibc
import Testing

@testable import Engine

@Suite struct LinearTests {
    struct Case: CustomTestStringConvertible, Sendable {
        var inputs: Int
        var outputs: Int
        var rows: Int
        var testDescription: String { "\(rows)x\(inputs)->\(outputs)" }
    }

    static let cases = [
        Case(inputs: 1, outputs: 1, rows: 1), Case(inputs: 16, outputs: 8, rows: 3),
        Case(inputs: 17, outputs: 9, rows: 7), Case(inputs: 100, outputs: 70, rows: 50),
        Case(inputs: 192, outputs: 576, rows: 97), Case(inputs: 130, outputs: 200, rows: 200),
    ]

    /// A checkpoint with the same matrix as float `f` and as int8 `q`, and y = x·Wᵀ + b of the int8 weights in double.
    struct Fixture {
        let float: Linear
        let int8: Linear
        let x: [Float]
        let expected: [Double]

        init(_ c: Case, bias hasBias: Bool = true) throws {
            var generator = SeededGenerator(seed: UInt64(c.inputs * 1000 + c.outputs))
            let weight = (0..<c.inputs * c.outputs).map { _ in Int8.random(in: -127...127, using: &generator) }
            let scale = generator.floats(c.outputs, in: 0.001...0.01)
            let bias = generator.floats(c.outputs)
            x = generator.floats(c.rows * c.inputs, in: -3...3)
            let dequantized = (0..<weight.count).map { Float(weight[$0]) * scale[$0 / c.inputs] }
            var writer = CheckpointWriter()
            writer.addInt8Linear(
                "q", weight, scale: scale, bias: hasBias ? bias : nil, inputs: c.inputs, outputs: c.outputs)
            writer.add("f.weight", dequantized, [c.outputs, c.inputs])
            if hasBias { writer.add("f.bias", bias, [c.outputs]) }
            let checkpoint = try writer.checkpoint()
            float = try Linear(checkpoint, "f", in: c.inputs, out: c.outputs, bias: hasBias)
            int8 = try Linear(checkpoint, "q", in: c.inputs, out: c.outputs, bias: hasBias)
            var expected = [Double](repeating: 0, count: c.rows * c.outputs)
            for r in 0..<c.rows {
                for o in 0..<c.outputs {
                    var sum = hasBias ? Double(bias[o]) : 0
                    for i in 0..<c.inputs {
                        sum += Double(x[r * c.inputs + i]) * Double(dequantized[o * c.inputs + i])
                    }
                    expected[r * c.outputs + o] = sum
                }
            }
            self.expected = expected
        }
    }

    static func run(
        _ linear: Linear, _ x: [Float], rows: Int, activation: Activation = .none, _ compute: Compute
    ) -> [Float] {
        var y = [Float](repeating: .nan, count: rows * linear.outputs)
        withScratch(linear.scratchBytes(rows: rows)) { scratch in
            linear(x, rows: rows, into: &y, activation: activation, compute: compute, scratch: scratch)
        }
        return y
    }

    @Test(arguments: cases, [true, false]) func agreesWithDouble(_ c: Case, bias: Bool) throws {
        let fixture = try Fixture(c, bias: bias)
        #expect(fixture.int8.isQuantized && !fixture.float.isQuantized)
        let reference = Compute(level: .reference, pool: ThreadPool(threads: 1))
        let float = Self.run(fixture.float, fixture.x, rows: c.rows, reference)
        #expect(relativeError(float, fixture.expected) < 1e-5)
        let int8 = Self.run(fixture.int8, fixture.x, rows: c.rows, reference)
        // Weights are the same, so the difference is that of rounding each activation to 1/254 of its row's largest.
        #expect(relativeError(int8, fixture.expected) < 0.02)
        for compute in computes() {
            #expect(bits(Self.run(fixture.float, fixture.x, rows: c.rows, compute)) == bits(float), "\(compute.level)")
            #expect(bits(Self.run(fixture.int8, fixture.x, rows: c.rows, compute)) == bits(int8), "\(compute.level)")
        }
    }

    @Test(arguments: Activation.allCases) func appliesActivations(_ activation: Activation) throws {
        let c = Case(inputs: 48, outputs: 40, rows: 20)
        let fixture = try Fixture(c)
        let compute = Compute(level: .best, pool: ThreadPool(threads: 2))
        for linear in [fixture.float, fixture.int8] {
            let plain = Self.run(linear, fixture.x, rows: c.rows, compute)
            let expected = plain.map { value -> Double in
                let x = Double(value)
                switch activation {
                case .none: return x
                case .geluTanh: return 0.5 * x * (1 + tanh((2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)))
                case .geluErf: return 0.5 * x * (1 + erf(x / 2.0.squareRoot()))
                case .silu: return x / (1 + exp(-x))
                case .relu: return max(x, 0)
                }
            }
            let y = Self.run(linear, fixture.x, rows: c.rows, activation: activation, compute)
            #expect(relativeError(y, expected) < 1e-5, "\(activation)")
        }
    }

    /// Columns of wider rows in, columns of wider rows out; what lies beside them stays.
    @Test func readsAndWritesWithStrides() throws {
        let c = Case(inputs: 33, outputs: 24, rows: 60)
        let fixture = try Fixture(c)
        let compute = Compute(level: .best, pool: ThreadPool(threads: 4))
        var wide = [Float](repeating: 1e30, count: c.rows * 50)
        for r in 0..<c.rows { for i in 0..<c.inputs { wide[r * 50 + i] = fixture.x[r * c.inputs + i] } }
        for linear in [fixture.float, fixture.int8] {
            let expected = Self.run(linear, fixture.x, rows: c.rows, compute)
            var y = [Float](repeating: 7, count: c.rows * 31)
            withScratch(linear.scratchBytes(rows: c.rows)) { scratch in
                linear(wide, strideX: 50, rows: c.rows, into: &y, strideY: 31, compute: compute, scratch: scratch)
            }
            for r in 0..<c.rows {
                #expect(bits(Array(y[r * 31..<r * 31 + 24])) == bits(Array(expected[r * 24..<r * 24 + 24])))
                #expect(y[r * 31 + 24..<(r + 1) * 31].allSatisfy { $0 == 7 })
            }
        }
    }

    @Test func sharesQuantizedRows() throws {
        let c = Case(inputs: 40, outputs: 24, rows: 9)
        let fixture = try Fixture(c)
        let compute = Compute(level: .best, pool: ThreadPool(threads: 2))
        withScratch(QuantizedRows.scratchBytes(rows: c.rows, width: c.inputs)) { scratch in
            fixture.x.withUnsafeBufferPointer { x in
                let rows = QuantizedRows(
                    x.baseAddress!, rows: c.rows, width: c.inputs, compute: compute, scratch: scratch)
                for linear in [fixture.float, fixture.int8] {
                    var y = [Float](repeating: 0, count: c.rows * c.outputs)
                    linear(rows, into: &y, compute: compute)
                    #expect(bits(y) == bits(Self.run(linear, fixture.x, rows: c.rows, compute)))
                }
            }
        }
    }

    @Test func refusesWhatDoesNotFit() throws {
        var writer = CheckpointWriter()
        writer.addInt8Linear(
            "q", [Int8](repeating: 1, count: 64), scale: [Float](repeating: 1, count: 8), bias: nil, inputs: 8,
            outputs: 8)
        writer.add("f.weight", [Float](repeating: 1, count: 6), [2, 3])
        writer.add("last.weight", [Int8](repeating: 1, count: 128), [1, 2, 8, 8])
        let file = try TemporaryFile(writer.bytes(closingFiller: false))
        let checkpoint = try Checkpoint(path: file.path)
        func message(_ name: String, _ inputs: Int, _ outputs: Int, bias: Bool = true) -> String {
            let error = #expect(throws: CheckpointError.self) {
                try Linear(checkpoint, name, in: inputs, out: outputs, bias: bias)
            }
            return error?.description.replacing(file.path + ": ", with: "") ?? ""
        }
        #expect(message("none", 8, 8) == "there is no tensor 'none.weight'")
        #expect(message("q", 8, 8) == "there is no tensor 'q.bias'")
        #expect(message("q", 17, 8) == "tensor 'q.weight' has shape [1, 2, 8, 8], expected [1, 4, 8, 8]")
        #expect(message("q", 8, 9) == "tensor 'q.weight' has shape [1, 2, 8, 8], expected [2, 2, 8, 8]")
        #expect(message("f", 2, 3) == "tensor 'f.weight' has shape [2, 3], expected [3, 2]")
        #expect(message("f", 0, 3) == "layer 'f': inputs is 0, allowed is 1...131072")
        #expect(message("f", 2, Int.max) == "layer 'f': outputs is \(Int.max), allowed is 1...131072")
        #expect(
            message("last", 16, 8)
                == "0 bytes follow tensor 'last.weight', at least 64 are needed (a filler tensor)")
        _ = try Linear(checkpoint, "q", in: 8, out: 8, bias: false)
    }

    @Test func cancelledWorkReturnsAtOnce() throws {
        let c = Case(inputs: 192, outputs: 576, rows: 97)
        let fixture = try Fixture(c)
        let compute = Compute(level: .best, pool: ThreadPool(threads: 2))
        compute.setCancelled(true)
        #expect(compute.isCancelled)
        #expect(Self.run(fixture.int8, fixture.x, rows: c.rows, compute).allSatisfy { $0.isNaN })
        compute.setCancelled(false)
        #expect(Self.run(fixture.int8, fixture.x, rows: c.rows, compute).allSatisfy { !$0.isNaN })
    }

    @Test(arguments: [1, 2, 3, 8, 64]) func tilesCoverEveryOutputOnce(threads: Int) {
        let compute = Compute(level: .reference, pool: ThreadPool(threads: 1))
        for (rows, inputs, outputs) in [
            (1, 8, 1), (6, 1536, 8), (47, 16, 65), (193, 1536, 1000), (800, 8960, 1536), (3000, 384, 384),
        ] {
            for (maximumRows, panel, slowest) in [(192, 12, 0.5), (1056, 6, 1), (1056, 4, 1), (1056, 12, 0.01)] {
                let tiles = Tiles(
                    rows: rows, inputs: inputs, outputs: outputs, threads: threads, slowest: slowest,
                    maximumRows: maximumRows, panel: panel)
                #expect(tiles.step % 8 == 0)
                var hits = [UInt8](repeating: 0, count: rows * outputs)
                // How often each row is rounded, by whom it belongs to, or before; once before it is multiplied.
                var rounded = (0..<rows).map { tiles.shared.contains($0) ? UInt8(1) : 0 }
                var inTime = true
                tiles.run(compute) { call in
                    #expect(call.rows.lowerBound % panel == 0 && call.rows.count <= maximumRows)
                    #expect(call.outputs.lowerBound % 8 == 0)
                    #expect(call.outputs.upperBound % 8 == 0 || call.outputs.upperBound == outputs)
                    if !call.isQuantized { for r in call.rows { rounded[r] += 1 } }
                    inTime = inTime && call.rows.allSatisfy { rounded[$0] > 0 }
                    #expect(call.ahead.isEmpty || call.ahead.lowerBound % panel == 0)
                    for r in call.ahead { rounded[r] += 1 }
                    for r in call.rows { for o in call.outputs { hits[r * outputs + o] += 1 } }
                }
                #expect(hits.allSatisfy { $0 == 1 })
                #expect(inTime)
                #expect(rounded.allSatisfy { $0 == 1 })
            }
        }
    }

    /// Which part of the cores' time is used when each takes the next chunk as soon as it is free: equal cores, one that
    /// a neighbour slows, big ones beside little ones.
    @Test(
        arguments: [
            ([1, 1], 64, 192, 0.95), ([1, 1], 320, 192, 0.95), ([1, 1], 800, 192, 0.97), ([1, 0.75], 800, 192, 0.97),
            ([1, 1, 1], 800, 192, 0.95), ([1, 1, 1, 1], 400, 192, 0.9), ([1, 1, 1, 1], 800, 192, 0.95),
            ([1, 1, 1, 1, 0.35, 0.35, 0.35, 0.35], 800, 192, 0.8),
            ([1, 1, 1, 1, 0.35, 0.35, 0.35, 0.35], 3120, 192, 0.9),
            ([1, 1], 320, 1536, 0.95), ([1, 1], 800, 1536, 0.97), ([1, 0.75], 800, 1536, 0.95),
            ([1, 1, 1], 800, 1536, 0.95), ([1, 1, 1, 1], 800, 1536, 0.95), ([1, 1, 1, 0.7], 800, 1536, 0.9),
            ([1, 1, 1, 1, 0.35, 0.35, 0.35, 0.35], 800, 1536, 0.9),
            ([1, 1, 1, 1, 0.35, 0.35, 0.35, 0.35], 3120, 1536, 0.9),
        ] as [([Double], Int, Int, Double)])
    func chunksKeepEveryCoreBusy(speeds: [Double], rows: Int, outputs: Int, least: Double) {
        let threads = speeds.count
        let slowest = speeds.min()! * Double(threads) / speeds.reduce(0, +)
        for panel in [2, 4, 6, 12] {
            // What a neighbour takes from a core is not known beforehand, a little core is.
            let tiles = Tiles(
                rows: rows, inputs: 384, outputs: outputs, threads: threads, slowest: slowest > 0.6 ? 1 : slowest,
                maximumRows: 1056, panel: panel)
            var free = [Double](repeating: 0, count: speeds.count)
            var calls = 0
            // One call a chunk at these sizes, in the order in which a pool hands them out.
            tiles.run(Compute(level: .reference, pool: ThreadPool(threads: 1))) { call in
                let core = free.indices.min { free[$0] < free[$1] }!
                free[core] += Double(call.rows.count * call.outputs.count) / speeds[core]
                calls += 1
            }
            #expect(calls == tiles.chunks)
            let used = Double(rows * outputs) / speeds.reduce(0, +) / free.max()!
            #expect(used >= least, "panels of \(panel): \(used)")
        }
    }

    /// Weights that no cache of a core holds are read once for each thread's rows and once for each block of shared ones.
    @Test(arguments: [(1, 800, 1), (1, 3000, 3), (2, 64, 1), (2, 800, 3), (4, 800, 5), (8, 800, 12), (2, 3000, 5)])
    func readsLargeWeightsSeldom(threads: Int, rows: Int, most: Int) {
        let tiles = Tiles(
            rows: rows, inputs: 1536, outputs: 1536, threads: threads, maximumRows: 1056, panel: 12)
        var outputs = 0
        tiles.run(Compute(level: .reference, pool: ThreadPool(threads: 1))) { outputs += $0.outputs.count }
        #expect(outputs <= most * 1536, "\(Double(outputs) / 1536) times")
    }

    /// Layer norm, modulation and quantization in one, and the gated sum, against the same steps one after another.
    @Test(arguments: cases + [Case(inputs: 2500, outputs: 110, rows: 200), Case(inputs: 520, outputs: 530, rows: 390)])
    func fusesWhatStandsAround(_ c: Case) throws {
        let fixture = try Fixture(c)
        var generator = SeededGenerator(seed: 9)
        let gamma = generator.floats(c.inputs)
        let tables = generator.floats(3 * (2 * c.inputs + c.outputs))
        let before = generator.floats(c.rows * c.outputs)
        let index = (0..<c.rows).map { Int32($0 % 3) }
        for compute in computes() {
            for linear in [fixture.float, fixture.int8] {
                let results = withScratch(linear.scratchBytes(rows: c.rows)) { scratch in
                    tables.withUnsafeBufferPointer { tables in
                        index.withUnsafeBufferPointer { index in
                            gamma.withUnsafeBufferPointer { gamma in
                                let start = tables.baseAddress!
                                let vectors = [0, c.inputs, 2 * c.inputs].map {
                                    RowVectors(
                                        start + $0, stride: 2 * c.inputs + c.outputs, index: index.baseAddress!)
                                }
                                var norm = [Float](repeating: 0, count: c.rows * c.inputs)
                                var floats = norm
                                var y = [Float](repeating: 0, count: c.rows * c.outputs)
                                var (apart, fused, temporary, fusedNorm) = (before, before, y, y)
                                compute.layerNorm(
                                    fixture.x, rows: c.rows, width: c.inputs, eps: 1e-6, gamma: gamma.baseAddress!,
                                    scale: vectors[0], shift: vectors[1], into: &norm)
                                linear(norm, rows: c.rows, into: &y, compute: compute, scratch: scratch)
                                compute.addGated(y, gate: vectors[2], rows: c.rows, width: c.outputs, to: &apart)
                                linear(
                                    fixture.x, rows: c.rows,
                                    normalization: Normalization(
                                        eps: 1e-6, gamma: gamma.baseAddress!, scale: vectors[0], shift: vectors[1]),
                                    floats: &floats, into: &fusedNorm, compute: compute, scratch: scratch)
                                linear.add(
                                    norm, rows: c.rows, gate: vectors[2], to: &fused, temporary: &temporary,
                                    compute: compute, scratch: scratch)
                                return [y, fusedNorm, apart, fused]
                            }
                        }
                    }
                }
                #expect(bits(results[0]) == bits(results[1]), "normalization, \(compute.level)")
                #expect(bits(results[2]) == bits(results[3]), "gated sum, \(compute.level)")
            }
        }
    }

    @Test func embedsByIndex() throws {
        var writer = CheckpointWriter()
        writer.add("q.weight", (0..<30).map { Int8($0 - 15) }, [3, 10])
        writer.add("q.scale", [1, 0.5, 2] as [Float], [3])
        writer.add("f.weight", (0..<30).map { Float($0) }, [3, 10])
        let checkpoint = try writer.checkpoint()
        var row = [Float](repeating: 0, count: 10)
        try Embedding(checkpoint, "q", count: 3, width: 10)(1, into: &row)
        #expect(row == (0..<10).map { Float($0 - 5) * 0.5 })
        try Embedding(checkpoint, "f", count: 3, width: 10)(2, into: &row)
        #expect(row == (20..<30).map { Float($0) })
        #expect(throws: CheckpointError.self) { try Embedding(checkpoint, "q", count: 4, width: 10) }
    }
}
