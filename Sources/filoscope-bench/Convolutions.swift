import ArgumentParser
import Engine

struct Convolutions: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "convolution",
        abstract: "Time int8 convolutions of the autoencoder's shapes, from bytes to bytes, with random weights.",
        discussion: "Against the int8 peak beside them.")
    @Option(help: "Repetitions, after one that is not counted.") var runs = 21
    @Flag(help: "One JSON object a line instead of text.") var json = false
    @OptionGroup var engine: EngineOptions

    func validate() throws {
        guard (1...1000).contains(runs) else { throw ValidationError("--runs: 1 to 1000") }
    }

    private struct Shape {
        var side: Int
        var channels: Int
        var past = false
        var outputs: Int
        var kernel = 3
        var enlarge = 1
    }

    private static let shapes = [
        Shape(side: 24, channels: 256, past: true, outputs: 256), Shape(side: 24, channels: 256, outputs: 256),
        Shape(side: 48, channels: 128, past: true, outputs: 128),
        Shape(side: 96, channels: 64, past: true, outputs: 64),
        Shape(side: 96, channels: 64, outputs: 64), Shape(side: 192, channels: 64, outputs: 64, enlarge: 2),
        Shape(side: 96, channels: 64, outputs: 128, kernel: 1), Shape(side: 192, channels: 64, outputs: 3),
        Shape(side: 16, channels: 96, past: true, outputs: 96), Shape(side: 16, channels: 96, outputs: 48),
    ]

    func run() throws {
        let compute = try engine.compute()
        for shape in Self.shapes {
            let past = shape.past ? shape.channels : 0
            let layer = RandomAutoencoder.Layer(
                name: "c", inputs: shape.channels, past: past, outputs: shape.outputs, kernel: shape.kernel)
            let checkpoint = try RandomAutoencoder.checkpoint(RandomAutoencoder.file([layer]))
            let convolution = try Convolution(
                checkpoint, "c", in: shape.channels, pastIn: past, out: shape.outputs, kernel: shape.kernel)
            let small = shape.side / shape.enlarge
            var input = (0..<small * small * shape.channels).map {
                UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 13)
            }
            var before = input
            var output = [UInt8](repeating: 0, count: shape.side * shape.side * shape.outputs)
            var scratch: Float = 0
            guard let quantization = convolution.quantization else { continue }
            let watch = Stopwatch(compute: compute)
            let operations = Double(convolution.operations(height: shape.side, width: shape.side))
            let result = input.withUnsafeMutableBufferPointer { input in
                before.withUnsafeMutableBufferPointer { before in
                    output.withUnsafeMutableBufferPointer { output in
                        watch.against(peak: { watch.int8Peak() }, operations: operations, repetitions: runs) {
                            convolution(
                                .bytes(input.baseAddress!, quantization),
                                past: shape.past ? .bytes(before.baseAddress!, quantization) : nil,
                                enlarge: shape.enlarge, height: shape.side, width: shape.side,
                                into: .bytes(output.baseAddress!, quantization), activation: .relu, compute: compute,
                                scratch: &scratch)
                        }
                    }
                }
            }
            var line = Line("convolution")
            line.add("side", shape.side)
            line.add("channels", shape.channels)
            line.add("past", shape.past ? 1 : 0)
            line.add("outputs", shape.outputs)
            line.add("kernel", shape.kernel)
            line.add("enlarge", shape.enlarge)
            line.add("gops", result.rate.median / 1e9)
            line.add("percent_of_peak", 100 * result.part.median)
            line.add("percent_p90", 100 * result.part.quantile(0.9))
            line.add("milliseconds", 1e3 * result.seconds.median, digits: 3)
            line.add(compute)
            print(line.text(json: json))
        }
    }
}
