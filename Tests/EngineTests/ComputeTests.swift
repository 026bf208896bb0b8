import Glibc
import Synchronization
import Testing

@testable import Engine

@Suite struct ComputeTests {
    struct AttentionCase: CustomTestStringConvertible, Sendable {
        var queries: Int
        var keys: Int
        var heads: Int
        var headDim: Int
        var testDescription: String { "\(queries)q \(keys)k \(heads)h\(headDim)" }
    }

    /// Heads side by side in rows that are wider than they are.
    struct AttentionInputs {
        let c: AttentionCase
        let biased: Bool
        let q, k, v, bias: [Float]
        var width: Int { c.heads * c.headDim }
        var strideQ: Int { width + 5 }
        var strideK: Int { 2 * width }
        var strideV: Int { width + 16 }
        var strideOut: Int { width + 1 }

        init(_ c: AttentionCase, magnitude: Float, biased: Bool) {
            var generator = SeededGenerator(seed: UInt64(c.queries))
            let width = c.heads * c.headDim
            q = generator.floats(c.queries * (width + 5), in: -magnitude...magnitude)
            k = generator.floats(c.keys * 2 * width, in: -magnitude...magnitude)
            v = generator.floats(c.keys * (width + 16))
            bias = generator.floats(c.keys, in: 0...3)
            (self.c, self.biased) = (c, biased)
        }

        /// What `body` writes, without what lies between the rows, which must stay as it is.
        func outputs(_ body: (KeysAndValues, inout [Float]) -> Void) -> [Float] {
            var out = [Float](repeating: 9, count: c.queries * strideOut)
            k.withUnsafeBufferPointer { k in
                v.withUnsafeBufferPointer { v in
                    bias.withUnsafeBufferPointer { bias in
                        let keys = KeysAndValues(
                            k: k.baseAddress!, strideK: strideK, v: v.baseAddress!, strideV: strideV, count: c.keys,
                            bias: biased ? bias.baseAddress : nil)
                        body(keys, &out)
                    }
                }
            }
            for i in 0..<c.queries { #expect(out[i * strideOut + width] == 9) }
            return (0..<c.queries).flatMap { out[$0 * strideOut..<$0 * strideOut + width] }
        }
    }

