import ArgumentParser
import Engine

struct Convolutions: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "convolution",
        abstract: "Time int8 convolutions of the autoencoder's shapes, from bytes to bytes, with random weights.",
        discussion: "GOPS are for a second of one core, whatever the number of threads.")
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
            var times: [Double] = []
            for run in 0...runs {
                let taken = input.withUnsafeMutableBufferPointer { input in
                    before.withUnsafeMutableBufferPointer { before in
                        output.withUnsafeMutableBufferPointer { output in
                            let start = coreSeconds()
                            convolution(
                                .bytes(input.baseAddress!, quantization),
                                past: shape.past ? .bytes(before.baseAddress!, quantization) : nil,
                                enlarge: shape.enlarge, height: shape.side, width: shape.side,
                                into: .bytes(output.baseAddress!, quantization), activation: .relu, compute: compute,
                                scratch: &scratch)
                            return coreSeconds() - start
                        }
                    }
                }
                if run > 0 { times.append(taken) }
            }
            let operations = Double(convolution.operations(height: shape.side, width: shape.side))
            let gops = operations / median(times) * 1e-9
            let name =
                "\(shape.side)x\(shape.side)x\(shape.channels)\(shape.past ? "+past" : "") to \(shape.outputs)"
                + ", \(shape.kernel)x\(shape.kernel)\(shape.enlarge == 2 ? ", enlarged" : "")"
            if json {
                print(
                    "{\"side\":\(shape.side),\"channels\":\(shape.channels),\"past\":\(shape.past),\"outputs\":\(shape.outputs),"
                        + "\"kernel\":\(shape.kernel),\"enlarge\":\(shape.enlarge),\"level\":\"\(compute.level)\","
                        + "\"threads\":\(engine.threads),\"gops\":\(fixed(gops, 1))}")
            } else {
                print("\(name)\t\(fixed(gops, 1)) GOPS")
            }
        }
    }
}
