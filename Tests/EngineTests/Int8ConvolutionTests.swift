import Testing

@testable import Engine

@Suite struct Int8ConvolutionTests {
    struct Case: CustomTestStringConvertible, Sendable {
        var height: Int
        var width: Int
        var inputs: Int
        var past: Int
        var outputs: Int
        var kernel: Int
        var stride: Int
        var enlarge = 1
        var testDescription: String { "\(height)x\(width)x\(inputs)+\(past)->\(outputs) \(kernel)x\(kernel)/\(stride)" }
    }

    static let input = Quantization(scale: 0.02, zero: 100)
    static let output = Quantization(scale: 0.05, zero: 90)
    static let residual = Quantization(scale: 0.01, zero: 0)

    static let cases = [
        Case(height: 1, width: 1, inputs: 1, past: 0, outputs: 1, kernel: 3, stride: 1),
        Case(height: 9, width: 7, inputs: 20, past: 20, outputs: 33, kernel: 3, stride: 1),
        Case(height: 7, width: 30, inputs: 16, past: 0, outputs: 48, kernel: 3, stride: 2),
        Case(height: 6, width: 10, inputs: 24, past: 0, outputs: 17, kernel: 3, stride: 1, enlarge: 2),
        Case(height: 8, width: 9, inputs: 12, past: 12, outputs: 64, kernel: 1, stride: 1),
    ]

    static func writer(_ c: Case, _ weight: [Int8], _ scale: [Float], _ bias: [Float]?) -> CheckpointWriter {
        var writer = CheckpointWriter()
        let (first, second) = (Convolution.padded(c.inputs), Convolution.padded(c.past))
        let (padded, taps) = (Convolution.padded(c.outputs), c.kernel * c.kernel)
        var blocks = [Int8](repeating: 0, count: padded * taps * (first + second))
        var sums = [Int32](repeating: 0, count: padded)
        for o in 0..<c.outputs {
            for i in 0..<c.inputs + c.past {
                for tap in 0..<taps {
                    let value = weight[(o * (c.inputs + c.past) + i) * taps + tap]
                    let place = i < c.inputs ? i : first + i - c.inputs
                    let block = (o / 8 * taps + tap) * (first + second) / 8 + place / 8
                    blocks[block * 64 + o % 8 * 8 + place % 8] = value
                    sums[o] += Int32(value)
                }
            }
        }
        let padding = [Float](repeating: 0, count: padded - c.outputs)
        writer.add("c.weight", blocks, [padded / 8, c.kernel, c.kernel, (first + second) / 8, 8, 8])
        writer.add("c.scale", scale + padding, [padded])
        writer.add("c.sum", sums, [padded])
        if let bias { writer.add("c.bias", bias + padding, [padded]) }
        writer.add("c.input", [Self.input.scale, Float(Self.input.zero)], [2])
        return writer
    }