    /// With a bias too, and scores that reach far from zero.
    @Test(
        arguments: [
            AttentionCase(queries: 1, keys: 1, heads: 1, headDim: 16),
            AttentionCase(queries: 13, keys: 65, heads: 3, headDim: 64),
            AttentionCase(queries: 130, keys: 129, heads: 2, headDim: 48),
            AttentionCase(queries: 5, keys: 7, heads: 12, headDim: 32),
        ], [true, false])
    func attentionAgreesWithDouble(_ c: AttentionCase, biased: Bool) {
        let inputs = AttentionInputs(c, magnitude: 4, biased: biased)
        let (q, k, v, width) = (inputs.q, inputs.k, inputs.v, inputs.width)
        var expected = [Double](repeating: 0, count: c.queries * width)
        for head in 0..<c.heads {
            for i in 0..<c.queries {
                var scores = (0..<c.keys).map { j -> Double in
                    var sum = 0.0
                    for d in head * c.headDim..<(head + 1) * c.headDim {
                        sum += Double(q[i * inputs.strideQ + d]) * Double(k[j * inputs.strideK + d])
                    }
                    return sum / Double(c.headDim).squareRoot() + (biased ? Double(inputs.bias[j]) : 0)
                }
                let largest = scores.max()!
                scores = scores.map { exp($0 - largest) }
                let total = scores.reduce(0, +)
                for d in head * c.headDim..<(head + 1) * c.headDim {
                    expected[i * width + d] =
                        (0..<c.keys).reduce(0.0) {
                            $0 + scores[$1] * Double(v[$1 * inputs.strideV + d])
                        } / total
                }
            }
        }
        func run(_ compute: Compute) -> [Float] {
            inputs.outputs { keys, out in
                compute.attention(
                    q, queries: c.queries, strideQ: inputs.strideQ, keys: keys, heads: c.heads, headDim: c.headDim,
                    into: &out, strideOut: inputs.strideOut)
            }
        }
        let reference = run(Compute(level: .reference, pool: ThreadPool(threads: 1)))
        #expect(relativeError(reference, expected) < 2e-5)
        for compute in computes() { #expect(bits(run(compute)) == bits(reference), "\(compute.level)") }
    }

    /// The same cases in int8, on every level and with any number of threads: equal bits, in exactly the scratch counted.
    @Test(
        arguments: [
            AttentionCase(queries: 1, keys: 1, heads: 1, headDim: 16),
            AttentionCase(queries: 13, keys: 65, heads: 3, headDim: 64),
            AttentionCase(queries: 130, keys: 129, heads: 2, headDim: 48),
            AttentionCase(queries: 400, keys: 300, heads: 3, headDim: 64),
        ], [true, false])
    func quantizedAttentionIsCloseToFloat(_ c: AttentionCase, biased: Bool) {
        let inputs = AttentionInputs(c, magnitude: 2, biased: biased)
        func run(_ compute: Compute, int8: Bool) -> [Float] {
            inputs.outputs { keys, out in
                guard int8 else {
                    return compute.attention(
                        inputs.q, queries: c.queries, strideQ: inputs.strideQ, keys: keys, heads: c.heads,
                        headDim: c.headDim, into: &out, strideOut: inputs.strideOut)
                }
                let bytes = QuantizedKeysAndValues.scratchBytes(count: c.keys, heads: c.heads, headDim: c.headDim)
                #expect(bytes % 64 == 0)
                withScratch(bytes + 64) { scratch in
                    scratch.initializeMemory(as: UInt8.self, repeating: 0xAA, count: bytes + 64)
                    let quantized = QuantizedKeysAndValues(
                        keys, heads: c.heads, headDim: c.headDim, compute: compute, scratch: scratch)
                    compute.attention(
                        inputs.q, queries: c.queries, strideQ: inputs.strideQ, keys: quantized, into: &out,
                        strideOut: inputs.strideOut)
                    let after = UnsafeRawBufferPointer(start: scratch + bytes, count: 64)
                    #expect(after.allSatisfy { $0 == 0xAA })
                }
            }
        }
        let reference = run(Compute(level: .reference, pool: ThreadPool(threads: 1)), int8: true)
        let float = run(Compute(level: .best, pool: ThreadPool(threads: 1)), int8: false)
        func dot(_ a: [Float], _ b: [Float]) -> Double { zip(a, b).reduce(0) { $0 + Double($1.0) * Double($1.1) } }
        #expect(dot(reference, float) / (dot(reference, reference) * dot(float, float)).squareRoot() > 0.9995)
        for compute in computes() { #expect(bits(run(compute, int8: true)) == bits(reference), "\(compute.level)") }
    }

    struct ConvolutionCase: CustomTestStringConvertible, Sendable {
        var height: Int
        var width: Int
        var inputs: Int
        var past: Int
        var outputs: Int
        var kernel: Int
        var stride: Int
        var testDescription: String {
            "\(height)x\(width)x\(inputs)+\(past)->\(outputs) \(kernel)x\(kernel)/\(stride)"
        }
    }

    @Test(
        arguments: [
            ConvolutionCase(height: 1, width: 1, inputs: 1, past: 0, outputs: 1, kernel: 3, stride: 1),
            ConvolutionCase(height: 9, width: 7, inputs: 5, past: 0, outputs: 3, kernel: 3, stride: 1),
            ConvolutionCase(height: 8, width: 10, inputs: 16, past: 16, outputs: 32, kernel: 3, stride: 1),
            ConvolutionCase(height: 7, width: 6, inputs: 8, past: 0, outputs: 20, kernel: 3, stride: 2),
            ConvolutionCase(height: 8, width: 9, inputs: 12, past: 4, outputs: 17, kernel: 1, stride: 1),
            ConvolutionCase(height: 5, width: 5, inputs: 3, past: 0, outputs: 16, kernel: 1, stride: 2),
        ], [true, false])
    func convolutionAgreesWithDouble(_ c: ConvolutionCase, extras: Bool) throws {
        var generator = SeededGenerator(seed: UInt64(c.height * 100 + c.outputs))
        let (channels, padded) = (c.inputs + c.past, (c.outputs + 15) / 16 * 16)
        var weight = generator.floats(c.kernel * c.kernel * channels * padded)
        for index in weight.indices where index % padded >= c.outputs { weight[index] = 0 }
        let bias = (0..<padded).map { $0 < c.outputs ? Float($0) / 10 - 1 : 0 }
        var writer = CheckpointWriter()
        writer.add("c.weight", weight, [c.kernel, c.kernel, channels, padded])
        if extras { writer.add("c.bias", bias, [padded]) }
        let convolution = try Convolution(
            try writer.checkpoint(), "c", in: c.inputs, pastIn: c.past, out: c.outputs, kernel: c.kernel,
            stride: c.stride, bias: extras)
        let input = generator.floats(c.height * c.width * c.inputs)
        let past = generator.floats(c.height * c.width * c.past)
        let (outHeight, outWidth) = (convolution.outputSide(c.height), convolution.outputSide(c.width))
        let residual = generator.floats(outHeight * outWidth * c.outputs)
        var expected: [Double] = []
        for y in 0..<outHeight {
            for x in 0..<outWidth {
                for o in 0..<c.outputs {
                    var sum = extras ? Double(bias[o]) : 0
                    for ky in 0..<c.kernel {
                        for kx in 0..<c.kernel {
                            let (sy, sx) = (y * c.stride + ky - c.kernel / 2, x * c.stride + kx - c.kernel / 2)
                            guard (0..<c.height).contains(sy), (0..<c.width).contains(sx) else { continue }
                            for i in 0..<channels {
                                let pixel = sy * c.width + sx
                                let value =
                                    i < c.inputs ? input[pixel * c.inputs + i] : past[pixel * c.past + i - c.inputs]
                                sum +=
                                    Double(value) * Double(weight[((ky * c.kernel + kx) * channels + i) * padded + o])
                            }
                        }
                    }
                    if extras { sum = max(0, sum + Double(residual[(y * outWidth + x) * c.outputs + o])) }
                    expected.append(sum)
                }
            }
        }
        func run(_ compute: Compute) -> [Float] {
            var output = [Float](repeating: .nan, count: expected.count)
            past.withUnsafeBufferPointer { past in
                residual.withUnsafeBufferPointer { residual in
                    convolution(
                        input, past: c.past > 0 ? past.baseAddress : nil, height: c.height, width: c.width,
                        residual: extras ? residual.baseAddress : nil, into: &output,
                        activation: extras ? .relu : .none, compute: compute)
                }
            }
            return output
        }
        let reference = run(Compute(level: .reference, pool: ThreadPool(threads: 1)))
        #expect(relativeError(reference, expected) < 1e-5)
        for compute in computes() { #expect(bits(run(compute)) == bits(reference), "\(compute.level)") }
    }

    @Test func convolutionRefusesWhatDoesNotFit() throws {
        var writer = CheckpointWriter()
        writer.add("c.weight", [Float](repeating: 0, count: 9 * 4 * 16), [3, 3, 4, 16])
        let checkpoint = try writer.checkpoint()
        func message(_ inputs: Int, _ outputs: Int, kernel: Int, stride: Int = 1, bias: Bool = false) -> String {
            let error = #expect(throws: CheckpointError.self) {
                try Convolution(checkpoint, "c", in: inputs, out: outputs, kernel: kernel, stride: stride, bias: bias)
            }
            return error?.description.replacing(checkpoint.path + ": ", with: "") ?? ""
        }
        #expect(message(4, 17, kernel: 3) == "tensor 'c.weight' has shape [3, 3, 4, 16], expected [3, 3, 4, 32]")
        #expect(message(4, 16, kernel: 5) == "layer 'c': kernel is 5, allowed is 1 or 3")
        #expect(message(4, 16, kernel: 3, stride: 3) == "layer 'c': stride is 3, allowed is 1 or 2")
        #expect(message(0, 16, kernel: 3) == "layer 'c': input channels is 0, allowed is 1...65536")
        #expect(message(4, 16, kernel: 3, bias: true) == "there is no tensor 'c.bias'")
        _ = try Convolution(checkpoint, "c", in: 4, out: 9, kernel: 3, bias: false)
    }

    /// Rows of two kinds, each modulated by the vectors its index names.
    @Test func layerNormIsModulatedPerRow() {
        let (rows, width, eps) = (300, 75, Float(1e-6))
        var generator = SeededGenerator(seed: 5)
        let x = generator.floats(rows * width, in: -3...5)
        let (gamma, beta) = (generator.floats(width), generator.floats(width))
        let vectors = generator.floats(2 * 2 * width)
        let index = (0..<rows).map { Int32($0 % 3 == 0 ? 1 : 0) }
        var expected: [Double] = []
        for r in 0..<rows {
            let row = x[r * width..<(r + 1) * width].map(Double.init)
            let mean = row.reduce(0, +) / Double(width)
            let variance = row.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(width)
            for i in 0..<width {
                let normal =
                    (row[i] - mean) / (variance + Double(eps)).squareRoot() * Double(gamma[i]) + Double(beta[i])
                let base = Int(index[r]) * 2 * width
                expected.append(normal * (1 + Double(vectors[base + i])) + Double(vectors[base + width + i]))
            }
        }
        func run(_ compute: Compute) -> [Float] {
            var y = x
            vectors.withUnsafeBufferPointer { vectors in
                index.withUnsafeBufferPointer { index in
                    gamma.withUnsafeBufferPointer { gamma in
                        beta.withUnsafeBufferPointer { beta in
                            y.withUnsafeMutableBufferPointer { y in
                                let scale = RowVectors(
                                    vectors.baseAddress!, stride: 2 * width, index: index.baseAddress)
                                var shift = scale
                                shift.base += width
                                compute.layerNorm(
                                    y.baseAddress!, rows: rows, width: width, eps: eps, gamma: gamma.baseAddress,
                                    beta: beta.baseAddress, scale: scale, shift: shift, into: y.baseAddress!)
                            }
                        }
                    }
                }
            }
            return y
        }
        let reference = run(Compute(level: .reference, pool: ThreadPool(threads: 1)))
        #expect(relativeError(reference, expected) < 1e-5)
        for compute in computes() { #expect(bits(run(compute)) == bits(reference), "\(compute.level)") }
    }

    @Test func rowOperationsAgreeWithDouble() {
        let (rows, heads, headDim) = (211, 3, 32)
        let width = heads * headDim
        let stride = width + 7
        var generator = SeededGenerator(seed: 6)
        let x = generator.floats(rows * stride, in: -3...3)
        let gamma = generator.floats(width)
        let angles = generator.floats(rows * headDim / 2, in: -10...10)
        let (cosines, sines) = (angles.map(Elementary.cos), angles.map(Elementary.sin))
        let gates = generator.floats(2 * width)
        let index = (0..<rows).map { Int32($0 & 1) }
        var expected: [Double] = []
        for r in 0..<rows {
            let row = (0..<width).map { Double(x[r * stride + $0]) }
            let scale = 1 / (row.reduce(0) { $0 + $1 * $1 } / Double(width) + 1e-6).squareRoot()
            let normal = (0..<width).map { row[$0] * scale * Double(gamma[$0]) }
            for pair in 0..<width / 2 {
                let angle = Double(angles[r * headDim / 2 + pair % (headDim / 2)])
                let (a, b) = (normal[2 * pair], normal[2 * pair + 1])
                let rotated = [a * cos(angle) - b * sin(angle), a * sin(angle) + b * cos(angle)]
                for half in 0..<2 {
                    let column = 2 * pair + half
                    let sum = row[column] + rotated[half] * Double(gates[Int(index[r]) * width + column])
                    expected.append(tanh((0.25 * sum + 2 * row[column]) / 3) * 3)
                }
            }
        }
        func run(_ compute: Compute) -> [Float] {
            var normal = [Float](repeating: 0, count: rows * width)
            compute.rmsNorm(x, rows: rows, width: width, strideX: stride, eps: 1e-6, gamma: gamma, into: &normal)
            compute.rotary(&normal, rows: rows, heads: heads, headDim: headDim, cos: cosines, sin: sines)
            var y = (0..<rows).flatMap { x[$0 * stride..<$0 * stride + width] }
            var result = y
            gates.withUnsafeBufferPointer { gates in
                index.withUnsafeBufferPointer { index in
                    compute.addGated(
                        normal, gate: RowVectors(gates.baseAddress!, stride: width, index: index.baseAddress),
                        rows: rows, width: width, to: &y)
                }
            }
            compute.axpby(0.25, y, 2, &result, count: rows * width)
            result.withUnsafeMutableBufferPointer {
                compute.softClamp($0.baseAddress!, count: rows * width, into: $0.baseAddress!)
            }
            return result
        }
        let reference = run(Compute(level: .reference, pool: ThreadPool(threads: 1)))
        #expect(relativeError(reference, expected) < 1e-5)
        for compute in computes() { #expect(bits(run(compute)) == bits(reference), "\(compute.level)") }
    }

    @Test func activatesElementByElement() {
        var generator = SeededGenerator(seed: 7)
        let x = generator.floats(10_001, in: -6...6)
        for activation in Activation.allCases {
            func run(_ compute: Compute) -> [Float] {
                var y = [Float](repeating: .nan, count: x.count)
                compute.activate(x, count: x.count, activation, into: &y)
                return y
            }
            let reference = run(Compute(level: .reference, pool: ThreadPool(threads: 1)))
            if activation == .silu {
                #expect(relativeError(reference, x.map { Double($0) / (1 + exp(-Double($0))) }) < 1e-5)
            }
            for compute in computes() { #expect(bits(run(compute)) == bits(reference), "\(compute.level)") }
        }
    }

    @Test(arguments: [1, 4]) func splitsRangesOnce(threads: Int) {
        let compute = Compute(level: .reference, pool: ThreadPool(threads: threads))
        for (count, cost) in [(0, 1), (1, 1), (17, 0), (1000, 1 << 30), (100_000, 3), (5, Int.max)] {
            let hits = UnsafeMutablePointer<UInt8>.allocate(capacity: count + 1)
            defer { hits.deallocate() }
            hits.update(repeating: 0, count: count + 1)
            compute.parallel(count: count, cost: cost) { for i in $0 { hits[i] += 1 } }
            #expect((0..<count).allSatisfy { hits[$0] == 1 } && hits[count] == 0)
        }
    }

    @Test(arguments: [1, 2, 4, 64]) func chunksShrink(threads: Int) {
        for (count, unit, smallest, largest) in [
            (800, 6, 24, 1056), (64, 1, 3, 100), (5000, 12, 48, 500), (7, 4, 0, 0),
        ] {
            let chunks = Compute.shrinkingChunks(
                of: count, unit: unit, threads: threads, smallest: smallest, largest: largest)
            #expect(chunks.flatMap(Array.init) == Array(0..<count))
            #expect(chunks.allSatisfy { $0.lowerBound % unit == 0 && $0.count <= max(largest, unit) })
            #expect(zip(chunks, chunks.dropFirst()).allSatisfy { $0.count >= $1.count })
            #expect(chunks.dropLast().allSatisfy { $0.count >= min(smallest, largest) / unit * unit })
            let share = threads == 1 ? count : count / (2 * threads)
            #expect(chunks[0].count <= max(share, smallest, unit))
            #expect(threads > 1 || largest < count || chunks.count == 1)
        }
    }

    @Test(arguments: [1, 2, 4, 8]) func aChunkThatShouldBeLargerLeavesNoThreadWithoutOne(threads: Int) {
        let compute = Compute(level: .best, pool: ThreadPool(threads: threads))
        let chunks = Atomic<Int>(0)
        compute.parallel(count: 8, cost: 1 << 20, smallest: 4) { _ in chunks.wrappingAdd(1, ordering: .relaxed) }
        #expect(chunks.load(ordering: .relaxed) == threads)
    }

    /// A chunk of the largest attention stays short enough for a cancel within 250 ms, even in plain C.
    @Test func boundsTheWorkOfAChunk() {
        for keys in [1, 1000, 32_760] {
            for headDim in [16, 128, 256] {
                let block = Compute.queryBlock(queries: 32_760, keys: keys, heads: 12, headDim: headDim, threads: 4)
                #expect(block >= 8 && (block == 8 || block * keys * headDim * 2 <= Compute.largestChunk))
                for products in [Compute.largestChunk, Tiles.callProducts] {
                    let int8 = Compute.quantizedQueryBlock(
                        queries: 32_760, keys: keys, heads: 12, headDim: headDim, threads: 4, products: products)
                    #expect(int8 % 24 == 0 && (int8 == 24 || int8 * keys * headDim * 2 <= products))
                }
            }
        }
    }
}