    /// Against the definition in double, with every kind of residual and of output; then every level and number of threads.
    @Test(arguments: cases, [true, false]) func agreesWithDouble(_ c: Case, extras: Bool) throws {
        var generator = SeededGenerator(seed: UInt64(c.outputs))
        let (all, taps) = (c.inputs + c.past, c.kernel * c.kernel)
        let weight = (0..<c.outputs * all * taps).map { _ in Int8.random(in: -127...127, using: &generator) }
        let scale = generator.floats(c.outputs, in: 0.0001...0.001)
        let bias = generator.floats(c.outputs)
        let convolution = try Convolution(
            try Self.writer(c, weight, scale, extras ? bias : nil).checkpoint(), "c", in: c.inputs, pastIn: c.past,
            out: c.outputs, kernel: c.kernel, stride: c.stride, bias: extras && c.past == 0)
        #expect(convolution.quantization == Self.input)
        // Bytes of other channels between the pixels, as behind a layer that grows frames.
        let gap = c.past == 0 ? 5 : 0
        let small = c.height * c.width / (c.enlarge * c.enlarge)
        var image = (0..<small * (c.inputs + gap)).map { _ in UInt8.random(in: 0...255, using: &generator) }
        var past = (0..<small * c.past).map { _ in UInt8.random(in: 0...255, using: &generator) }
        let (high, wide) = (convolution.outputSide(c.height), convolution.outputSide(c.width))
        var added = (0..<high * wide * c.outputs).map { _ in UInt8.random(in: 0...255, using: &generator) }
        var addedFloats = generator.floats(added.count)
        var expected: [Double] = []
        for y in 0..<high {
            for x in 0..<wide {
                for o in 0..<c.outputs {
                    var sum = 0
                    for tap in 0..<taps {
                        let sy = y * c.stride + tap / c.kernel - c.kernel / 2
                        let sx = x * c.stride + tap % c.kernel - c.kernel / 2
                        guard (0..<c.height).contains(sy), (0..<c.width).contains(sx) else { continue }
                        let pixel = sy / c.enlarge * (c.width / c.enlarge) + sx / c.enlarge
                        for i in 0..<all {
                            let byte =
                                i < c.inputs ? image[pixel * (c.inputs + gap) + i] : past[pixel * c.past + i - c.inputs]
                            sum += (Int(byte) - Int(Self.input.zero)) * Int(weight[(o * all + i) * taps + tap])
                        }
                    }
                    let value = Double(sum) * Double(Self.input.scale) * Double(scale[o])
                    expected.append(value + (extras ? Double(bias[o]) : 0))
                }
            }
        }
        func run(_ compute: Compute, bytes: Bool, floatResidual: Bool = false) -> [Float] {
            var floats = [Float](repeating: .nan, count: expected.count)
            var pixels = [UInt8](repeating: 9, count: expected.count)
            image.withUnsafeMutableBufferPointer { image in
                past.withUnsafeMutableBufferPointer { past in
                    added.withUnsafeMutableBufferPointer { added in
                        addedFloats.withUnsafeMutableBufferPointer { addedFloats in
                            floats.withUnsafeMutableBufferPointer { floats in
                                pixels.withUnsafeMutableBufferPointer { pixels in
                                    convolution(
                                        .bytes(image.baseAddress!, Self.input), inputStride: c.inputs + gap,
                                        past: c.past > 0 ? .bytes(past.baseAddress!, Self.input) : nil,
                                        enlarge: c.enlarge, height: c.height, width: c.width,
                                        residual: !extras
                                            ? nil
                                            : floatResidual
                                                ? .floats(addedFloats.baseAddress!)
                                                : .bytes(added.baseAddress!, Self.residual),
                                        into: bytes
                                            ? .bytes(pixels.baseAddress!, Self.output) : .floats(floats.baseAddress!),
                                        activation: extras ? .relu : .none, compute: compute,
                                        scratch: floats.baseAddress!)
                                }
                            }
                        }
                    }
                }
            }
            return bytes ? pixels.map(Float.init) : floats
        }
        let reference = Compute(level: .reference, pool: ThreadPool(threads: 1))
        for floatResidual in [false, true] {
            let values = expected.indices.map { index -> Double in
                guard extras else { return expected[index] }
                let more =
                    floatResidual ? Double(addedFloats[index]) : Double(added[index]) * Double(Self.residual.scale)
                return max(0, expected[index] + more)
            }
            let floats = run(reference, bytes: false, floatResidual: floatResidual)
            #expect(relativeError(floats, values) < 1e-5)
            let bytes = run(reference, bytes: true, floatResidual: floatResidual)
            for (byte, value) in zip(bytes, values) {
                let exact = min(max(value / Double(Self.output.scale) + Double(Self.output.zero), 0), 255)
                #expect(abs(Double(byte) - exact) < 0.501)
            }
            #expect(Set(bytes).count > min(8, expected.count - 1))
            for compute in computes() {
                #expect(
                    bits(run(compute, bytes: false, floatResidual: floatResidual)) == bits(floats), "\(compute.level)")
                #expect(run(compute, bytes: true, floatResidual: floatResidual) == bytes, "\(compute.level)")
            }
        }
    }

    /// Float weights between bytes: the residual comes, the result goes through scratch.
    @Test func floatWeightsTakeAndGiveBytes() throws {
        let (side, channels) = (5, 16)
        var generator = SeededGenerator(seed: 3)
        var writer = CheckpointWriter()
        writer.add("c.weight", generator.floats(9 * channels * channels, in: -0.1...0.1), [3, 3, channels, channels])
        let convolution = try Convolution(
            try writer.checkpoint(), "c", in: channels, out: channels, kernel: 3, bias: false)
        #expect(convolution.quantization == nil)
        let count = side * side * channels
        #expect(convolution.scratchFloats(height: side, width: side, output: nil) == 0)
        let needed = convolution.scratchFloats(
            height: side, width: side, residual: Self.residual, output: Self.output)
        #expect(needed == 2 * count)
        var image = generator.floats(count)
        var residual = (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) }
        let addend = residual.map { Float($0) * Self.residual.scale }
        let compute = Compute(level: .best, pool: ThreadPool(threads: 2))
        var expected = [Float](repeating: 0, count: count)
        convolution(
            image, height: side, width: side, residual: addend, into: &expected, activation: .relu, compute: compute)
        var bytes = [UInt8](repeating: 0, count: count)
        var scratch = [Float](repeating: .nan, count: needed)
        image.withUnsafeMutableBufferPointer { image in
            residual.withUnsafeMutableBufferPointer { residual in
                bytes.withUnsafeMutableBufferPointer { bytes in
                    convolution(
                        .floats(image.baseAddress!), height: side, width: side,
                        residual: .bytes(residual.baseAddress!, Self.residual),
                        into: .bytes(bytes.baseAddress!, Self.output), activation: .relu, compute: compute,
                        scratch: &scratch)
                }
            }
        }
        var rounded = [UInt8](repeating: 0, count: count)
        compute.quantize(expected, count: count, Self.output, into: &rounded)
        #expect(bytes == rounded)
        #expect(Set(bytes).count > 10)
        compute.dequantize(bytes, count: count, Self.output, into: &image)
        for (value, exact) in zip(image, expected) { #expect(abs(value - exact) <= 0.501 * Self.output.scale) }
    }

    @Test func refusesWhatDoesNotFit() throws {
        let c = Case(height: 1, width: 1, inputs: 3, past: 0, outputs: 2, kernel: 1, stride: 1)
        let whole = Self.writer(c, [1, 2, 3, 4, 5, 6], [0.1, 0.2], nil)
        func message(_ writer: CheckpointWriter, inputs: Int = 3, closingFiller: Bool = true) throws -> String {
            let file = try TemporaryFile(writer.bytes(closingFiller: closingFiller))
            let checkpoint = try Checkpoint(path: file.path)
            let error = #expect(throws: CheckpointError.self) {
                try Convolution(checkpoint, "c", in: inputs, out: 2, kernel: 1, bias: false)
            }
            return error?.description.replacing(file.path + ": ", with: "") ?? ""
        }
        func changed(_ name: String, _ change: (inout CheckpointWriter.Entry) -> Void) throws -> CheckpointWriter {
            var writer = whole
            change(&writer.entries[try #require(writer.entries.firstIndex { $0.name == name })])
            return writer
        }
        _ = try Convolution(try whole.checkpoint(), "c", in: 3, out: 2, kernel: 1, bias: false)
        for (scale, zero, reason) in [
            (0, 0, "0.0, allowed is a scale of 1e-30 or more"), (-1, 0, "-1.0, allowed is a scale of 1e-30 or more"),
            (.nan, 0, "nan, allowed is a scale of 1e-30 or more"),
            (.infinity, 0, "inf, allowed is a scale of 1e-30 or more"), (1, 256, "256.0, allowed is a zero of 0...255"),
            (1, -1, "-1.0, allowed is a zero of 0...255"), (1, 0.5, "0.5, allowed is a zero of 0...255"),
            (1, .nan, "nan, allowed is a zero of 0...255"),
        ] as [(Float, Float, String)] {
            let writer = try changed("c.input") { $0.bytes = [scale, zero].withUnsafeBytes { Array($0) } }
            #expect(try message(writer) == "tensor 'c.input' holds \(reason)")
        }
        #expect(
            try message(changed("c.weight") { $0.bytes[9] = 0x80 })
                == "tensor 'c.weight' holds -128 at element 9; weights are -127...127")
        #expect(
            try message(whole, inputs: 17)
                == "tensor 'c.weight' has shape [2, 1, 1, 2, 8, 8], expected [2, 1, 1, 4, 8, 8]")
        #expect(
            try message(whole, inputs: 4097) == "layer 'c': input channels in int8 is 4112, allowed is 1...4096")
        for name in ["c.scale", "c.sum", "c.input"] {
            var writer = whole
            writer.entries.removeAll { $0.name == name }
            #expect(try message(writer) == "there is no tensor '\(name)'")
        }
        var last = whole
        last.entries.append(last.entries.removeFirst())
        let short = "0 bytes follow tensor 'c.weight', at least 64 are needed (a filler tensor)"
        #expect(try message(last, closingFiller: false) == short)
    }
}
